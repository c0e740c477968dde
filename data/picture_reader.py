"""From pictures of many sizes to arrays of one: decoded, cut, resized, augmented; bad ones replaced by others."""

import threading
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from rankscope.data.augmentation import Augmentation, rand_augment, random_crop_box
from rankscope.data.image_sources import BadImageError, EncodedPictures, Pictures

# Evaluation cuts the middle out of a picture whose shorter side is this much longer (arXiv 2211.05187's code).
EVALUATION_MARGIN = 256 / 224


@dataclass(frozen=True)
class PictureReader:
    """Reads pictures at one size, from several threads at once.

    Args:
        source: str, what the pictures come from, for messages.
        augmentation: of training pictures, one by one.
        skip_bad_images: int ≥ 0, how many pictures that cannot be read are replaced by the next good one.

    Attributes:
        bad_images: name → why it was replaced, of pictures met so far.
    """

    source: str
    augmentation: Augmentation
    skip_bad_images: int = 0
    bad_images: dict[str, str] = field(default_factory=dict)
    _failures: list[BadImageError] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def failure(self) -> BadImageError | None:
        """The first picture that could not be read and was not to be skipped: TensorFlow hides the error itself."""
        return self._failures[0] if self._failures else None

    def read(
        self,
        pictures: Pictures,
        labels: np.ndarray | None,
        indices: np.ndarray,
        shape: tuple[int, int],
        seed: tuple[int, ...] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and labels at some places.

        Args:
            pictures: uint8 `(N, height, width, channels)`, or encoded.
            labels: int `(N,)`, or None where the pictures bring them.
            indices: int `(B,)`.
            shape: height and width that are asked for.
            seed: makes them training pictures, which are augmented; None for validation.

        Returns:
            uint8 `(B, height, width, channels)` and int `(B,)`.

        Raises:
            BadImageError: for one picture too many that cannot be read.
        """
        changed = seed is not None and self.augmentation.changes_pictures
        if isinstance(pictures, np.ndarray) and shape == pictures.shape[1:3] and not changed:
            return pictures[indices], labels[indices]
        images, found = [], []
        for place, index in enumerate(indices):
            rng = None if seed is None else np.random.default_rng((*seed, place))
            image, label = self._read_one(pictures, labels, int(index), shape, rng)
            images.append(image)
            found.append(label)
        return np.stack(images), np.array(found)

    def _read_one(self, pictures, labels, index, shape, rng):
        if isinstance(pictures, np.ndarray):
            array = pictures[index]
            grey = array.shape[2] == 1
            picture = Image.fromarray(array[..., 0] if grey else array).convert("RGB")
            # Nothing is cut off of pictures that are cut already, such as digits, but to give them other proportions.
            image = self._cut(picture, self._box(picture.size, shape, rng, 1.0), shape, rng)
            return image[..., :1] if grey else image, labels[index]
        for shift in range(len(pictures)):
            number = (index + shift) % len(pictures)
            try:
                return self._decode(pictures, number, shape, rng)
            except BadImageError as error:
                self._skip(pictures.name(number), error)
        raise BadImageError(f"{self.source} holds no picture that can be read")

    def _decode(self, pictures: EncodedPictures, number, shape, rng):
        picture, label = pictures.open(number)
        width, height = picture.size
        left, upper, right, lower = self._box((width, height), shape, rng, EVALUATION_MARGIN)
        # No more pixels are decoded than are needed.
        picture = pictures.decode(number, picture, max(shape[0] / (lower - upper), shape[1] / (right - left)))
        across, down = picture.size[0] / width, picture.size[1] / height
        return self._cut(picture, (left * across, upper * down, right * across, lower * down), shape, rng), label

    def _skip(self, name, error):
        with self._lock:
            if name in self.bad_images:
                return
            if len(self.bad_images) >= self.skip_bad_images:
                allowed = f"{self.skip_bad_images} may be replaced by others, see --skip-bad-images"
                failure = BadImageError(f"{error}. Of such pictures {allowed}")
                self._failures.append(failure)
                raise failure from error
            self.bad_images[name] = str(error)

    def _box(self, size, shape, rng, margin):
        """What of a picture of `size`, width and height, is kept: a random crop, or the middle within a margin."""
        width, height = size
        ratio = shape[1] / shape[0]
        if rng is not None and self.augmentation.crop_scale is not None:
            return random_crop_box(size, self.augmentation.crop_scale, rng, ratio)
        across, down = min(width, height * ratio) / margin, min(height, width / ratio) / margin
        return (width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2

    def _cut(self, picture, box, shape, rng):
        """Cut and resize a picture, and augment it: uint8 `(height, width, 3)`."""
        augmentation = self.augmentation
        picture = picture.resize(shape[::-1], Image.Resampling.BICUBIC, box=box)
        if rng is not None:
            if augmentation.flip and rng.random() < 0.5:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            if augmentation.rand_augment is not None:
                picture = rand_augment(picture, augmentation.rand_augment, rng)
        return np.asarray(picture)
