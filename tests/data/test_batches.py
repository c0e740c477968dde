"""Batches by global step: a stream of permutations that is cut the same way however often it is asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.batches import StepBatches, sample_indices

SIZES = {"batch_size": st.integers(1, 20), "num_samples": st.integers(1, 30), "seed": st.integers(0, 2**31 - 1)}


def stream(steps, batch_size, num_samples, seed):
    return np.concatenate([sample_indices(step, batch_size, num_samples, seed) for step in range(steps)])


@given(**SIZES)
@settings(deadline=None)
def test_every_sample_is_seen_once_before_any_is_seen_again(batch_size, num_samples, seed):
    steps = -(-3 * num_samples // batch_size)  # three epochs and the batch over the last seam
    seen = stream(steps, batch_size, num_samples, seed)
    for epoch in range(3):
        of_epoch = seen[epoch * num_samples : (epoch + 1) * num_samples]
        assert sorted(of_epoch) == list(range(num_samples))


@given(**SIZES, step=st.integers(0, 10**6))
@settings(deadline=None)
def test_no_batch_is_short(batch_size, num_samples, seed, step):
    found = sample_indices(step, batch_size, num_samples, seed)
    assert found.shape == (batch_size,)
    np.testing.assert_array_equal(found, sample_indices(step, batch_size, num_samples, seed))


@given(**SIZES)
@settings(deadline=None)
def test_the_stream_does_not_depend_on_how_it_is_cut(batch_size, num_samples, seed):
    one_by_one = stream(3 * batch_size, 1, num_samples, seed)
    np.testing.assert_array_equal(stream(3, batch_size, num_samples, seed), one_by_one)


def test_a_batch_reaches_over_the_seam():
    """Six samples in batches of four: the second batch ends the first epoch and begins the second."""
    first, second, third = (sample_indices(step, 4, 6, seed=0) for step in range(3))
    assert set(first) | set(second[:2]) == set(range(6))
    assert set(second[2:]) | set(third) == set(range(6))


def test_epochs_and_seeds_have_their_own_order():
    orders = {tuple(sample_indices(epoch, 20, 20, seed)) for epoch in range(5) for seed in range(5)}
    assert len(orders) == 25


def test_all_orders_of_three_come_up_alike():
    """Six orders of three samples in 1,200 epochs: 200 each, standard deviation 12.9."""
    orders, counts = np.unique(
        [sample_indices(epoch, 3, 3, seed=1) for epoch in range(1200)], axis=0, return_counts=True
    )
    assert len(orders) == 6
    np.testing.assert_allclose(counts, 200, atol=52)


@pytest.mark.parametrize("first_step", [0, 3])
def test_batches_are_drawn_by_global_step(first_step):
    batches = StepBatches(lambda step: ("batch", step), first_step, last_step=5)
    assert len(batches) == 5 - first_step
    assert [batches[index] for index in range(len(batches))] == [("batch", step) for step in range(first_step, 5)]
