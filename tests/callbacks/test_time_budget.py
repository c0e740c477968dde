"""A training ends when its time is spent."""

import keras
import numpy as np
import pytest

from rankscope.callbacks import StepCallback, TimeBudget


class Steps(StepCallback):
    def __init__(self):
        super().__init__(every=4)
        self.seen = []

    def at_step(self, step):
        self.seen.append((step, self.at_end))


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def fit(model, *callbacks):
    model.fit(np.ones((10, 1)), np.ones((10, 1)), batch_size=1, verbose=0, callbacks=list(callbacks))


def test_the_step_that_is_begun_is_the_last_and_is_read(model):
    """A clock of one second a step: before the step with five done it says 5, and that step is still done."""
    clock = iter(range(100))
    steps, budget = Steps(), TimeBudget(5, spent=lambda: next(clock))
    fit(model, steps, budget)
    assert budget.is_spent
    assert steps.seen == [(0, False), (4, False), (6, True)]
    assert int(model.optimizer.iterations.value) == 6


def test_enough_time_changes_nothing(model):
    steps, budget = Steps(), TimeBudget(1000, spent=lambda: 0.0)
    fit(model, steps, budget)
    assert not budget.is_spent
    assert steps.seen == [(0, False), (4, False), (8, False), (10, True)]


def test_a_training_of_two_calls_of_fit_has_one_end(model):
    steps = Steps()
    steps.goes_on = True
    fit(model, steps)
    steps.goes_on = False
    fit(model, steps)
    assert steps.seen == [(0, False), (4, False), (8, False), (12, False), (16, False), (20, True)]


def test_a_budget_that_is_spent_within_the_first_call_ends_the_training(model):
    steps = Steps()
    steps.goes_on = True
    fit(model, steps, TimeBudget(0.5, spent=lambda: 1.0))
    assert steps.seen == [(0, False), (1, True)]


def test_no_step_is_left_half_done():
    """Of steps of two batches, a second a batch: the budget is spent within the third, which is ended and is the last.

    The clock is asked before the last batch of each step only.
    """
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(gradient_accumulation_steps=2), "mse")
    clock = iter([1.0, 3.0, 5.0])
    steps, budget = Steps(), TimeBudget(4.5, spent=lambda: next(clock))
    fit(model, steps, budget)
    assert budget.is_spent
    assert steps.seen == [(0, False), (3, True)]
    assert int(model.optimizer._iterations.value) == 6  # in batches
