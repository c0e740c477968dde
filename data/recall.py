"""Associative recall, section 4.1: N pairs of tokens, one of the first ones again, and what stood beside it."""

from dataclasses import dataclass

import numpy as np

from rankscope.data.batches import StepBatches
from rankscope.data.dataset import Dataset


@dataclass(frozen=True)
class RecallTask(Dataset):
    """Sequences x₁ y₁ … x_N y_N x_j, to be answered by y_j; each has a mapping of its own, so it is learned in context.

    The keys x are all of the tokens 0 … N − 1 in a fresh order, the values y are drawn with replacement from the tokens
    N … 2N − 1, and j is uniform. No sequence is stored: each step draws new ones, of which there are N! · N^(N+1).

    Where the paper leaves it open: labels are perturbed in training only, and a random label may happen to be the right
    one. So the best that a model can do is an accuracy of 0.95 + 0.05/N on noisy labels, and 1 on clean ones.

    Args:
        num_pairs: int ≥ 2, N.
        label_noise: float in [0, 1), part of the training labels that is replaced by random values.
        distinct_values: bool, whether the values of a sequence are a permutation, as the keys are.
        validation_sequences: int ≥ 1, sequences held out, with clean labels.
        validation_seed: int ≥ 0, of the held-out sequences: runs of different seeds share them.

    Raises:
        ValueError: for fewer than two pairs, which leave nothing to recall.

    Example, a sequence and its answer, which stands after the earlier 2:

    >>> task = RecallTask(num_pairs=3, label_noise=0)
    >>> tokens, answers = task.train_batch(step=0, batch_size=1, seed=1)
    >>> tokens[0].tolist(), answers[0].item()
    ([0, 3, 1, 3, 2, 5, 2], 5)
    """

    num_pairs: int = 20
    label_noise: float = 0.05
    distinct_values: bool = False
    validation_sequences: int = 2048
    validation_seed: int = 0
    kind = "recall"
    metrics = ("accuracy",)

    def __post_init__(self):
        if self.num_pairs < 2:
            raise ValueError(f"data.num_pairs must be at least 2. Received: {self.num_pairs}")

    @property
    def vocabulary_size(self) -> int:
        """N keys and N values."""
        return 2 * self.num_pairs

    @property
    def sequence_length(self) -> int:
        """2N + 1."""
        return 2 * self.num_pairs + 1

    @property
    def origin(self) -> str:
        """One line for people."""
        return (
            f"recall: {self.num_pairs} pairs a sequence, fresh ones at every step, {self.label_noise:.3g} of their "
            f"labels random; {self.validation_sequences} clean sequences held out by seed {self.validation_seed}"
        )

    def train_batch(self, step: int, batch_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The training batch of a step, a pure function of `(step, seed)`.

        Returns:
            int32 tokens `(batch_size, 2N + 1)` and answers `(batch_size,)`, some of them wrong.
        """
        rng = np.random.default_rng((seed, step))
        tokens, answers = self._draw(rng, batch_size)
        noise = rng.random(batch_size) < self.label_noise  # (B,)
        return tokens, np.where(noise, self._values(rng, batch_size), answers)

    def validation_batches(self, batch_size: int) -> StepBatches:
        """The held-out sequences once, in order, the last batch possibly short."""
        # A third word, so that no step of no run draws from the same stream.
        tokens, answers = self._draw(np.random.default_rng((self.validation_seed, 0, 1)), self.validation_sequences)

        def draw(index):
            rows = slice(index * batch_size, (index + 1) * batch_size)
            return tokens[rows], answers[rows]

        return StepBatches(draw, 0, -(-self.validation_sequences // batch_size))

    def learned(self, metrics: dict[str, float]) -> bool:
        """Whether `val_accuracy`, on clean labels, is at least 0.95: the model looks up, and does not guess (1/N)."""
        return bool(metrics["val_accuracy"] >= 0.95)

    def _draw(self, rng, count):
        keys = self._permutations(rng, count)  # (B, N)
        if self.distinct_values:
            values = self.num_pairs + self._permutations(rng, count)
        else:
            values = self._values(rng, (count, self.num_pairs))  # (B, N)
        asked = rng.integers(self.num_pairs, size=count)  # (B,), j
        rows = np.arange(count)
        pairs = np.stack([keys, values], axis=2).reshape(count, -1)  # (B, 2N)
        tokens = np.concatenate([pairs, keys[rows, asked][:, None]], axis=1)  # (B, 2N + 1)
        return tokens.astype(np.int32), values[rows, asked].astype(np.int32)

    def _permutations(self, rng, count):
        return rng.permuted(np.broadcast_to(np.arange(self.num_pairs), (count, self.num_pairs)), axis=1)

    def _values(self, rng, shape):
        return rng.integers(self.num_pairs, 2 * self.num_pairs, size=shape, dtype=np.int32)
