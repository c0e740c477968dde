"""AdamL2 against Adam on the penalised loss: in float64 NumPy, in Keras, and by hand."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.optimizers import AdamL2, AdamW
from tests.optimizers.adamw_reference import adamw
from tests.optimizers.small_problems import (
    FIFTY_STEPS_DECAYS,
    PATHS,
    assert_close,
    assert_golden_steps,
    fifty_steps,
    make_data,
    make_model,
    make_variable,
    make_variables,
    random_gradients,
    run,
    values,
)

BACKEND = keras.backend.backend()
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "adam_l2.json"
NONE = [0.0] * len(PATHS)


# === The update rule ===


@pytest.mark.parametrize(("scheduled", "clip"), [(False, None), (True, 1.0)])
def test_fifty_steps_equal_the_reference(scheduled, clip):
    initial, gradients, rates, history = fifty_steps(AdamL2, scheduled, clip)
    expected = adamw(initial, gradients, rates, NONE, clip=clip, l2=FIFTY_STEPS_DECAYS)
    assert_close(history[0], expected[0], 1e-6)
    assert_close(history[49], expected[49], 1e-4)


@pytest.mark.golden
def test_five_golden_steps():
    assert_golden_steps(AdamL2, GOLDEN)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has float64 only in a process that asked for it")
def test_float64_variables_are_penalised_in_float64():
    variable = make_variable("dense/kernel", [[0.3, -0.7]], dtype="float64")
    gradients = [[np.array([[0.1, 0.2]]) * step] for step in (1, -2, 3)]
    history = run(AdamL2(0.125, 0.3, epsilon=1e-3), [variable], gradients)
    expected = adamw([[[0.3, -0.7]]], gradients, [0.125] * 3, [0.0], epsilon=1e-3, l2=[0.3])
    assert_close(history[2], expected[2], 1e-14)


def test_the_clip_acts_on_the_penalised_gradient():
    """∇L = (1, 4) with λW = (1 · 2, 0) is (3, 4), which clipped to 1 is (.6, .8) for both moments."""
    a, b = make_variable("a/kernel", [[2.0]]), make_variable("b/kernel", [[5.0]])
    optimizer = AdamL2(0.5, 1.0, decay_groups={"^b/": 0.0}, epsilon=1.0, global_clipnorm=1.0)
    ((after_a, after_b),) = run(optimizer, [a, b], [[[[1.0]], [[4.0]]]])
    np.testing.assert_allclose([after_a, after_b], [[[2 - 0.5 * 0.6 / 1.6]], [[5 - 0.5 * 0.8 / 1.8]]], rtol=1e-6)


def test_accumulated_gradients_are_penalised_once():
    variables = make_variables()
    initial, gradients = values(variables), random_gradients(variables, 6)
    means = [[(a + b + c) / 3 for a, b, c in zip(*gradients[i : i + 3], strict=True)] for i in (0, 3)]
    settings = {"attention_weight_decay": 0.5, "decay_one_dimensional": True, "global_clipnorm": 1.0}
    optimizer = AdamL2(0.0625, 0.5, gradient_accumulation_steps=3, **settings)
    history = run(optimizer, variables, gradients)
    expected = adamw(initial, means, [0.0625] * 2, NONE, clip=1.0, l2=[0.5] * len(PATHS))
    assert_close(history[1], initial, 0)
    assert_close(history[2], expected[0], 1e-6)
    assert_close(history[5], expected[1], 1e-6)
    assert float(optimizer.cumulative_learning_rate) == 0.125


def test_a_scaled_loss_keeps_its_penalty():
    plain, scaled = make_variables(), make_variables()
    gradients = random_gradients(plain, 3)
    expected = run(AdamL2(0.0625, 0.5), plain, gradients)[-1]
    found = run(AdamL2(0.0625, 0.5, loss_scale_factor=8.0), scaled, [[8 * g for g in step] for step in gradients])[-1]
    assert_close(found, expected, 0)


# === Who is penalised ===


def test_without_decay_it_is_adamw_without_decay_bit_by_bit():
    l2, decoupled = make_variables(), make_variables()
    gradients = random_gradients(l2, 5)
    found = run(AdamL2(0.0625, 0.0, global_clipnorm=1.0), l2, gradients)[-1]
    expected = run(AdamW(0.0625, 0.0, global_clipnorm=1.0), decoupled, gradients)[-1]
    assert_close(found, expected, 0)


def test_excluded_variables_move_as_without_any_decay():
    penalised, free = make_variables(), make_variables()
    gradients = random_gradients(penalised, 5)
    optimizer = AdamL2(0.0625, 0.5)
    optimizer.exclude_from_weight_decay(var_names=["query", "value"])
    optimizer.exclude_from_weight_decay(var_list=[penalised[-1]])
    found = run(optimizer, penalised, gradients)[-1]
    expected = run(AdamW(0.0625, 0.0), free, gradients)[-1]
    moved = [path for path, a, b in zip(PATHS, found, expected, strict=True) if not np.array_equal(a, b)]
    assert moved == ["attention/key/kernel", "attention/output/kernel"]


def test_a_variable_without_gradient_is_left_alone():
    variables = make_variables()
    optimizer = AdamL2(0.0625, 0.5, epsilon=1.0)
    before = values(variables)
    with warnings.catch_warnings(action="ignore"):
        optimizer.apply([None] + [ops.zeros(v.shape) for v in variables[1:]], variables)
    after = values(variables)
    np.testing.assert_array_equal(after[0], before[0])
    penalty = 0.5 * before[2]
    np.testing.assert_allclose(after[2], before[2] - 0.0625 * penalty / (abs(penalty) + 1), rtol=1e-6)


# === Where it rests ===


def rest(optimizer):
    """Where ½(w − 1)² and the optimizer's decay leave w."""
    variable = make_variable("dense/kernel", [[0.0]])
    history = run(optimizer, [variable], ([values([variable])[0] - 1] for _ in range(150)))
    return history[-1][0].item()


@pytest.mark.parametrize("decay", [0.25, 1.0])
def test_a_penalised_quadratic_rests_at_its_minimum(decay):
    """w − 1 + λw = 0, whatever ε."""
    for epsilon in (0.25, 1.0):
        optimizer = AdamL2(0.125, decay, beta_1=0.5, beta_2=0.5, epsilon=epsilon)
        assert rest(optimizer) == pytest.approx(1 / (1 + decay), rel=1e-6)


def test_adamw_rests_near_l2_of_strength_epsilon_lambda():
    """Figure 2's λε, not section 3.5's ελ/2: (1 − w)/w is ελ here and ελ/(1 − λw) under AdamW."""
    settings = {"learning_rate": 0.0625, "beta_1": 0.5, "beta_2": 0.5, "epsilon": 0.125}
    decoupled = rest(AdamW(weight_decay=0.125, **settings))
    penalised = rest(AdamL2(weight_decay=0.125 * 0.125, **settings))
    assert (1 - decoupled) / decoupled == pytest.approx(0.125 * 0.125 / (1 - 0.125 * decoupled), rel=1e-4)
    assert (1 - penalised) / penalised == pytest.approx(0.125 * 0.125, rel=1e-4)


# === In a model ===


@pytest.mark.parametrize("accumulation", [None, 2])
def test_compiled_fit_equals_a_fit_with_the_penalty_in_the_loss(accumulation):
    """Keras' L2(l2) adds l2 ‖W‖², so λ is twice its l2. (The steps above were eager.)"""
    x, y = make_data()
    settings = {"learning_rate": 0.0625, "epsilon": 1e-3, "global_clipnorm": 0.5}
    settings["gradient_accumulation_steps"] = accumulation

    def weights_after_fit(optimizer, regularizers):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(3, name="first"), keras.layers.Dense(1, name="second")]
        for layer, regularizer in zip(layers, regularizers, strict=True):
            layer.kernel_regularizer = regularizer
        model = keras.Sequential([keras.Input((4,)), *layers])
        model.compile(optimizer, loss="mse", jit_compile=BACKEND != "torch")
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    penalty = [keras.regularizers.L2(0.125), keras.regularizers.L2(0.25)]
    expected = weights_after_fit(AdamW(weight_decay=0.0, **settings), penalty)
    found = weights_after_fit(AdamL2(weight_decay=0.25, decay_groups={"second/k": 0.5}, **settings), [None, None])
    assert_close(found, expected, 2e-6)


def test_embedding_gradients_work_in_fit():
    """TensorFlow gives an embedding's gradient as slices; the penalty reaches the rows that no token reads, too."""
    model = keras.Sequential([keras.layers.Embedding(5, 3), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(AdamL2(0.25, 0.5, epsilon=1.0), loss="mse")
    x = np.array([[0, 1], [1, 2]] * 2)
    model.build((None, 2))
    before = ops.convert_to_numpy(model.layers[0].embeddings)
    model.fit(x, np.ones((4, 1)), batch_size=4, verbose=0)
    unread = ops.convert_to_numpy(model.layers[0].embeddings)[3:]
    penalty = 0.5 * before[3:]
    np.testing.assert_allclose(unread, before[3:] - 0.25 * penalty / (abs(penalty) + 1), rtol=1e-6)


def test_save_and_load_keep_class_groups_and_sums(tmp_path):
    x, y = make_data()
    optimizer = AdamL2(0.0625, 0.1, {"qk": 0.3, "vo": 0.2}, decay_groups={"^head/": 0.05})
    optimizer.exclude_from_weight_decay(var_names=["value_kernel"])
    model = make_model(optimizer)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert type(loaded.optimizer) is AdamL2
    assert keras.saving.get_registered_name(AdamL2) == "rankscope>AdamL2"
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.optimizer.decay_table() == model.optimizer.decay_table()
    assert loaded.optimizer.variables[0].path == "adam_l2/iteration"
    for one in (model, loaded):
        one.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert_close(loaded.get_weights(), model.get_weights(), 1e-6)
    assert float(loaded.optimizer.cumulative_learning_rate) == 0.5


def test_it_takes_and_gives_back_the_arguments_of_adamw():
    arguments = (0.5, 0.2, {"qk": 0.3}, {"a": 0.0}, True, 0.8, 0.98, 1e-3, 1.0, 2)
    config = AdamL2(*arguments).get_config()
    assert config == {**AdamW(*arguments).get_config(), "name": "adam_l2"}
    assert AdamL2.from_config(config).get_config() == config


REPLICAS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from rankscope.optimizers import AdamL2
weights = []
for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
    with tf.distribute.MirroredStrategy(devices).scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(AdamL2(0.0625, 0.5, epsilon=1e-3), loss="mse")
    model.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=4, epochs=5, verbose=0)
    weights.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
np.testing.assert_allclose(*weights, rtol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="replicas that sum their gradients are TensorFlow's")
def test_two_replicas_share_one_penalty():
    """In a process of its own: TensorFlow splits a CPU only before its first operation."""
    subprocess.run([sys.executable, "-c", REPLICAS], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


def test_a_penalty_has_no_time_constant():
    dense = keras.layers.Dense(3)
    dense.build((None, 2))
    optimizer = AdamL2(learning_rate=0.5, weight_decay=0.25)
    optimizer.build(dense.trainable_variables)
    assert [(row.decay, row.time_constant) for row in optimizer.decay_table()] == [(0.25, None), (0.0, None)]
