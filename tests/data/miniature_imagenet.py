"""ImageNet's two archives in miniature, for the real builder of tensorflow-datasets to prepare without a network."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(label: int, seed: int, size: tuple[int, int] = (80, 72)) -> bytes:
    """A JPEG whose colour tells its class, with noise and a bright disk somewhere."""
    rng = np.random.default_rng((label, seed))
    width, height = size
    colour = np.random.default_rng(label).integers(30, 220, 3)
    pixels = colour + rng.normal(0, 25, (height, width, 3))
    rows, columns = np.ogrid[:height, :width]
    disk = (rows - rng.integers(height)) ** 2 + (columns - rng.integers(width)) ** 2 < 100
    pixels[disk] += 50
    return encoded(np.clip(pixels, 0, 255).astype(np.uint8))


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_archives(folder: Path, train_each: int = 4, validation: int = 8) -> Path:
    """`ILSVRC2012_img_train.tar`, of one tar a class, and `ILSVRC2012_img_val.tar`, flat, as ImageNet's site has them.

    The builder of tensorflow-datasets knows the labels of validation pictures by the order of their names: the classes
    are those of its first few.
    """
    import tensorflow_datasets as tfds

    labels = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt").read_text().split()[:validation]
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as train:
        for label, synset in enumerate(dict.fromkeys(labels)):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                for number in range(train_each):
                    add(tar, f"{synset}_{number}.JPEG", picture(label, number))
            add(train, f"{synset}.tar", inner.getvalue())
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as tar:
        for number, synset in enumerate(labels):
            label = list(dict.fromkeys(labels)).index(synset)
            add(tar, f"ILSVRC2012_val_{number + 1:08d}.JPEG", picture(label, 1000 + number))
    return folder


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def write_folder(folder: Path, each: int = 6, classes: int = 2) -> Path:
    """`folder/class_0/0.jpg` …"""
    for label in range(classes):
        (folder / f"class_{label}").mkdir(parents=True)
        for number in range(each):
            (folder / f"class_{label}" / f"{number}.jpg").write_bytes(picture(label, number))
    return folder
