"""The regression problem of section 3.4: whitened inputs and a target with given singular values."""

from dataclasses import dataclass

import numpy as np

from data.batches import StepBatches


@dataclass(frozen=True)
class WhitenedRegression:
    """Inputs X = I and targets Y = diag(s): Σ_XX = I and Σ_YX = S of eqs. 12 and 13, without loss of generality.

    There is nothing to hold out: the validation part is the training part, and every batch is the full batch.

    Args:
        singular_values: the diagonal of S, each ≥ 0.

    Example:

    >>> data = WhitenedRegression((0.5, 1.0))
    >>> data.train_batch(step=0)[1]
    array([[0.5, 0. ],
           [0. , 1. ]], dtype=float32)
    """

    singular_values: tuple[float, ...]
    metrics = ()

    @property
    def origin(self) -> str:
        """One line for people."""
        return f"diagonal: whitened inputs, target singular values {', '.join(f'{s:g}' for s in self.singular_values)}"

    def train_batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The full batch, the same at every step: X and Y, float32 of shape `(d, d)`, one sample a row."""
        return np.eye(len(self.singular_values), dtype=np.float32), np.diag(self.singular_values).astype(np.float32)

    def train_batches(self, batch_size: int, seed: int, first_step: int, last_step: int) -> StepBatches:
        """The full batch once a step; batch size and seed change nothing."""
        return StepBatches(self.train_batch, first_step, last_step)

    def validation_batches(self, batch_size: int) -> StepBatches:
        """The full batch once."""
        return StepBatches(self.train_batch, 0, 1)

    def learned(self, metrics: dict[str, float]) -> bool:
        """Whether the loss is below ½ Σ s², the loss of a network that has shrunk to zero."""
        return bool(metrics["val_loss"] < 0.5 * float(np.square(self.singular_values).sum()))
