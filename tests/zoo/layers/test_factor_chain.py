"""Replicas: many chains side by side, each as if it were alone."""

import keras
import numpy as np
from keras import ops

from rankscope.zoo import HalfSquaredError, HalfSquaredNorm, factor_pairs
from rankscope.zoo.layers import FactorChain

SEEDS = [3, 5]


def model_of(seed, penalty):
    inputs = keras.Input((4,))
    return keras.Model(inputs, FactorChain([2, 3], seed=seed, kernel_regularizer=HalfSquaredNorm(penalty))(inputs))


def test_a_replica_starts_as_the_single_chain_of_its_seed():
    together = factor_pairs(model_of(SEEDS, [0.0, 0.0]))[0]
    for replica, seed in enumerate(SEEDS):
        alone = factor_pairs(model_of(seed, 0.0))[0]
        np.testing.assert_array_equal(together.a[replica], alone.a[0])
        np.testing.assert_array_equal(together.b[replica], alone.b[0])


def test_replicas_train_as_if_each_were_alone():
    """Ten steps of gradient descent with a penalty each; the sum of losses has no gradient across replicas."""
    x, y = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    y = y[:, :3]

    def train(seed, penalty, targets):
        model = model_of(seed, penalty)
        model.compile(keras.optimizers.SGD(0.01), HalfSquaredError())
        for _ in range(10):
            model.train_on_batch(x, targets)
        return factor_pairs(model)[0]

    together = train(SEEDS, [0.5, 2.0], np.stack([y, y], axis=1))
    for replica, (seed, penalty) in enumerate(zip(SEEDS, [0.5, 2.0], strict=True)):
        alone = train(seed, penalty, y)
        np.testing.assert_allclose(together.a[replica], alone.a[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(together.b[replica], alone.b[0], rtol=1e-5, atol=1e-6)


def test_shapes_are_known_before_the_call():
    chain = FactorChain([2, 3], seed=SEEDS)
    assert chain.compute_output_shape((7, 4)) == (7, 2, 3)
    assert tuple(chain(ops.ones((7, 4))).shape) == (7, 2, 3)
