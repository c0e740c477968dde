"""Images for classification: drawn, resized, augmented and split by seed, whatever they come from."""

import itertools
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from rankscope.data.augmentation import Augmentation, shift_images
from rankscope.data.batches import StepBatches, sample_indices
from rankscope.data.cores import cores
from rankscope.data.dataset import Dataset
from rankscope.data.image_sources import (
    KERAS_DATASETS,
    BadImageError,
    EncodedPictures,
    Part,
    Pictures,
    Source,
    class_folder,
    idx_files,
    keras_dataset,
    mnist_5k,
)
from rankscope.data.picture_reader import PictureReader
from rankscope.data.tfds_source import tfds_pictures

MAX_WORKERS = 16


@dataclass(frozen=True)
class ImageData(Dataset):
    """Labelled images, split into a training and a validation part.

    Args:
        source: str, the name that `load_images` was asked for.
        origin: str, one line for people: what it is, how it was split.
        train_images: uint8 array `(N, height, width, channels)`, or `EncodedPictures`.
        train_labels: int array `(N,)` in `[0, num_classes)`, or None where the pictures bring them.
        validation_images: as `train_images`, M of them.
        validation_labels: as `train_labels`.
        num_classes: int.
        max_shift: int ≥ 0, training images move by up to so many pixels each way.
        image_size: int ≥ 1, side of the square images that are validated on, or None for the arrays' own size.
        augmentation: of the training images.
        skip_bad_images: int ≥ 0, how many pictures that cannot be read are replaced by the next good one.
        workers: int ≥ 1, threads that draw batches.
    """

    source: str
    origin: str
    train_images: Pictures = field(repr=False)
    train_labels: np.ndarray | None = field(repr=False)
    validation_images: Pictures = field(repr=False)
    validation_labels: np.ndarray | None = field(repr=False)
    num_classes: int
    max_shift: int = 0
    image_size: int | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    skip_bad_images: int = 0
    workers: int = 1
    kind = "images"
    metrics = ("accuracy",)
    unit = "images"

    def __post_init__(self):
        """Make the reader of the pictures, which all batches share."""
        object.__setattr__(self, "_reader", PictureReader(self.source, self.augmentation, self.skip_bad_images))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of the images that are validated on."""
        own = (0, 0, 3) if isinstance(self.train_images, EncodedPictures) else self.train_images.shape[1:]
        return tuple(own) if self.image_size is None else (self.image_size, self.image_size, own[2])

    @property
    def _shape(self):
        return self.image_shape[:2]

    @property
    def soft_labels(self) -> bool:
        """Whether labels are float32 `(B, num_classes)`: those of validation are then whole, without smoothing."""
        return self.augmentation.soft_labels

    @property
    def bad_samples(self) -> dict[str, str]:
        """Name → why it was replaced, of pictures met so far."""
        return self._reader.bad_images

    @property
    def failure(self) -> BadImageError | None:
        """The first picture that could not be read and was not to be skipped."""
        return self._reader.failure

    @property
    def costly(self) -> bool:
        """Whether batches are worth threads of their own."""
        changed = self.augmentation.changes_pictures or self.augmentation.changes_batches
        return changed or self.image_size is not None or isinstance(self.train_images, EncodedPictures)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Whole batches in as many images as the training part has, one at least."""
        return max(1, len(self.train_images) // batch_size)

    def image_sizes(self, first: int, increment: int) -> list[int]:
        """`first`, `first + increment` … and at the end the side of `image_shape`.

        Raises:
            ValueError: for images that are not square, or smaller than the first.

        Example:

        >>> load_images("mnist_5k").image_sizes(first=14, increment=6)
        [14, 20, 26, 28]
        """
        height, width, _ = self.image_shape
        if height != width or first > height:
            raise ValueError(
                f"training.image_size_schedule ends at square images that are no smaller than its first. "
                f"Received: images of {height}×{width}, first {first}"
            )
        return [*range(first, height, increment), height]

    def train_batch(
        self, step: int, batch_size: int, seed: int, image_size: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The training batch of a step, a pure function of `(step, seed, image_size)`.

        Args:
            step: int ≥ 0.
            batch_size: int ≥ 1.
            seed: int ≥ 0.
            image_size: side of square images, or None for `image_shape`.

        Returns:
            uint8 images `(batch_size, height, width, channels)` and int labels `(batch_size,)`, or soft ones.

        Raises:
            BadImageError: for one picture too many that cannot be read.
        """
        indices = sample_indices(step, batch_size, len(self.train_images), seed, self.augmentation.repeats)
        shape = self._shape if image_size is None else (image_size, image_size)
        images, labels = self._reader.read(self.train_images, self.train_labels, indices, shape, (seed, step, 2))
        if self.max_shift:
            images = shift_images(images, self.max_shift, np.random.default_rng((seed, step, 1)))
        if self.soft_labels:
            labels = self._one_hot(labels, self.augmentation.label_smoothing)
        if self.augmentation.changes_batches:
            images, labels = self.augmentation.change_batch(images, labels, np.random.default_rng((seed, step, 3)))
        return images, labels

    def train_batches(
        self, batch_size: int, seed: int, first_step: int, last_step: int, image_size: int | None = None
    ) -> StepBatches:
        """Training batches of the steps `first_step … last_step − 1`, drawn ahead by threads where they are costly."""
        return self._batches(lambda step: self.train_batch(step, batch_size, seed, image_size), first_step, last_step)

    def validation_batches(self, batch_size: int) -> StepBatches:
        """The validation part once, in order, the last batch possibly short."""
        total = len(self.validation_images)

        def draw(index):
            indices = np.arange(index * batch_size, min((index + 1) * batch_size, total))
            images, labels = self._reader.read(self.validation_images, self.validation_labels, indices, self._shape)
            return images, self._one_hot(labels, 0.0) if self.soft_labels else labels

        return self._batches(draw, 0, -(-total // batch_size))

    def _batches(self, draw, first_step, last_step):
        if not self.costly:
            return StepBatches(draw, first_step, last_step)
        return StepBatches(draw, first_step, last_step, self.workers)

    def pipeline_speed(
        self, batch_size: int, seed: int, first_step: int, last_step: int, image_size: int | None, seconds: float
    ) -> float:
        """Training images that are drawn a second, by all threads, without a model; measured for about `seconds`.

        The batches are those of the steps `first_step … last_step − 1`, over and over: no other picture is read.
        """
        steps = last_step - first_step

        def draw(count):
            return self.train_batch(first_step + count % steps, batch_size, seed, image_size)

        with closing(self._batches(draw, 0, sys.maxsize)) as batches:
            # Threads draw a round at a time: one is waited for, until all is compiled, and whole ones are counted.
            first = self.workers if self.costly else 1
            for index in range(first):
                batches[index]
            started = time.perf_counter()
            for drawn in itertools.count(1):
                batches[first + drawn - 1]
                if drawn % first == 0 and (spent := time.perf_counter() - started) > seconds:
                    return drawn * batch_size / spent

    def learned(self, metrics: dict[str, float]) -> bool:
        """Whether `val_accuracy` is above chance by more than three standard errors."""
        chance = 1 / self.num_classes
        standard_error = np.sqrt(chance * (1 - chance) / len(self.validation_images))
        return bool(metrics["val_accuracy"] > chance + 3 * standard_error)

    def _one_hot(self, labels, smoothing):
        rows = np.full((len(labels), self.num_classes), smoothing / self.num_classes, "float32")
        rows[np.arange(len(labels)), labels] += 1 - smoothing
        return rows


def load_images(
    source: str = "mnist_5k",
    validation_fraction: float = 0.2,
    split_seed: int = 0,
    max_shift: int = 0,
    image_size: int | None = None,
    augmentation: Augmentation = Augmentation(),  # noqa: B008 (frozen)
    skip_bad_images: int = 0,
    workers: int | None = None,
    **where,
) -> ImageData:
    """Load labelled images; those that do not come in two parts are split by seed.

    Args:
        source: `"mnist_5k"` (5,000 real digits that come with pip), a name of `keras.datasets`, `"idx"`, `"folder"` or
            `"tfds"`.
        validation_fraction: float in (0, 1), part of all images that is held out.
        split_seed: int ≥ 0; runs of different seeds share a split unless this differs.
        max_shift: int ≥ 0, pixels; see `shift_images`.
        image_size: side of square images, or None for the arrays' own.
        augmentation: of the training images.
        skip_bad_images: int ≥ 0, see `ImageData`.
        workers: threads that draw batches, None for one a core.
        **where: arguments of the source's function in `data.image_sources`.

    Raises:
        ValueError: for a fraction that leaves either part empty, or data that is not to be had.

    Example:

    >>> data = load_images("mnist_5k")
    >>> data.train_images.shape, data.validation_images.shape, data.num_classes
    ((4000, 28, 28, 1), (1000, 28, 28, 1), 10)
    """
    found = SOURCES[source](**where)
    name = ":".join([source, *(str(where[key]) for key in ("path", "name") if key in where)])
    train, validation, words = found.train, found.validation, ""
    if validation is None:
        validation, train = _split(train, name, validation_fraction, split_seed)
        words = f", split by seed {split_seed}"
    if isinstance(train.pictures, EncodedPictures) and image_size is None:
        raise ValueError(f"data.image_size must say to which size pictures of {source} are cut, such as 224")
    return ImageData(
        source=source,
        origin=f"{name}: {len(train.pictures)} training and {len(validation.pictures)} validation images{words}",
        train_images=train.pictures,
        train_labels=train.labels,
        validation_images=validation.pictures,
        validation_labels=validation.labels,
        num_classes=found.num_classes,
        max_shift=max_shift,
        image_size=image_size,
        augmentation=augmentation,
        skip_bad_images=skip_bad_images,
        workers=workers or min(MAX_WORKERS, cores()),
    )


def _split(part: Part, name: str, fraction: float, seed: int) -> tuple[Part, Part]:
    count = len(part.pictures)
    order = np.random.default_rng(seed).permutation(count)
    held_out = round(fraction * count)
    if not 0 < held_out < count:
        raise ValueError(
            f"data.validation_fraction leaves one part of the {count} images of {name} empty. Received: {fraction}"
        )
    return part.at(order[:held_out]), part.at(order[held_out:])


SOURCES: dict[str, Callable[..., Source]] = {
    "mnist_5k": mnist_5k,
    **{name: (lambda name=name: keras_dataset(name)) for name in KERAS_DATASETS},
    "idx": idx_files,
    "folder": class_folder,
    "tfds": tfds_pictures,
}
