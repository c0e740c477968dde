"""Batches by global step: a stream of permutations that is cut the same way however often it is asked."""

import threading
from contextlib import closing

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.data.batches import StepBatches, sample_indices

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


def test_threads_draw_ahead_and_change_no_order():
    """Four threads, each waiting for the others: four batches are drawn at once, and handed out in order."""
    four, together = threading.Barrier(4), []

    def draw(step):
        if step < 8:
            together.append(four.wait(timeout=30))
        return (step,)

    with closing(StepBatches(draw, 0, 20, workers=4)) as batches:
        assert [batches[index] for index in range(20)] == [(step,) for step in range(20)]
    assert sorted(together) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_batch_that_is_asked_for_again_is_drawn_again_and_the_next_are_kept():
    """Keras takes the first batch to build a model's metrics by, and then begins anew."""
    drawn = []
    with closing(StepBatches(lambda step: drawn.append(step) or (step,), 0, 6, workers=1)) as batches:
        assert batches[0] == (0,)
        assert [batches[index] for index in range(6)] == [(step,) for step in range(6)]
    assert sorted(drawn) == [0, 0, 1, 2, 3, 4, 5]


def test_an_error_is_raised_where_its_batch_is_asked_for():
    def draw(step):
        if step == 3:
            raise ValueError("the fourth")
        return (step,)

    with closing(StepBatches(draw, 0, 6, workers=2)) as batches:
        assert [batches[index] for index in range(3)] == [(0,), (1,), (2,)]
        with pytest.raises(ValueError, match="the fourth"):
            batches[3]
        assert batches[4] == (4,)


def test_keras_sees_the_batches_in_order_whatever_the_threads():
    """w ← (w + step)/2 keeps half of each step before: 12 steps from 0 end at Σ step · 2^(step − 12)."""

    def draw(step):
        return np.ones((1, 1), "float32"), np.full((1, 1), step, "float32")

    expected = sum(step * 2.0 ** (step - 12) for step in range(12))
    for workers in (0, 4):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
        model.compile(keras.optimizers.SGD(0.25), "mse", metrics=["mse"])
        with closing(StepBatches(draw, 0, 12, workers)) as batches:
            model.fit(batches, shuffle=False, verbose=0)
        assert float(model.get_weights()[0][0, 0]) == pytest.approx(expected, rel=1e-6)
