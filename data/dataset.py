"""What training asks of any data, with an answer for those that have nothing to say."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from rankscope.data.batches import StepBatches


class Dataset(ABC):
    """Batches to learn from, batches to validate on, and what they are.

    Attributes:
        kind: one word; models of the registry say by it what they learn from.
        origin: one line for people: what it is, how it was split. A run is resumed on data of the same origin alone.
        metrics: Keras' names of metrics that are logged beside the loss.
        of_loss: name → function of `loss` and `val_loss` that is logged beside them, such as a perplexity.
        unit: what speed is counted in beside steps, such as `images`; None: in steps alone.
        soft_labels: whether labels are shares of classes, `(B, num_classes)`, instead of whole numbers.
        costly: whether batches take long to draw, so that it is worth a second to measure how long.
    """

    kind: ClassVar[str]
    origin: str
    metrics: ClassVar[tuple[str, ...]] = ()
    of_loss: ClassVar[Mapping[str, Callable[[float], float]]] = {}
    unit: ClassVar[str | None] = None
    soft_labels: bool = False
    costly: bool = False

    @property
    def units_per_sample(self) -> int:
        """How many of `unit` a sample has, such as the tokens of a window."""
        return 1

    @property
    def bad_samples(self) -> dict[str, str]:
        """Name → why it was replaced by another, of samples that could not be read so far; a resumed run adds to it."""
        return {}

    @property
    def failure(self) -> Exception | None:
        """What drawing a batch raised first, of samples that must not be replaced."""
        return None

    @abstractmethod
    def train_batch(self, step: int, batch_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of a training step, a pure function of `(step, seed)`."""

    def train_batches(
        self, batch_size: int, seed: int, first_step: int, last_step: int, image_size: int | None = None
    ) -> StepBatches:
        """Training batches of the steps `first_step … last_step − 1`.

        Args:
            batch_size: int ≥ 1.
            seed: int ≥ 0.
            first_step: int, updates done already.
            last_step: int, updates done when these batches end.
            image_size: one of `image_sizes`; None: the data's own size.
        """
        if image_size is not None:
            raise ValueError(f"These data have no size of images. Received: image_size={image_size}")
        return StepBatches(lambda step: self.train_batch(step, batch_size, seed), first_step, last_step)

    @abstractmethod
    def validation_batches(self, batch_size: int) -> StepBatches:
        """The validation part once, in order."""

    @abstractmethod
    def learned(self, metrics: Mapping[str, float]) -> bool:
        """Whether a model with these metrics of validation has learned anything."""

    def steps_per_epoch(self, batch_size: int) -> int | None:
        """Steps that draw as many samples as the training part has; None of data without epochs."""
        return None

    def image_sizes(self, first: int, increment: int) -> list[int] | None:
        """Sides in pixels of images that grow over training, up to the data's own; None of data without such sizes.

        Raises:
            ValueError: where the schedule does not fit the data's own size.
        """
        return None

    def pipeline_speed(
        self, batch_size: int, seed: int, first_step: int, last_step: int, image_size: int | None, seconds: float
    ) -> float | None:
        """How many of `unit` are drawn a second without a model, measured for about `seconds`; None: not measured."""
        return None
