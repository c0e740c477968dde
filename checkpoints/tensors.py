"""What every reader of model files gives: named tensors, of which nothing is read before it is asked for."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rankscope.errors import UserError


class CheckpointError(UserError):
    """A model file that cannot be read or understood; its message is one line for the user."""


class Tensors(ABC):
    """The tensors of one model, in one file or many.

    Args:
        path: of the file or folder, to name it in messages.
        shapes: name → shape of every tensor, in the order of the file.
        config: what stands in the `config.json` beside the weights; {} where there is none.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], config: Mapping):
        self.path = path
        self.shapes = shapes
        self.config = config

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """The tensor of that name in its own type (bfloat16 as ml_dtypes has it), read from the file at each call.

        Raises:
            CheckpointError: where the file has changed, ends too early, or holds no tensor of numbers there.
        """


class ArrayTensors(Tensors):
    """Arrays that are in memory anyhow.

    Args:
        arrays: name → array.
        config: as of `Tensors`; {} if None.
        path: to name them in messages.

    Example:

    >>> ArrayTensors({"a": np.ones(2)}).read("a").tolist()
    [1.0, 1.0]
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], config: Mapping | None = None, path: str = "arrays"):
        super().__init__(Path(path), {name: array.shape for name, array in arrays.items()}, config or {})
        self._arrays = arrays

    def read(self, name: str) -> np.ndarray:
        """The array of that name itself."""
        return self._arrays[name]
