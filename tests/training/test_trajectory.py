"""Trajectories: which steps are read, and that each reading is a copy of that step's weights."""

import keras
import numpy as np
import pytest

from rankscope.training.trajectory import train_replicas
from rankscope.zoo import HalfSquaredError


def scalar(start=1.0):
    initializer = keras.initializers.Constant(start)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=initializer, name="weight")
    return keras.Sequential([keras.Input((1,)), dense])


def train(steps, every, rate=0.5, start=1.0):
    batch = (np.ones((1, 1), "float32"), np.zeros((1, 1), "float32"))
    return train_replicas(scalar(start), keras.optimizers.SGD(rate), HalfSquaredError(), batch, steps, every)


def test_readings_are_those_of_their_steps():
    """½w² at rate ½ halves w at every step; step 0, every third step and the last one are read."""
    path = train(steps=7, every=3)
    assert path.steps.tolist() == [0, 3, 6, 7]
    (weights,) = path.weights.values()
    assert weights.ravel().tolist() == [1, 2**-3, 2**-6, 2**-7]


def test_a_diverging_step_is_named():
    """At rate 3e20 the weight of ½w² leaves float32 within three steps."""
    with pytest.raises(FloatingPointError, match="weight/kernel is not finite any more at step 2"):
        train(steps=4, every=1, rate=3e20)
