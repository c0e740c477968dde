"""Variables, gradients and models that are small enough to redo by hand, for the tests of both optimizers."""

import contextlib
import json

import keras
import numpy as np
from keras import ops

PATHS = {  # path → role and shape
    "attention/query/kernel": ("query", (2, 2, 2)),
    "attention/query/bias": (None, (2, 2)),
    "attention/key/kernel": ("key", (2, 2, 2)),
    "attention/value/kernel": ("value", (2, 2, 2)),
    "attention/output/kernel": ("output", (2, 2, 2)),
    "norm/gamma": (None, (2,)),
    "mlp/kernel": (None, (2, 2)),
}


def make_variable(path, value, role=None, dtype="float32"):
    *scopes, name = path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        variable = keras.Variable(np.asarray(value), dtype=dtype, name=name)
    assert variable.path == path
    variable.factor_role = role
    return variable


def make_variables(seed=0):
    rng = np.random.default_rng(seed)
    return [make_variable(path, rng.normal(size=shape), role) for path, (role, shape) in PATHS.items()]


def values(variables):
    return [ops.convert_to_numpy(variable) for variable in variables]


def run(optimizer, variables, gradients):
    """Apply the gradients of each step; the variables' values after each."""
    history = []
    for step in gradients:
        optimizer.apply(
            [ops.convert_to_tensor(g, dtype=v.dtype) for g, v in zip(step, variables, strict=True)], variables
        )
        history.append(values(variables))
    return history


def random_gradients(variables, steps, seed=1):
    rng = np.random.default_rng(seed)
    return [[rng.normal(size=tuple(v.shape)).astype("float32") for v in variables] for _ in range(steps)]


def assert_close(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def rates_of(schedule, steps):
    return [float(ops.convert_to_numpy(schedule(step))) for step in range(steps)]


def fifty_steps(kind, scheduled, clip):
    """Fifty graded steps of an optimizer: initial values, gradients, learning rates, and values after each step."""
    variables = make_variables()
    initial, gradients = values(variables), random_gradients(variables, 50)
    rate, rates = 0.03125, [0.03125] * 50
    if scheduled:
        rate = keras.optimizers.schedules.InverseTimeDecay(0.05, 10, 0.5)
        rates = rates_of(rate, 50)
    groups = {"attention_weight_decay": {"qk": 1.0, "vo": 0.0}, "decay_groups": {"mlp": 0.5, "norm": 0.25}}
    return initial, gradients, rates, run(kind(rate, 0.125, global_clipnorm=clip, **groups), variables, gradients)


FIFTY_STEPS_DECAYS = [1.0, 0.0, 1.0, 0.0, 0.0, 0.25, 0.5]  # of PATHS, by the groups above


def assert_golden_steps(kind, path):
    """Five steps against a committed float64 reference: decays, values after each step, Σ η."""
    golden = json.loads(path.read_text())
    records = golden["variables"]
    variables = [make_variable(record["path"], record["initial"], record["role"]) for record in records]
    rates = golden["learning_rates"]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(list(range(len(rates) - 1)), rates)
    optimizer = kind(schedule, **golden["settings"])
    history = run(optimizer, variables, zip(*(record["gradients"] for record in records), strict=True))
    assert [row.decay for row in optimizer.decay_table()] == [record["decay"] for record in records]
    for step, found in enumerate(history):
        assert_close(found, [record["after"][step] for record in records], 1e-6)
    assert float(optimizer.cumulative_learning_rate) == sum(rates)


@keras.saving.register_keras_serializable(package="rankscope_tests")
class Heads(keras.layers.Layer):
    """Two products of tagged kernels: enough of an attention layer for an optimizer."""

    def build(self, input_shape):
        width = input_shape[-1]
        for name in ("query", "key", "value", "output"):
            shape = (2, 3, width) if name == "output" else (width, 2, 3)
            kernel = self.add_weight(shape=shape, name=f"{name}_kernel", initializer="glorot_uniform")
            kernel.factor_role = name
            setattr(self, f"{name}_kernel", kernel)
        self.bias = self.add_weight(shape=(2, 3), name="bias", initializer="ones")

    def call(self, x):
        q = ops.einsum("bd,dhk->bhk", x, self.query_kernel) + self.bias
        scores = q * ops.einsum("bd,dhk->bhk", x, self.key_kernel)
        return ops.einsum("bhk,hkd->bd", scores * ops.einsum("bd,dhk->bhk", x, self.value_kernel), self.output_kernel)


def make_model(optimizer, seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,), name="x")
    outputs = keras.layers.Dense(1, name="head")(Heads(name="heads")(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer, loss="mse")
    return model


def make_data(samples=32, width=4):
    rng = np.random.default_rng(3)
    return rng.normal(size=(samples, width)).astype("float32"), rng.normal(size=(samples, 1)).astype("float32")
