"""A product of matrices that nothing stands between: the factors of a deep linear network."""

import keras
from keras import ops

from zoo.layers.factor_tags import tag
from zoo.layers.initializers import HostNormal, split_seed


@keras.saving.register_keras_serializable(package="rankscope")
class FactorChain(keras.layers.Layer):
    """x ↦ x K_0 K_1 … K_{L−1}, each kernel tagged as a factor.

    With two kernels this is eq. 10, f(x) = A Bᵀ x, with B = K_0 and A = K_1ᵀ.

    Args:
        widths: ints ≥ 1, `[d_1, …, d_L]`: kernel l maps `d_l` to `d_{l+1}`, and `d_0` is the input's.
        stddev: float ≥ 0, of the initial kernels.
        seed: int ≥ 0, of the initial kernels.

    Example:

    >>> chain = FactorChain([3, 5])
    >>> tuple(chain(ops.ones((1, 4))).shape), [tuple(kernel.shape) for kernel in chain.kernels]
    ((1, 5), [(4, 3), (3, 5)])
    """

    def __init__(self, widths: list[int], stddev: float = 0.3, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        # === Config ===
        self.widths = list(widths)
        self.stddev = stddev
        self.seed = seed

    def build(self, input_shape):
        """Create and tag the kernels."""
        self.kernels = []
        rows = input_shape[-1]
        for index, (columns, seed) in enumerate(zip(self.widths, split_seed(self.seed, len(self.widths)), strict=True)):
            kernel = self.add_weight(
                shape=(rows, columns), initializer=HostNormal(self.stddev, seed), name=f"kernel_{index}"
            )
            tag(kernel, "factor")
            self.kernels.append(kernel)
            rows = columns

    def call(self, inputs):
        """Multiply: `(..., d_0)` to `(..., d_L)`."""
        for kernel in self.kernels:
            inputs = ops.matmul(inputs, kernel)
        return inputs

    def compute_output_shape(self, input_shape):
        """The input's shape with the last width."""
        return (*input_shape[:-1], self.widths[-1])

    def get_config(self):
        """Give back the constructor's arguments."""
        return {**super().get_config(), "widths": self.widths, "stddev": self.stddev, "seed": self.seed}
