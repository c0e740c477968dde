"""Many replicas of a small problem, trained side by side in one model, with all their weights over time."""

from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from rankscope.callbacks import StepCallback
from rankscope.data.batches import StepBatches


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The trainable weights of a model at the steps where they were read.

    Args:
        steps: int array `(readings,)`; step 0 and the last step are in it.
        weights: `variable.path` → float array `(readings, *shape of the variable)`.
    """

    steps: np.ndarray
    weights: dict[str, np.ndarray]


def train_replicas(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss,
    batch: tuple[np.ndarray, np.ndarray],
    steps: int,
    every: int,
) -> Trajectory:
    """Train a small model by Keras on one full batch, and keep its weights as it goes.

    A toy of twenty penalties and three seeds is sixty runs of a thousand steps each: as replicas of one model they
    are one compiled step, and their records one array instead of sixty run directories.

    Args:
        model: a built model; its replicas, if any, share nothing but the step.
        optimizer: of all its weights.
        loss: summed over replicas, so that each sees its own loss alone.
        batch: inputs and targets, the same at every step.
        steps: updates to make.
        every: steps between two readings.

    Returns:
        `Trajectory`, in the dtype of the weights.

    Raises:
        FloatingPointError: where a weight is not finite any more.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    >>> path = train_replicas(model, keras.optimizers.SGD(0.5), keras.losses.MeanSquaredError(),
    ...     (np.ones((1, 1)), np.zeros((1, 1))), steps=2, every=1)
    >>> path.steps.tolist(), [weights.ravel().tolist() for weights in path.weights.values()]
    ([0, 1, 2], [[1.0, 0.0, 0.0]])
    """
    # XLA on TensorFlow, too, as in a run; torch would take minutes to compile.
    model.compile(optimizer, loss, jit_compile=keras.backend.backend() != "torch")
    recorder = _Recorder(every)
    batches = StepBatches(lambda step: batch, 0, steps)
    with _one_thread():
        model.fit(batches, shuffle=False, verbose=0, callbacks=[recorder])
    weights = {path: np.stack([reading[path] for reading in recorder.readings]) for path in recorder.readings[0]}
    for path, values in weights.items():
        if not np.isfinite(values).all():
            step = recorder.steps[int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))]
            raise FloatingPointError(f"{path} is not finite any more at step {step}")
    return Trajectory(np.array(recorder.steps), weights)


@contextmanager
def _one_thread():
    """torch's threads gain nothing on matrices this small, and wait for one another wherever the cores are busy."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Recorder(StepCallback):
    def __init__(self, every):
        super().__init__(every)
        self.steps: list[int] = []
        self.readings: list[dict[str, np.ndarray]] = []

    def at_step(self, step):
        self.steps.append(step)
        # A copy: on a CPU the array may be a view of memory that the next step writes to.
        variables = self.model.trainable_variables
        self.readings.append({v.path: np.array(keras.ops.convert_to_numpy(v.value)) for v in variables})
