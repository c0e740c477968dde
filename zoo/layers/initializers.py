"""Initial weights drawn on the host, so that a seed gives the same model on every backend."""

from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="rankscope")
class HostNormal(keras.initializers.Initializer):
    """Normal initializer N(0, stddev²), drawn by NumPy.

    `keras.initializers.RandomNormal` draws from the backend's own generator: one seed, three models.

    Args:
        stddev: float ≥ 0.
        seed: int ≥ 0, or a list of them, one for each entry of the first axis.

    Example:

    >>> HostNormal(stddev=1.0, seed=0)((2,))
    array([ 0.1257..., -0.1321...], dtype=float32)
    """

    def __init__(self, stddev: float = 0.02, seed: int | list[int] = 0):
        self.stddev = stddev
        self.seed = seed

    def __call__(self, shape, dtype=None, **kwargs):
        """Draw an array of `shape`."""
        if isinstance(self.seed, int):
            values = self._draw(self.seed, shape)
        else:
            values = np.stack([self._draw(seed, shape[1:]) for seed in self.seed])
        return values.astype(dtype or keras.config.floatx())

    def _draw(self, seed, shape):
        return np.random.default_rng(seed).normal(0.0, self.stddev, shape)

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {"stddev": self.stddev, "seed": self.seed}


def split_seed(seed: int, count: int) -> list[int]:
    """Split a seed into `count` independent ones, each below 2³¹.

    Example:

    >>> split_seed(0, 2) == split_seed(0, 3)[:2], split_seed(0, 2) == split_seed(1, 2)
    (True, False)
    """
    return [int(word) >> 1 for word in np.random.SeedSequence(seed).generate_state(count)]


def xavier_stddev(fan_in: int, fan_out: int) -> float:
    """Standard deviation √(2 / (fan_in + fan_out)) of Glorot & Bengio (2010), eq. 12 for a normal distribution.

    Example:

    >>> xavier_stddev(4, 4)
    0.5
    """
    return float(np.sqrt(2.0 / (fan_in + fan_out)))
