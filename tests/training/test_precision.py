"""Float64 is float64: gradients, penalties, steps, metrics; and goes away again. Notices when Keras changes."""

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.optimizers import AdamL2, AdamW
from rankscope.training.precision import float64
from rankscope.training.trajectory import train_replicas
from rankscope.zoo import HalfSquaredError, HalfSquaredNorm
from rankscope.zoo.layers import FactorChain

THIRD = np.array([[1 / 3, 0.1], [0.7, 1 / 7]])
OPERATIONS = {
    "matmul": lambda x: (ops.matmul(x, x), x @ x),
    "einsum": lambda x: (ops.einsum("ij,jk->ik", x, x), x @ x),
    "mean": lambda x: (ops.mean(x), x.mean()),
    "var": lambda x: (ops.var(x), x.var()),
    "sum": lambda x: (ops.sum(x), x.sum()),
    "add a Python float": lambda x: (ops.add(x, 0.3), x + 0.3),
    "multiply by a Python float": lambda x: (ops.multiply(x, 0.3), x * 0.3),
    "divide": lambda x: (ops.divide(x, 3.0), x / 3.0),
    "exp": lambda x: (ops.exp(x), np.exp(x)),
    "log": lambda x: (ops.log(x), np.log(x)),
    "log1p": lambda x: (ops.log1p(x), np.log1p(x)),
    "tanh": lambda x: (ops.tanh(x), np.tanh(x)),
    "sqrt": lambda x: (ops.sqrt(x), np.sqrt(x)),
    "square": lambda x: (ops.square(x), x * x),
    "maximum": lambda x: (ops.maximum(x, 0.2), np.maximum(x, 0.2)),
    "where": lambda x: (ops.where(x > 0.2, x, 0.2), np.where(x > 0.2, x, 0.2)),
    "softmax": lambda x: (ops.softmax(x), np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "mean_squared_error": lambda x: (keras.losses.mean_squared_error(x, x * x), np.square(x - x * x).mean(-1)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_falls_to_float32(name):
    with float64():
        measured, expected = OPERATIONS[name](THIRD)
        assert keras.backend.standardize_dtype(measured.dtype) == "float64"
        np.testing.assert_allclose(ops.convert_to_numpy(measured), expected, rtol=1e-15)


def test_a_step_of_descent_is_exact():
    """0.1 and 0.3 are not exact in binary: a float32 anywhere would show as 1e-9."""
    penalties = [0.3, 0.7]
    target = np.diag([0.2, 0.9, 0.4])
    with float64():
        inputs = keras.Input((3,))
        model = keras.Model(inputs, FactorChain([2, 3], 0.3, [0, 1], HalfSquaredNorm(penalties))(inputs))
        batch = (np.eye(3), np.stack([target, target], axis=1))
        path = train_replicas(model, keras.optimizers.SGD(0.1), HalfSquaredError(), batch, steps=1, every=1)
    b, a = path.weights.values()
    A, B = a.swapaxes(-1, -2), b
    for replica, l2 in enumerate(penalties):
        (a0, a1), (b0, b1) = A[:, replica], B[:, replica]
        residual = a0 @ b0.T - target
        np.testing.assert_allclose(a1, a0 - 0.1 * (residual @ b0 + l2 * a0), rtol=0, atol=2e-16)
        np.testing.assert_allclose(b1, b0 - 0.1 * (residual.T @ a0 + l2 * b0), rtol=0, atol=2e-16)


@pytest.mark.parametrize(("kind", "l2"), [(AdamW, 0.0), (AdamL2, 0.3)])
def test_a_step_of_our_optimizers_is_exact(kind, l2):
    """The first step of Adam: g/(|g| + ε), with λw in the gradient for AdamL2 and beside it for AdamW."""
    with float64():
        inputs = keras.Input((1,))
        model = keras.Model(inputs, FactorChain([1], 0.3, [0, 1])(inputs))
        batch = (np.ones((1, 1)), np.full((1, 2, 1), 0.7))
        path = train_replicas(model, kind(0.1, weight_decay=0.3, epsilon=0.05), HalfSquaredError(), batch, 1, 1)
    before, after = path.weights.popitem()[1]
    gradient = before - 0.7 + l2 * before
    update = gradient / (np.abs(gradient) + 0.05) + (0.3 - l2) * before
    np.testing.assert_allclose(after, before - 0.1 * update, rtol=0, atol=4e-16)


def test_layers_made_before_and_after_are_float32():
    """Keras keeps the policy of the first layer that a process makes."""
    kinds = []
    for _ in range(2):
        kinds.append(keras.layers.Dense(1).dtype)
        with float64():
            kinds.append(keras.layers.Dense(1).dtype)
    assert kinds == ["float32", "float64"] * 2
    assert keras.config.floatx() == "float32"
    assert keras.backend.standardize_dtype(ops.zeros((1,)).dtype) == "float32"
