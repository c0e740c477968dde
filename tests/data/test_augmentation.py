"""What happens to training pictures: where crops lie, what RandAugment draws, and that a batch can be made again."""

import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from rankscope.data.augmentation import OPERATIONS, Augmentation, rand_augment, random_crop_box

ARTEFACTS = Path(__file__).parents[2] / "artefacts"


def gradient(width=96, height=64):
    """Red tells the column, green the row, but for a white square."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([2 * columns, 3 * rows, np.full_like(rows, 128)], axis=-1).astype(np.uint8)
    pixels[20:30, 20:30] = 255  # an edge to sharpen
    return Image.fromarray(pixels)


def test_crops_keep_to_areas_and_ratios():
    """1,000 crops of a square: areas from 0.08 to 1 within rounding, sides from 3/4 to 4/3, everywhere in it."""
    boxes = np.array([random_crop_box((1000, 1000), 0.08, np.random.default_rng(seed)) for seed in range(1000)])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas, ratios = across * down / 1e6, across / down
    assert areas.min() == pytest.approx(0.08, abs=0.01)
    assert areas.max() > 0.95
    assert 0.745 < ratios.min() < 0.78 < 1.3 < ratios.max() < 1.34
    assert boxes.min() >= 0
    assert boxes.max() <= 1000
    assert (boxes[:, 0] + boxes[:, 2]).mean() / 2 == pytest.approx(500, abs=20)


def test_crops_keep_to_the_proportions_of_what_is_made_of_them():
    boxes = np.array([random_crop_box((1000, 1000), 0.1, np.random.default_rng(seed), 2.0) for seed in range(300)])
    ratios = (boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])
    assert 1.49 < ratios.min() < 1.6 < 2.5 < ratios.max() < 2.68


@pytest.mark.parametrize(("size", "expected"), [((1000, 10), (13.3, 10)), ((10, 1000), (10, 13.3))])
def test_a_crop_of_a_narrow_picture_lies_in_its_middle(size, expected):
    left, upper, right, lower = random_crop_box(size, 0.9, np.random.default_rng(0))
    assert (right - left, lower - upper) == pytest.approx(expected, abs=0.1)
    assert (left + right, upper + lower) == pytest.approx(size)


def test_every_operation_changes_a_picture_and_keeps_its_size():
    picture = gradient()
    sheet = [picture]
    for name, operation in OPERATIONS.items():
        changed = operation(picture, 0.9, 1)
        assert (changed.size, changed.mode) == (picture.size, "RGB"), name
        assert np.abs(np.asarray(changed, int) - np.asarray(picture, int)).max() > 20, name
        sheet.append(changed)
    ARTEFACTS.mkdir(exist_ok=True)  # for people to look at
    Image.fromarray(np.concatenate([np.asarray(one) for one in sheet], axis=1)).save(ARTEFACTS / "rand_augment.png")


def test_rotation_by_hand():
    """27° anticlockwise at strength 0.9: what was at the right edge of the middle row moves up."""
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[48:53, 88:93] = 255  # 40 to the right of the middle
    turned = np.asarray(OPERATIONS["rotate"](Image.fromarray(dot), 0.9, 1))[..., 0] > 200
    row, column = np.argwhere(turned).mean(axis=0)
    assert row == pytest.approx(50 - 40 * np.sin(np.radians(27)), abs=1)
    assert column == pytest.approx(50 + 40 * np.cos(np.radians(27)), abs=1)


def test_rand_augment_draws_by_picture():
    """Of two operations each is applied with probability a half: a quarter of the pictures stays (200 ± 6 of 24)."""
    picture = gradient()
    before = np.asarray(picture)
    same = sum(
        np.array_equal(np.asarray(rand_augment(picture, 9, np.random.default_rng(seed))), before) for seed in range(200)
    )
    assert 25 < same < 75


IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
LABELS = np.eye(8, dtype="float32")
ALL = {"random_erasing": 0.5, "mixup": 0.8, "cutmix": 1.0}


def change(augmentation, step):
    return augmentation.change_batch(IMAGES, LABELS, np.random.default_rng(step))


def test_a_batch_is_the_same_again_whatever_came_before_and_in_whichever_thread():
    expected = [change(Augmentation(**ALL), step) for step in range(6)]
    augmentation, found = Augmentation(**ALL), {}
    threads = [
        threading.Thread(target=lambda step=step: found.__setitem__(step, change(augmentation, step)))
        for step in (5, 2, 0, 4, 1, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for step in range(6):
        for one, other in zip(expected[step], found[step], strict=True):
            np.testing.assert_array_equal(one, other)


def test_erasing_changes_as_many_images_as_asked_for():
    augmentation = Augmentation(random_erasing=0.25)
    changed = 0
    for step in range(25):
        images, labels = change(augmentation, step)
        assert labels is LABELS
        differs = images != IMAGES
        changed += differs.any(axis=(1, 2, 3)).sum()
        # A rectangle of all channels: what differs in an image is as much as its bounding box, but for chance.
        for pixels in differs.any(axis=3):
            if pixels.any():
                rows, columns = pixels.any(axis=1), pixels.any(axis=0)
                assert pixels.sum() >= 0.95 * np.ptp(np.flatnonzero(rows)) * np.ptp(np.flatnonzero(columns))
    assert 30 < changed < 70  # of 200; 50 expected, a deviation of 6


def test_what_is_erased_is_drawn_as_announced():
    """Rectangles of 256 grey pictures: each side squared is uniform from 0.02 to 0.33 of the picture's, its place is
    uniform over where it fits, and it is filled with noise of deviation 255, cut off at black and white.

    So the mean area is that of (2/3 · (0.33^1.5 − 0.02^1.5) / 0.31)² = 0.161 of a picture.
    """
    size, grey = 128, 100
    images, rng = np.full((256, size, size, 1), grey, np.uint8), np.random.default_rng(0)
    found, _ = Augmentation(random_erasing=1.0).change_batch(images, LABELS, rng)
    sides, places = [], []
    for axis in (1, 2):
        erased = (found != grey).any(axis=(3 - axis, 3))
        count = erased.sum(axis=1)
        sides.append(count / size)
        places.append(erased.argmax(axis=1) / (size - count))
        assert stats.kstest(sides[-1] ** 2, stats.uniform(0.02, 0.31).cdf).pvalue > 0.05
        assert stats.kstest(places[-1], stats.uniform(0, 1).cdf).pvalue > 0.05
    assert (sides[0] * sides[1]).mean() == pytest.approx(0.161, abs=0.015)  # three deviations of 0.005
    for one, other in ((sides[0], sides[1]), (places[0], places[1]), (sides[0], places[0])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.2  # three deviations of 1/√256
    noise = found[found != grey]
    # Normal: a half below 0, and 0.159 above one deviation.
    assert np.mean(noise == 0) == pytest.approx(stats.norm.cdf(0.5 / 255), abs=0.01)
    assert np.mean(noise == 255) == pytest.approx(stats.norm.sf(254.5 / 255), abs=0.01)


@pytest.mark.parametrize(("kind", "alpha"), [("mixup", 0.2), ("mixup", 2.0), ("cutmix", 0.5), ("cutmix", 2.0)])
def test_weights_of_mixtures_follow_their_beta_distribution(kind, alpha):
    """Label k of picture k is what is left of the picture, or 1 where a picture met itself: once a batch on average."""
    images = np.zeros((8, 128, 128, 1), np.uint8)
    weights = []
    for step in range(50):
        _, labels = Augmentation(**{kind: alpha}).change_batch(images, LABELS, np.random.default_rng(step))
        own = labels.diagonal()
        weights.append(own[own < 1])
        assert len(set(weights[-1])) > 1  # each picture has a weight of its own
    weights = np.concatenate(weights)
    # CutMix has whole pixels, and none of the thinnest rectangles: what lies between is compared.
    low, high = (0.03, 0.97) if kind == "cutmix" else (0, 1)
    law = stats.beta(alpha, alpha)
    kept = weights[(low < weights) & (weights < high)]
    assert stats.kstest(law.cdf(kept), stats.uniform(law.cdf(low), law.cdf(high) - law.cdf(low)).cdf).pvalue > 0.05


def test_a_batch_does_not_depend_on_what_the_backend_draws_meanwhile():
    """Of Keras' generators some are the process' own, and are taken by whoever draws: `fit` does while threads draw."""
    expected = [change(Augmentation(**ALL), step) for step in range(6)]
    found = []
    thread = threading.Thread(target=lambda: found.extend(change(Augmentation(**ALL), step % 6) for step in range(60)))
    thread.start()
    while thread.is_alive():
        keras.random.beta((1,), 1.0, 1.0, seed=0)
    for step, batch in enumerate(found):
        for one, other in zip(expected[step % 6], batch, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(found) == 60


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_labels_say_what_images_hold(kind):
    """Image k is all black but for image 0, which is white: the part of white is the weight of label 0."""
    images = np.zeros((8, 16, 16, 3), np.uint8)
    images[0] = 255
    weights = []
    for step in range(20):
        found, labels = Augmentation(**{kind: 1.0}).change_batch(images, LABELS, np.random.default_rng(step))
        assert found.dtype == np.uint8
        np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(found.mean(axis=(1, 2, 3)) / 255, labels[:, 0], atol=1 / 255)
        weights.append(labels[0, 0])
    # What is left of image 0 is drawn uniformly, but for the one batch in eight that gives it to itself: 1.
    assert np.mean(weights) == pytest.approx(1 / 2 * 7 / 8 + 1 / 8, abs=0.2)  # a deviation of 0.07
    assert min(weights) < 0.25


def test_with_both_mixtures_half_of_the_batches_have_each():
    """A mixed image of white and black is grey somewhere only by mixup."""
    images = np.zeros((8, 16, 16, 3), np.uint8)
    images[::2] = 255
    augmentation = Augmentation(mixup=1.0, cutmix=1.0)
    grey = 0
    for step in range(40):
        found, _ = augmentation.change_batch(images, LABELS, np.random.default_rng(step))
        grey += bool(((found > 5) & (found < 250)).any())
    assert 10 < grey < 30
