"""What happens to training pictures on their way to the model: crops, RandAugment, erasing, mixtures, soft labels.

Everything is a function of the picture and a NumPy generator, so that a batch can be made again after a resume.
"""

import contextlib
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

NUM_OPERATIONS = 2  # of RandAugment, as in timm's rand-m9
# Keras draws from beta distributions on torch by torch's global generator, seeded for the moment.
_ONE_AT_A_TIME = threading.Lock() if keras.backend.backend() == "torch" else contextlib.nullcontext()
GREY = (128, 128, 128)  # what comes in at the edge of a moved picture


@dataclass(frozen=True)
class Augmentation:
    """Which changes are made, all of them off by default.

    Args:
        crop_scale: least part of a picture's area that a random crop keeps, in (0, 1], or None for the whole picture.
        flip: bool, whether every second picture is mirrored.
        rand_augment: magnitude 0 to 10 of RandAugment (arXiv 1909.13719), or None for none.
        random_erasing: probability that a rectangle of a picture becomes noise (arXiv 1708.04896).
        mixup: α of mixup (arXiv 1710.09412), 0 for none.
        cutmix: α of CutMix (arXiv 1905.04899), 0 for none. With both, each batch has one of the two.
        label_smoothing: part of a training label that is shared out over all classes.
        repeats: int ≥ 1, how many times in a row each picture is drawn (arXiv 1902.05509).
    """

    crop_scale: float | None = None
    flip: bool = False
    rand_augment: float | None = None
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0
    repeats: int = 1
    _own: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    @property
    def changes_pictures(self) -> bool:
        """Whether pictures are changed one by one."""
        return self.crop_scale is not None or self.flip or self.rand_augment is not None

    @property
    def changes_batches(self) -> bool:
        """Whether pictures are changed as a batch."""
        return bool(self.random_erasing or self.mixup or self.cutmix)

    @property
    def soft_labels(self) -> bool:
        """Whether a label is a distribution over classes."""
        return bool(self.mixup or self.cutmix or self.label_smoothing)

    def change_batch(self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator):
        """Erase and mix, by the layers of Keras.

        Args:
            images: uint8 `(B, s, s, C)`.
            labels: float32 `(B, classes)`, or int `(B,)` where none are mixed.
            rng: of this batch.

        Returns:
            uint8 images and labels of the same shapes.
        """
        with keras.device("cpu"):  # torch takes "cpu:0" for another device
            if self.random_erasing:
                images = self._erase(images, rng)
            if self.mixup or self.cutmix:
                mixed = rng.random() < 0.5 if self.mixup and self.cutmix else bool(self.mixup)
                images, labels = self._mix("mixup" if mixed else "cutmix", images, labels, rng)
        return images, labels

    def _erase(self, images, rng):
        """Of the images that are drawn for it; the layer would fill all of them with noise to keep a few."""
        drawn = np.flatnonzero(rng.random(len(images)) < self.random_erasing)
        if not len(drawn):
            return images
        # In eights, of which the last are thrown away: JAX compiles the layer for each count anew.
        padded = np.resize(drawn, -(-len(drawn) // 8) * 8)
        changed = self._layer("random_erasing", rng)(images[padded].astype("float32"), training=True)
        images = images.copy()
        images[drawn] = _pixels(changed)[: len(drawn)]
        return images

    def _mix(self, name, images, labels, rng):
        layer = self._layer(name, rng)
        with _ONE_AT_A_TIME:
            mixed = layer({"images": images.astype("float32"), "labels": labels.astype("float32")}, training=True)
        return _pixels(mixed["images"]), keras.ops.convert_to_numpy(mixed["labels"])

    def _layer(self, name, rng):
        """One of each kind a thread, since their generators are variables; a call depends on `rng` alone."""
        if not hasattr(self._own, name):
            # MixUp counts in int64, which JAX says that it does in int32.
            warnings.filterwarnings("ignore", "Explicitly requested dtype.*int64", UserWarning)
            make: dict[str, Callable[[], keras.layers.Layer]] = {
                "random_erasing": lambda: keras.layers.RandomErasing(
                    (1.0, 1.0), scale=(0.02, 0.33), seed=0, dtype="float32"
                ),
                "mixup": lambda: keras.layers.MixUp(self.mixup, seed=0, dtype="float32"),
                "cutmix": lambda: keras.layers.CutMix((self.cutmix,) * 2, seed=0, dtype="float32"),
            }
            setattr(self._own, name, make[name]())
        layer = getattr(self._own, name)
        layer.generator.state.assign(np.array([rng.integers(2**31), 0]))
        return layer


def _pixels(changed):
    return np.clip(np.rint(keras.ops.convert_to_numpy(changed)), 0, 255).astype(np.uint8)


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


def random_crop_box(
    size: tuple[int, int], crop_scale: float, rng: np.random.Generator, ratio: float = 1.0
) -> tuple[float, float, float, float]:
    """Where to cut: an area from `crop_scale` to 1 of the picture, its sides' ratio drawn (arXiv 1409.4842).

    Keras has no such layer. Where ten draws do not fit, the largest crop in the middle within these ratios.

    Args:
        size: width and height in pixels.
        crop_scale: float in (0, 1].
        rng: of this picture.
        ratio: width over height of what is made of it; the crop's is from 3/4 to 4/3 of this.

    Returns:
        Left, upper, right, lower, in pixels.

    Example:

    >>> random_crop_box((100, 100), 1.0, np.random.default_rng(0))
    (0.0, 0.0, 100.0, 100.0)
    """
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(crop_scale, 1.0)
        drawn = ratio * np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        across, down = round(float(np.sqrt(area * drawn))), round(float(np.sqrt(area / drawn)))
        if 0 < across <= width and 0 < down <= height:
            left, upper = rng.integers(width - across + 1), rng.integers(height - down + 1)
            return float(left), float(upper), float(left + across), float(upper + down)
    across, down = min(width, height * ratio * 4 / 3), min(height, width / ratio * 4 / 3)
    left, upper = (width - across) / 2, (height - down) / 2
    return left, upper, left + across, upper + down


def rand_augment(picture: Image.Image, magnitude: float, rng: np.random.Generator) -> Image.Image:
    """Two operations, drawn for this picture, of a strength near `magnitude` (arXiv 1909.13719, timm's m9-mstd0.5-inc).

    The operations are Pillow's. `keras.layers.RandAugment` draws its operations once a call, runs all eleven of them to
    keep two, and takes 100 to 500 times longer a picture of 224 pixels (docs/images.md).

    Args:
        picture: RGB.
        magnitude: float in [0, 10]; each operation's own is normal around it with deviation 0.5.
        rng: of this picture.
    """
    names = list(OPERATIONS)
    for _ in range(NUM_OPERATIONS):
        name = names[rng.integers(len(names))]
        strength = float(np.clip(rng.normal(magnitude, 0.5), 0, 10)) / 10
        sign = 1 if rng.random() < 0.5 else -1
        if rng.random() < 0.5:  # timm applies each with this probability
            picture = OPERATIONS[name](picture, strength, sign)
    return picture


def _moved(picture, matrix):
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=GREY)


def _enhanced(kind):
    return lambda picture, strength, sign: kind(picture).enhance(1 + sign * 0.9 * strength)


#: Name → function of picture, strength in [0, 1] and sign, increasing in strength.
OPERATIONS: dict[str, Callable[[Image.Image, float, int], Image.Image]] = {
    "auto_contrast": lambda picture, strength, sign: ImageOps.autocontrast(picture),
    "equalize": lambda picture, strength, sign: ImageOps.equalize(picture),
    "invert": lambda picture, strength, sign: ImageOps.invert(picture),
    "rotate": lambda picture, strength, sign: picture.rotate(
        sign * 30 * strength, Image.Resampling.BICUBIC, fillcolor=GREY
    ),
    "posterize": lambda picture, strength, sign: ImageOps.posterize(picture, max(1, 4 - int(4 * strength))),
    "solarize": lambda picture, strength, sign: ImageOps.solarize(picture, 256 - int(256 * strength)),
    "solarize_add": lambda picture, strength, sign: picture.point(
        [min(255, value + int(110 * strength)) if value < 128 else value for value in range(256)] * 3
    ),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": lambda picture, strength, sign: _moved(picture, (1, sign * 0.3 * strength, 0, 0, 1, 0)),
    "shear_y": lambda picture, strength, sign: _moved(picture, (1, 0, 0, sign * 0.3 * strength, 1, 0)),
    "translate_x": lambda picture, strength, sign: _moved(
        picture, (1, 0, sign * 0.45 * strength * picture.size[0], 0, 1, 0)
    ),
    "translate_y": lambda picture, strength, sign: _moved(
        picture, (1, 0, 0, 0, 1, sign * 0.45 * strength * picture.size[1])
    ),
}
