"""Batches by global step: what makes a run repeatable, and a broken run resumable, to the bit."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import keras
import numpy as np

READY = 8  # batches that may wait for the model, beside those that are being drawn


class StepBatches(keras.utils.PyDataset):
    """Batches for the steps `first_step … last_step − 1` of a training run.

    Keras counts batches from 0 in every call of `fit`; a run counts steps from its beginning. Because `draw` is a
    pure function of the global step, a resumed run sees the batches that the unbroken one would have seen.

    Keras has threads of its own (`workers` of a PyDataset), which are not used: while a model's metrics are unbuilt,
    its `fit` takes a batch to build them by and then starts its threads anew, without forgetting what they had drawn,
    so that on JAX and torch the first steps see batches out of order (Keras 3.15). They also raise the error of a batch
    that nobody asked for, and never draw more than ten at once.

    Args:
        draw: function of the global step, returns one batch `(inputs, targets)`. With threads it is called by all.
        first_step: int, updates already done.
        last_step: int, updates done when the run ends.
        workers: int ≥ 0, threads that draw the batches that are wanted next; 0 draws each when it is asked for.

    Example:

    >>> batches = StepBatches(lambda step: (np.array([step]), np.array([0])), first_step=3, last_step=5, workers=2)
    >>> len(batches), int(batches[0][0][0]), int(batches[1][0][0])
    (2, 3, 4)
    """

    def __init__(self, draw: Callable[[int], tuple], first_step: int, last_step: int, workers: int = 0):
        super().__init__()
        self.draw = draw
        self.first_step = first_step
        self.last_step = last_step
        self._ahead = workers + READY
        self._pool = ThreadPoolExecutor(workers, "batches") if workers else None
        self._futures: dict[int, Future] = {}
        self._lock = threading.Lock()  # TensorFlow asks from threads of its own

    def __len__(self) -> int:
        """Number of batches left."""
        return self.last_step - self.first_step

    def __getitem__(self, index: int) -> tuple:
        """The batch of step `first_step + index`; raises what drawing this one raised."""
        if self._pool is None:
            return self.draw(self.first_step + index)
        with self._lock:
            wanted = range(index, min(index + self._ahead, len(self)))
            for number in [number for number in self._futures if number not in wanted]:
                self._futures.pop(number).cancel()
            for number in wanted:
                if number not in self._futures:
                    self._futures[number] = self._pool.submit(self.draw, self.first_step + number)
            future = self._futures.pop(index)
        return future.result()

    def close(self) -> None:
        """Draw nothing more that was not begun; nobody may ask for a batch then."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


class BatchParts(keras.utils.PyDataset):
    """The same batches, each handed out in equal parts, for an optimizer that accumulates gradients over them.

    Args:
        batches: whose arrays' first dimension is a multiple of `parts`.
        parts: int ≥ 1.

    Example:

    >>> batches = StepBatches(lambda step: (np.arange(4) + step, np.zeros(4)), first_step=0, last_step=3)
    >>> parts = BatchParts(batches, parts=2)
    >>> len(parts), parts[2][0].tolist(), parts[3][0].tolist()
    (6, [1, 2], [3, 4])
    """

    def __init__(self, batches: keras.utils.PyDataset, parts: int):
        super().__init__()
        self.batches = batches
        self.parts = parts
        self._drawn = None, None  # a batch is drawn once for all its parts

    def __len__(self) -> int:
        """Number of parts left."""
        return len(self.batches) * self.parts

    def __getitem__(self, index: int) -> tuple:
        """Part `index % parts` of batch `index // parts`."""
        number, part = divmod(index, self.parts)
        drawn, batch = self._drawn
        if drawn != number:
            batch = self.batches[number]
            self._drawn = number, batch
        size = len(batch[0]) // self.parts
        return tuple(array[part * size : (part + 1) * size] for array in batch)


def sample_indices(step: int, batch_size: int, num_samples: int, seed: int, repeats: int = 1) -> np.ndarray:
    """Which samples the batch of a step holds: position `step` in an endless stream of fresh permutations.

    Every sample is seen once before any is seen again; where `batch_size` does not divide `num_samples`, a batch
    reaches over the seam, and none is short.

    Args:
        step: int, the global step, from 0.
        batch_size: int ≥ 1.
        num_samples: int ≥ 1.
        seed: int ≥ 0.
        repeats: int ≥ 1, how many times in a row each sample comes. An epoch is `num_samples` long all the same, and
            sees so many times fewer different ones (repeated augmentation, arXiv 1902.05509).

    Returns:
        int array of shape `(batch_size,)`.

    Example:

    >>> first, second = (sample_indices(step, batch_size=3, num_samples=6, seed=0) for step in (0, 1))
    >>> sorted([*first.tolist(), *second.tolist()])
    [0, 1, 2, 3, 4, 5]
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)  # (B,)
    epochs, offsets = np.divmod(positions, num_samples)
    indices = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        indices[here] = _permutation(num_samples, seed, int(epoch))[offsets[here] // repeats]
    return indices


@lru_cache(maxsize=2)  # the epoch that a batch is in, and the one across the seam
def _permutation(num_samples: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_samples)
