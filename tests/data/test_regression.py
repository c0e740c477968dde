"""The whitened regression problem: its covariances, and when it counts as learned."""

import numpy as np
import pytest

from data.regression import WhitenedRegression

DATA = WhitenedRegression((0.5, 1.0, 2.0))


def test_inputs_are_white_and_targets_have_the_given_singular_values():
    x, y = DATA.train_batch(0)
    assert (x.dtype, y.dtype) == ("float32", "float32")
    np.testing.assert_array_equal(x.T @ x, np.eye(3))  # Σ_XX
    np.testing.assert_array_equal(np.linalg.svd(y.T @ x, compute_uv=False), [2, 1, 0.5])  # Σ_YX


def test_every_batch_is_the_full_batch():
    batches = DATA.train_batches(batch_size=1, seed=3, first_step=2, last_step=6)
    assert len(batches) == 4
    for index in range(4):
        for one, other in zip(batches[index], DATA.train_batch(0), strict=True):
            np.testing.assert_array_equal(one, other)


def test_validation_is_the_full_batch_once():
    batches = DATA.validation_batches(batch_size=1)
    assert len(batches) == 1
    np.testing.assert_array_equal(batches[0][1], np.diag([0.5, 1, 2]))


@pytest.mark.parametrize(("loss", "learned"), [(2.624, True), (2.625, False), (3.0, False), (float("nan"), False)])
def test_learned_is_better_than_a_network_of_zeros(loss, learned):
    """½(0.25 + 1 + 4) = 2.625."""
    assert DATA.learned({"val_loss": loss}) is learned


def test_the_origin_names_the_singular_values():
    assert DATA.origin == "diagonal: whitened inputs, target singular values 0.5, 1, 2"
