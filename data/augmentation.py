"""What happens to training pictures on their way to the model: crops, RandAugment, erasing, mixtures, soft labels.

Everything is a function of the picture and a NumPy generator, so that a batch can be made again after a resume.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

NUM_OPERATIONS = 2  # of RandAugment, as in timm's rand-m9
ERASED = (0.02, 0.33)  # least and most of a picture's area
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

    def change_batch(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Erase and mix, by the layers of Keras, of what NumPy draws.

        The layers' own draws are not used: from beta distributions Keras draws on torch by torch's global generator
        (3.15), of which `fit` takes a number at each start and each validation, so that what threads draw ahead would
        depend on when they do.

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
                images, labels = (self._mix_up if mixed else self._cut_mix)(images, labels, rng)
        return images, labels

    def _erase(self, images, rng):
        drawn = np.flatnonzero(rng.random(len(images)) < self.random_erasing)
        if not len(drawn):
            return images
        sides = np.sqrt(rng.uniform(*ERASED, size=(2, len(drawn))))
        transformation = {
            "apply_erasing": np.ones(len(drawn), bool),
            "batch_masks": _rectangles(images.shape, *sides, rng),
            "fill_value": np.clip(255 * rng.standard_normal((len(drawn), *images.shape[1:]), "float32"), 0, 255),
        }
        changed = images.copy()
        erased = _layer(keras.layers.RandomErasing).transform_images(_floats(images[drawn]), transformation)
        changed[drawn] = _pixels(erased)
        return changed

    def _mix_up(self, images, labels, rng):
        weights = rng.beta(self.mixup, self.mixup, len(images)).astype("float32")
        return _mixed(keras.layers.MixUp, images, labels, {"mix_weight": weights}, rng)

    def _cut_mix(self, images, labels, rng):
        side = np.sqrt(1 - rng.beta(self.cutmix, self.cutmix, len(images)))
        masks = _rectangles(images.shape, side, side, rng)
        kept = 1 - masks.mean(axis=(1, 2, 3), dtype="float32")
        return _mixed(keras.layers.CutMix, images, labels, {"batch_masks": masks, "mix_weight": kept}, rng)


def _mixed(kind, images, labels, transformation, rng):
    transformation["permutation_order"] = rng.permutation(len(images)).astype("int32")
    layer = _layer(kind)
    changed = layer.transform_images(_floats(images), transformation)
    return _pixels(changed), keras.ops.convert_to_numpy(layer.transform_labels(_floats(labels), transformation))


def _layer(kind):
    return kind(seed=0, dtype="float32")  # without a seed it would take one from Python's global generator


def _rectangles(shape, across, down, rng):
    """Masks `(B, s, s, 1)` of one rectangle each, its sides given in parts of the picture's, anywhere within it."""
    inside = []
    for length, part in ((shape[1], down), (shape[2], across)):
        first = rng.random(len(part)) * (1 - part) * length
        places = np.arange(length)
        inside.append((places >= first[:, None]) & (places < (first + part * length)[:, None]))
    rows, columns = inside
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _floats(values):
    return keras.ops.convert_to_tensor(values, "float32")


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
