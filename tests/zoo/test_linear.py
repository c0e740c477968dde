"""Linear networks: f(x) = A Bᵀ x of section 3.4 and deeper, the loss, and steps of gradient descent by hand."""

from functools import reduce

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.zoo import HalfSquaredError, LinearNetwork, factor_pairs


def factors(model):
    (pair,) = factor_pairs(model)
    a, b = pair.per_head()
    return a[0], b[0]


def kernels(model):
    return [ops.convert_to_numpy(variable.value).astype("float64") for variable in model.weights]


def test_it_is_a_b_transposed_x():
    model = LinearNetwork(4, 5, key_dim=3, seed=1)
    a, b = factors(model)
    assert (a.shape, b.shape) == ((5, 3), (4, 3))
    x = np.random.default_rng(0).normal(size=(4, 7)).astype("float32")  # samples are columns, as in the paper
    np.testing.assert_allclose(ops.convert_to_numpy(model(x.T)), (a @ b.T @ x).T, rtol=1e-5, atol=1e-6)


def test_it_has_no_other_weights():
    assert LinearNetwork(4, 5, key_dim=3).count_params() == (4 + 5) * 3


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_a_deep_one_is_a_product_of_depth_matrices(depth):
    model = LinearNetwork(4, 6, key_dim=3, depth=depth, seed=1)
    first, *inner, last = kernels(model)
    assert (first.shape, last.shape) == ((4, 3), (3, 6))
    assert [kernel.shape for kernel in inner] == [(3, 3)] * (depth - 2)
    x = np.random.default_rng(0).normal(size=(7, 4))
    expected = reduce(np.matmul, [first, *inner, last], x)
    np.testing.assert_allclose(ops.convert_to_numpy(model(x.astype("float32"))), expected, rtol=1e-5, atol=1e-6)


def test_neighbours_of_a_deep_one_are_its_pairs():
    model = LinearNetwork(4, 6, key_dim=3, depth=4)
    matrices = kernels(model)
    pairs = factor_pairs(model)
    assert [(pair.pair, pair.layer, pair.heads) for pair in pairs] == [("product", layer, 1) for layer in range(3)]
    for pair in pairs:
        np.testing.assert_array_equal(pair.a[0].T, matrices[pair.layer + 1])
        np.testing.assert_array_equal(pair.b[0], matrices[pair.layer])


@pytest.mark.parametrize("depth", [1, 0, -3, 2.0, True, None])
def test_another_depth_is_refused(depth):
    with pytest.raises(ValueError, match=rf"depth is the number of matrices, an int ≥ 2\. Received: depth={depth}"):
        LinearNetwork(4, 5, depth=depth)


def test_a_config_from_before_there_was_depth_gives_the_same_model():
    model = LinearNetwork(4, 5, key_dim=3, seed=1)
    config = model.get_config()
    assert config.pop("depth") == 2
    for one, other in zip(kernels(model), kernels(LinearNetwork.from_config(config)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stddev", [0.3, 1.5])
def test_stddev_is_that_of_the_factors(stddev):
    """From 20,000 normals, to 4 standard errors of 0.5 %."""
    for factor in factors(LinearNetwork(200, 200, key_dim=100, stddev=stddev)):
        assert abs(factor.std() / stddev - 1) < 0.02


def test_half_squared_error_is_the_first_term_of_eq_11():
    model = LinearNetwork(4, 5, key_dim=3, seed=2)
    a, b = factors(model)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(rows, 6)).astype("float32") for rows in (4, 5))
    loss = HalfSquaredError()(y.T, ops.convert_to_numpy(model(x.T)))
    np.testing.assert_allclose(ops.convert_to_numpy(loss), 0.5 * np.linalg.norm(y - a @ b.T @ x) ** 2, rtol=1e-5)


def test_half_squared_error_by_hand():
    """½(1 + 4) and ½(9 + 16) of two samples; their sum is 15, their mean 7.5."""
    target, output = np.zeros((2, 2), "float32"), np.array([[1, 2], [3, 4]], "float32")
    assert float(HalfSquaredError()(target, output)) == 15
    assert float(HalfSquaredError(reduction="mean")(target, output)) == 7.5
    assert ops.convert_to_numpy(HalfSquaredError(reduction="none")(target, output)).tolist() == [2.5, 12.5]


def test_one_step_of_gradient_descent():
    """With X = I the gradients are (A Bᵀ − S) B and (A Bᵀ − S)ᵀ A: eqs. 12 and 13 without decay."""
    model = LinearNetwork(3, 3, key_dim=2, seed=3)
    a, b = factors(model)
    target = np.diag([0.5, 1.0, 2.0])
    model.compile(keras.optimizers.SGD(0.125), HalfSquaredError())
    loss = model.train_on_batch(np.eye(3, dtype="float32"), target.astype("float32"))
    residual = a @ b.T - target
    np.testing.assert_allclose(loss, 0.5 * np.sum(residual**2), rtol=1e-6)
    after_a, after_b = factors(model)
    np.testing.assert_allclose(after_a, a - 0.125 * residual @ b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after_b, b - 0.125 * residual.T @ a, rtol=1e-5, atol=1e-6)


def test_one_step_of_gradient_descent_of_a_deep_one():
    """With W = K_0 K_1 K_2 and R = W − Y at X = I, the gradients are R (K_1 K_2)ᵀ, K_0ᵀ R K_2ᵀ and (K_0 K_1)ᵀ R."""
    model = LinearNetwork(3, 4, key_dim=2, depth=3, stddev=0.7, seed=3)
    first, middle, last = kernels(model)
    target = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    residual = first @ middle @ last - target
    model.compile(keras.optimizers.SGD(0.125), HalfSquaredError())
    loss = model.train_on_batch(np.eye(3, dtype="float32"), target)
    np.testing.assert_allclose(loss, 0.5 * np.sum(residual**2), rtol=1e-6)
    gradients = residual @ (middle @ last).T, first.T @ residual @ last.T, (first @ middle).T @ residual
    for after, before, gradient in zip(kernels(model), (first, middle, last), gradients, strict=True):
        np.testing.assert_allclose(after, before - 0.125 * gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("depth", [2, 3])
def test_saving_and_loading_keeps_the_map(tmp_path, depth):
    model = LinearNetwork(4, 5, key_dim=3, depth=depth, seed=1)
    model.compile("sgd", HalfSquaredError())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.loss, HalfSquaredError)
    for one, other in zip(kernels(model), kernels(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
