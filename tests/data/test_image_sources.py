"""Where pictures come from: folders, IDX files and tensorflow-datasets, and what is said where they are damaged."""

import gzip
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from rankscope.data.augmentation import Augmentation
from rankscope.data.image_sources import BadImageError
from rankscope.data.images import load_images
from tests.data.miniature_imagenet import encoded, write_archives, write_folder

pytestmark = pytest.mark.once

needs_tfds = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None, reason="needs tensorflow-datasets"
)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "pictures")


def load(folder, **settings):
    return load_images("folder", path=str(folder), **{"image_size": 32, **settings})


def all_of(batches):
    images, labels = zip(*(batches[index] for index in range(len(batches))), strict=True)
    return np.concatenate(images), np.concatenate(labels)


# === Folders ===


def test_a_folder_s_classes_are_its_folders(folder):
    data = load(folder)
    assert data.image_shape == (32, 32, 3)
    assert data.num_classes == 2
    assert (len(data.train_images), len(data.validation_images)) == (10, 2)
    images, labels = data.train_batch(0, 10, seed=0)
    assert images.shape == (10, 32, 32, 3)
    assert images.dtype == np.uint8
    colours = np.array([np.random.default_rng(label).integers(30, 220, 3) for label in labels])
    assert np.abs(images.mean(axis=(1, 2)) - colours).max() < 25


def test_a_folder_in_two_parts_is_not_split(tmp_path):
    write_folder(tmp_path / "train", each=3)
    write_folder(tmp_path / "val", each=2)
    data = load(tmp_path)
    assert (len(data.train_images), len(data.validation_images)) == (6, 4)
    assert all_of(data.validation_batches(3))[1].tolist() == [0, 0, 1, 1]


def test_a_smaller_size_and_the_middle(tmp_path):
    """A white square of half the height amid black: the middle 7/8 of 64 pixels are 56, 32 of them white."""
    for label in "ab":
        (tmp_path / label).mkdir()
        pixels = np.zeros((64, 128, 3), np.uint8)
        pixels[16:48, 48:80] = 255
        for number in range(3):
            (tmp_path / label / f"{number}.png").write_bytes(encoded(pixels))
    images, _ = load(tmp_path, image_size=56, validation_fraction=0.5).validation_batches(1)[0]
    white = images[0, ..., 0] > 128
    assert white.sum() == pytest.approx(32 * 32, abs=64)
    assert white[28, 28]
    small, _ = load(tmp_path, image_size=56).train_batch(0, 2, seed=0, image_size=28)
    assert small.shape == (2, 28, 28, 3)
    assert (small[0, ..., 0] > 128).sum() == pytest.approx(16 * 16, abs=32)


def test_training_pictures_are_a_function_of_seed_step_and_size(folder):
    augmentation = {"crop_scale": 0.08, "flip": True, "rand_augment": 9.0, "repeats": 3, "label_smoothing": 0.1}
    one, other = (load(folder, augmentation=Augmentation(**augmentation)) for _ in range(2))
    other.train_batch(1, 6, seed=0)
    for size in (16, None):
        images, labels = one.train_batch(3, 6, seed=0, image_size=size)
        again, labels_again = other.train_batch(3, 6, seed=0, image_size=size)
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(images, one.train_batch(3, 6, seed=1)[0])
    assert np.unique(labels) == pytest.approx([0.05, 0.95])
    rows = labels.argmax(axis=1)
    assert (rows[:3] == rows[0]).all()  # the same picture three times in a row,
    assert not np.array_equal(images[0], images[1])  # each time another cut
    assert set(one.validation_batches(2)[0][1].ravel().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: None, "data.image_size must say"),
        (lambda folder: [p.unlink() for p in (folder / "class_1").iterdir()], r"class_1 holds no picture"),
        (
            lambda folder: shutil.rmtree(folder / "class_1"),
            r"two folders of pictures or more.*Received: 1",
        ),
        (lambda folder: shutil.rmtree(folder), r"data\.path must be a folder.*Received: .*pictures"),
        (
            lambda folder: write_folder(folder / "train"),
            r"Beside .*train there must be .* val, validation, valid, test",
        ),
        (
            lambda folder: [write_folder(folder / "train", classes=3), write_folder(folder / "test")],
            r"test must hold the same classes as .*train. Received: class_2 in one of them only",
        ),
    ],
)
def test_folders_that_do_not_do(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load(folder, image_size=None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda content: content[: len(content) // 2], r"0\.jpg cannot be decoded: image file is truncated"),
        (lambda content: b"no picture", r"0\.jpg is no picture in JPEG, PNG"),
        (lambda content: b"", r"0\.jpg is no picture in JPEG, PNG"),
    ],
)
def test_a_damaged_picture_is_named_or_replaced(folder, content, message):
    path = folder / "class_0" / "0.jpg"
    path.write_bytes(content(path.read_bytes()))
    strict = load(folder)
    with pytest.raises(BadImageError, match=message + r".*0 may be replaced by others, see --skip-bad-images"):
        strict.train_batch(0, 10, seed=0) and all_of(strict.validation_batches(2))
    assert strict.failure is not None
    lenient = load(folder, skip_bad_images=1)
    first = lenient.train_batch(0, 10, seed=0)[0], all_of(lenient.validation_batches(2))[0]
    again = lenient.train_batch(0, 10, seed=0)[0], all_of(lenient.validation_batches(2))[0]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(lenient.bad_samples) == [str(path)]


def test_names_that_no_picture_has_are_passed_over(folder):
    """Those of macOS' companions, and a name that is no text can be told."""
    (folder / "class_0" / "._0.jpg").write_bytes(b"macOS")
    odd = os.fsencode(folder / "class_0") + b"/\xff.jpg"
    with open(odd, "wb") as file:
        file.write(b"no picture")
    data = load(folder, skip_bad_images=1)
    assert len(data.train_images) + len(data.validation_images) == 13
    data.train_batch(0, 11, seed=0), all_of(data.validation_batches(2))
    (name,) = data.bad_samples
    assert name.endswith(r"class_0/\xff.jpg")
    name.encode()


@pytest.mark.parametrize("held_out", ["val", "validation", "valid", "test"])
def test_names_of_the_held_out_part(tmp_path, held_out):
    write_folder(tmp_path / "train", each=3)
    write_folder(tmp_path / held_out, each=2)
    data = load(tmp_path)
    assert (len(data.train_images), len(data.validation_images), data.num_classes) == (6, 4, 2)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "bus", "test"):
        (tmp_path / name).mkdir()
        for number in range(5):
            (tmp_path / name / f"{number}.jpg").write_bytes(encoded(np.zeros((8, 8, 3), np.uint8)))
    assert load(tmp_path).num_classes == 3


def pixels_of(tmp_path, picture, **options):
    """What becomes of a picture, through a file of its format."""
    for label in "ab":
        (tmp_path / label).mkdir(exist_ok=True)
        picture.save(tmp_path / label / f"0.{options.get('format', 'png').lower()}", **options)
    data = load(tmp_path, image_size=28, validation_fraction=0.5)
    return data.validation_batches(1)[0][0][0].astype(int)  # the middle 7/8 of 32 pixels


def test_sixteen_bits_are_scaled_down(tmp_path):
    """A ramp from 0 to 65,535 becomes one from 0 to 255."""
    ramp = np.broadcast_to(np.linspace(0, 65_535, 32).astype(np.uint16), (32, 32))
    found = pixels_of(tmp_path, Image.fromarray(ramp))
    np.testing.assert_allclose(found[14, :, 1], np.linspace(0, 255, 32)[2:-2], atol=2)


def test_what_is_transparent_is_white(tmp_path):
    red = np.zeros((32, 32, 4), np.uint8)
    red[..., 0], red[:, :16, 3] = 255, 255
    found = pixels_of(tmp_path, Image.fromarray(red))
    assert found[14, 5].tolist() == [255, 0, 0]
    assert found[14, 22].tolist() == [255, 255, 255]


def test_pixels_of_no_known_range_are_refused(tmp_path):
    with pytest.raises(BadImageError, match=r"0\.tiff cannot be decoded: its pixels are floating-point numbers"):
        pixels_of(tmp_path, Image.fromarray(np.ones((32, 32), np.float32)), format="TIFF")


def test_a_picture_of_too_many_pixels_is_not_decoded(folder):
    """A PNG header that asks for 60,000 × 60,000 pixels in a hundred bytes."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path = folder / "class_0" / "0.jpg"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 4) + b"IDAT" + bytes(8))
    data = load(folder)
    with pytest.raises(BadImageError, match=r"0\.jpg cannot be read: Image size \(3600000000 pixels\) exceeds limit"):
        data.train_batch(0, 10, seed=0) and all_of(data.validation_batches(2))


# === IDX ===


def write_idx(path, array, packed):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path = path.with_name(path.name + ".gz") if packed else path
    path.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path, packed):
    images = np.arange(6 * 4 * 4).reshape(6, 4, 4)
    for stem, count in (("train", 6), ("t10k", 2)):
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte", images[:count], packed)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte", np.arange(count) % 3, packed)
    data = load_images("idx", path=str(tmp_path))
    np.testing.assert_array_equal(data.train_images[..., 0], images)
    assert data.validation_labels.tolist() == [0, 1]
    assert (data.num_classes, data.image_shape) == (3, (4, 4, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as IDX"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 4), "no IDX file of bytes in 3 axes"),
        (struct.pack(">HBB3I", 0, 8, 3, 6, 4, 4) + bytes(95), r"must hold 96 bytes after its header\. Received: 95"),
        (struct.pack(">HBB3I", 0, 8, 3, 6, 4, 4) + bytes(97), r"must hold 96 bytes after its header\. Received: 97"),
    ],
)
def test_damaged_idx_files(tmp_path, content, message):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_images("idx", path=str(tmp_path))


def test_a_missing_idx_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds neither train-images-idx3-ubyte nor train-images-idx3-ubyte\.gz"):
        load_images("idx", path=str(tmp_path))


# === Arrays ===


def test_arrays_are_resized_and_cut_like_files():
    data = load_images("mnist_5k", image_size=14)
    images, _ = data.train_batch(0, 8, seed=0)
    assert images.shape == (8, 14, 14, 1)
    whole, _ = load_images("mnist_5k").train_batch(0, 8, seed=0)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), whole.mean(axis=(1, 2, 3)), atol=3)  # nothing is cut off


def write_wide_idx(folder, count=10, height=20, width=28, stem="train"):
    """Images whose columns are numbered, so that a mirror and a cut can be told."""
    pixels = np.broadcast_to(np.arange(width, dtype=np.uint8), (count, height, width))
    labels = np.arange(count, dtype=np.uint8) % 2
    head = struct.pack(">HBB3I", 0, 8, 3, count, height, width)
    (folder / f"{stem}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + labels.tobytes())
    return str(folder)


def test_wide_arrays_keep_their_shape_when_they_are_mirrored(tmp_path):
    data = load_images("idx", path=write_wide_idx(tmp_path), augmentation=Augmentation(flip=True))
    assert data.image_shape == (20, 28, 1)
    images, _ = data.train_batch(0, 8, seed=0)
    assert images.shape == (8, 20, 28, 1)
    rows = {tuple(image[0, :, 0]) for image in images}
    assert rows == {tuple(range(28)), tuple(range(27, -1, -1))}
    assert data.validation_batches(2)[0][0].shape == (2, 20, 28, 1)


def test_wide_arrays_are_cut_to_squares_where_a_size_is_asked_for(tmp_path):
    """Of 28 columns the middle 20."""
    data = load_images("idx", path=write_wide_idx(tmp_path), image_size=20)
    for images, _ in (data.train_batch(0, 8, seed=0), data.validation_batches(2)[0]):
        assert images.shape[1:] == (20, 20, 1)
        np.testing.assert_array_equal(images[0, 0, :, 0], np.arange(4, 24))


def test_random_crops_of_wide_arrays_keep_to_their_proportions(tmp_path):
    data = load_images("idx", path=write_wide_idx(tmp_path), augmentation=Augmentation(crop_scale=0.5))
    assert data.train_batch(0, 8, seed=0)[0].shape == (8, 20, 28, 1)


def test_held_out_arrays_of_another_size(tmp_path):
    write_wide_idx(tmp_path)
    write_wide_idx(tmp_path, stem="t10k", height=18)
    with pytest.raises(ValueError, match=r"train and t10k must hold images of one size\. Received: 18×28 and 20×28"):
        load_images("idx", path=str(tmp_path))


def test_arrays_of_one_class(tmp_path):
    write_wide_idx(tmp_path, count=1)
    with pytest.raises(ValueError, match=r"must hold two classes or more\. Received: the label 0 alone"):
        load_images("idx", path=str(tmp_path))


# === tensorflow-datasets ===


@needs_tfds
def test_a_dataset_that_is_not_there_says_how_it_is_prepared(tmp_path):
    archives = tmp_path / "downloads" / "manual"
    message = (
        rf"{archives} holds no archives.* tfds build imagenet2012 .* --data_dir={tmp_path} --manual_dir={archives}$"
    )
    with pytest.raises(ValueError, match=message):
        load_images("tfds", name="imagenet2012", data_dir=str(tmp_path), image_size=32)
    with pytest.raises(ValueError, match=r"tfds:mnist is not prepared .* Prepare it by: tfds build mnist --file_for"):
        load_images("tfds", name="mnist", data_dir=str(tmp_path), image_size=32)
    with pytest.raises(ValueError, match=r"knows no dataset imagnet2012 \(did you mean imagenet2012\?\)"):
        load_images("tfds", name="imagnet2012", data_dir=str(tmp_path), image_size=32)
    # Builders that would download something, too, are not run, whatever lies in their folder.
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "archive.tar").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"imagenet2012_real --file_format=array_record --data_dir={tmp_path}$"):
        load_images("tfds", name="imagenet2012_real", data_dir=str(tmp_path), manual_dir=str(tmp_path / "manual"))


@needs_tfds
@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "text", "missing"])
def test_damaged_archives_are_named_in_one_line(tmp_path, damage):
    archives = write_archives(tmp_path / "manual")
    train, held_out = (archives / f"ILSVRC2012_img_{part}.tar" for part in ("train", "val"))
    if damage == "missing":
        held_out.unlink()
    else:
        train.write_bytes(train.read_bytes()[: train.stat().st_size // 2] if damage == "cut" else b"no archive")
    with pytest.raises(ValueError, match=rf"^tfds:imagenet2012 cannot be prepared from {archives}: .*$") as raised:
        load_images("tfds", name="imagenet2012", data_dir=str(tmp_path / "to"), manual_dir=str(archives), image_size=8)
    assert len(str(raised.value)) < 500


def store(tmp_path, tfds, features, example):
    """A dataset that somebody has prepared, in ArrayRecord files."""
    tfds.dataset_builders.store_as_tfds_dataset(
        name="mine",
        version="1.0.0",
        data_dir=str(tmp_path),
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": [(0, example)]},
        disable_shuffling=True,
        file_format="array_record",
    )


@needs_tfds
@pytest.mark.slow
def test_features_of_another_kind(tmp_path):
    import tensorflow_datasets as tfds

    features = {"image": tfds.features.Image(shape=(8, 8, 3)), "label": tfds.features.Scalar(np.int64)}
    store(tmp_path, tfds, features, {"image": np.zeros((8, 8, 3), np.uint8), "label": 1})
    with pytest.raises(ValueError, match=r"label \(ClassLabel\). Received: image \(Image\), label \(Scalar\)"):
        load_images("tfds", name="mine", data_dir=str(tmp_path), image_size=8)


@needs_tfds
@pytest.mark.slow
def test_imagenet_is_prepared_once_and_read_without_tensorflow(tmp_path):
    """The real builder, on archives in miniature; the second process reads what the first has prepared."""
    archives = write_archives(tmp_path / "manual")
    script = (
        "import sys; from rankscope.data.images import load_images; "
        f"data = load_images('tfds', name='imagenet2012', data_dir={str(tmp_path / 'tfds')!r}, "
        f"manual_dir={str(archives)!r}, image_size=32); "
        "images, labels = data.train_batch(0, 4, seed=0); "
        "print(data.num_classes, len(data.train_images), len(data.validation_images), images.shape, "
        "data.train_images.name(0), 'tensorflow' in sys.modules)"
    )
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "KERAS_BACKEND": "torch"},
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip().splitlines()[-1])
    for line in said:
        assert line.startswith("1000 32 8 (4, 32, 32, 3) tfds:imagenet2012 train[0] n")
    assert said[1].endswith("False")
