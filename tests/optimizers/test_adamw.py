"""AdamW against the paper's section 3.5 in float64, its decay groups, and its way through fit, save and load."""

import doctest
import json
import math
import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.optimizers import AdamW
from rankscope.optimizers import adamw as adamw_module
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
    rates_of,
    run,
    values,
)

BACKEND = keras.backend.backend()
GOLDEN = Path(__file__).parents[1] / "golden" / "adamw.json"


def test_docstrings_run():
    result = doctest.testmod(adamw_module)
    assert result.attempted > 0
    assert result.failed == 0


# === The update rule ===


@pytest.mark.parametrize(("scheduled", "clip"), [(False, None), (True, 1.0)])
def test_fifty_steps_equal_the_reference(scheduled, clip):
    initial, gradients, rates, history = fifty_steps(AdamW, scheduled, clip)
    expected = adamw(initial, gradients, rates, FIFTY_STEPS_DECAYS, clip=clip)
    assert_close(history[0], expected[0], 1e-6)
    assert_close(history[49], expected[49], 1e-4)


@pytest.mark.golden
def test_five_golden_steps():
    assert_golden_steps(AdamW, GOLDEN)


def test_one_step_by_hand():
    """At t = 1, Ĝ = g and √B̂ = |g|: W ← 2 − ½(3 / (3 + 1) + ¼ · 2) = 1.375."""
    variable = make_variable("dense/kernel", [[2.0]])
    ((after,),) = run(AdamW(0.5, 0.25, epsilon=1.0), [variable], [[[[3.0]]]])
    np.testing.assert_allclose(after, [[1.375]], rtol=1e-6)


def test_epsilon_is_added_after_bias_correction():
    """A large ε tells the conventions apart: Keras' is ours with ε/√(1 − β₂ᵗ)."""
    ours, stock = make_variables(), make_variables()
    initial, gradients = values(ours), random_gradients(ours, 3)
    settings = {"learning_rate": 0.5, "beta_2": 0.95, "epsilon": 0.5}
    without = [0.0] * len(ours)
    history = run(AdamW(weight_decay=0.0, **settings), ours, gradients)
    expected = adamw(initial, gradients, [0.5] * 3, without, epsilon=0.5)
    assert_close(history[2], expected[2], 1e-6)

    first = run(keras.optimizers.AdamW(weight_decay=0.0, **settings), stock, gradients[:1])[0]
    assert_close(first, adamw(initial, gradients[:1], [0.5], without, epsilon=0.5 / math.sqrt(1 - 0.95))[0], 1e-6)
    assert max(np.max(np.abs(one - other)) for one, other in zip(first, expected[0], strict=True)) > 0.1


def test_keras_decays_first_and_comes_out_the_same():
    ours, stock = make_variables(), make_variables()
    gradients = random_gradients(ours, 5)
    settings = {"learning_rate": 0.0625, "weight_decay": 0.5, "beta_2": 0.95, "epsilon": 1e-12}
    groups = {"attention_weight_decay": 0.5, "decay_one_dimensional": True}
    found = run(AdamW(**settings, **groups), ours, gradients)[-1]
    assert_close(found, run(keras.optimizers.AdamW(**settings), stock, gradients)[-1], 2e-6)


def test_bias_correction_is_accurate_at_a_slow_beta_2():
    """1 − 0.999 from a rounded 0.999 would be wrong by 1.3e-5. With ε = 1 and a small g the step feels B̂."""
    variable = make_variable("dense/kernel", [[0.0]])
    ((after,),) = run(AdamW(1.0, 0.0, beta_2=0.999, epsilon=1e-3), [variable], [[[[1e-3]]]])
    np.testing.assert_allclose(after, [[-0.5]], rtol=5e-7)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has float64 only in a process that asked for it")
def test_float64_variables_are_updated_in_float64():
    variable = make_variable("dense/kernel", [[0.3, -0.7]], dtype="float64")
    gradients = [[np.array([[0.1, 0.2]]) * step] for step in (1, -2, 3)]
    history = run(AdamW(0.125, 0.3, epsilon=1e-3), [variable], gradients)
    expected = adamw([[[0.3, -0.7]]], gradients, [0.125] * 3, [0.3], epsilon=1e-3)
    assert_close(history[2], expected[2], 1e-14)


def test_beta_zero_is_allowed():
    variables = make_variables()
    initial, gradients = values(variables), random_gradients(variables, 2)
    history = run(AdamW(0.125, 0.0, beta_1=0.0, beta_2=0.0), variables, gradients)
    expected = adamw(initial, gradients, [0.125] * 2, [0.0] * len(initial), beta_1=0.0, beta_2=0.0)
    assert_close(history[1], expected[1], 1e-6)


def test_one_clip_over_all_variables():
    """(3, 4) in two variables clipped to 1 is (.6, .8) for both moments; clips of each would give (1, 1)."""
    a, b = make_variable("a/kernel", [[0.0]]), make_variable("b/kernel", [[0.0]])
    optimizer = AdamW(0.5, 0.0, epsilon=1.0, global_clipnorm=1.0)
    ((after_a, after_b),) = run(optimizer, [a, b], [[[[3.0]], [[4.0]]]])
    np.testing.assert_allclose([after_a, after_b], [[[-0.5 * 0.6 / 1.6]], [[-0.5 * 0.8 / 1.8]]], rtol=1e-6)


def test_gradient_accumulation_equals_the_mean_gradient():
    accumulated, at_once = make_variables(), make_variables()
    gradients = random_gradients(accumulated, 6)
    means = [[(a + b + c) / 3 for a, b, c in zip(*gradients[i : i + 3], strict=True)] for i in (0, 3)]
    settings = {"learning_rate": 0.0625, "weight_decay": 0.25, "global_clipnorm": 1.0}
    optimizer = AdamW(**settings, gradient_accumulation_steps=3)
    history = run(optimizer, accumulated, gradients)
    expected = run(AdamW(**settings), at_once, means)
    assert_close(history[1], values(make_variables()), 0)
    assert_close(history[2], expected[0], 1e-6)
    assert_close(history[5], expected[1], 1e-6)
    assert float(optimizer.cumulative_learning_rate) == 0.125


# === Decay alone ===


def test_with_zero_gradients_each_group_shrinks_by_its_own_product():
    variables = make_variables()
    initial = values(variables)
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 0.5)
    rates = rates_of(schedule, 50)
    optimizer = AdamW(schedule, 0.1, {"qk": 1.0, "vo": 0.3}, decay_groups={"mlp": 0.01})
    after = run(optimizer, variables, [[np.zeros(v.shape) for v in variables]] * 50)[-1]
    for row, one, other in zip(optimizer.decay_table(), initial, after, strict=True):
        if row.decay == 0:
            np.testing.assert_array_equal(other, one)
        else:
            shrink = math.prod(1 - rate * row.decay for rate in rates)
            np.testing.assert_allclose(other, one.astype("float64") * shrink, rtol=1e-6)
    np.testing.assert_allclose(float(optimizer.cumulative_learning_rate), sum(rates), rtol=1e-6)


def test_without_attention_decay_attention_moves_as_without_any_decay():
    decayed, free = make_variables(), make_variables()
    gradients = random_gradients(decayed, 5)
    one = run(AdamW(0.0625, 0.5, attention_weight_decay=0.0), decayed, gradients)[-1]
    other = run(AdamW(0.0625, 0.0), free, gradients)[-1]
    for path, a, b in zip(PATHS, one, other, strict=True):
        assert np.array_equal(a, b) == (path != "mlp/kernel")


def test_all_excluded_works():
    """Keras' own AdamW raises on torch when nothing decays."""
    variables = make_variables()
    optimizer = AdamW(0.5, 0.1)
    optimizer.exclude_from_weight_decay(var_names=["."])
    optimizer.build(variables)
    assert {row.decay for row in optimizer.decay_table()} == {0.0}
    before = values(variables)
    assert_close(run(optimizer, variables, [[np.zeros(v.shape) for v in variables]])[0], before, 0)


def test_a_variable_without_gradient_is_left_alone():
    variables = make_variables()
    optimizer = AdamW(0.5, 0.5)
    gradients = [None] + [ops.zeros(v.shape) for v in variables[1:]]
    before = values(variables)
    with warnings.catch_warnings(action="ignore"):
        optimizer.apply(gradients, variables)
    after = values(variables)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_allclose(after[2], 0.75 * before[2], rtol=1e-6)


# === Settings ===


def test_config_gives_back_every_argument():
    settings = {
        "learning_rate": 0.5,
        "weight_decay": 0.2,
        "attention_weight_decay": {"qk": 0.3, "vo": 0.4},
        "decay_groups": {"b": 0.1, "a": 0.0},
        "decay_one_dimensional": True,
        "beta_1": 0.8,
        "beta_2": 0.98,
        "epsilon": 1e-3,
        "global_clipnorm": 1.0,
        "gradient_accumulation_steps": 2,
        "name": "mine",
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 2.0,
    }
    config = AdamW(**settings).get_config()
    assert {name: config[name] for name in settings} == settings
    assert set(config) - set(settings) == {"clipnorm", "clipvalue"}
    assert AdamW.from_config(config).get_config() == config
    restored = keras.optimizers.deserialize(json.loads(json.dumps(keras.optimizers.serialize(AdamW(**settings)))))
    assert type(restored) is AdamW
    assert restored.get_config() == config
    assert list(restored.decay_groups) == ["b", "a"]


def test_defaults_are_table_2s():
    config = AdamW().get_config()
    assert (config["beta_1"], config["beta_2"], config["epsilon"]) == (0.9, 0.95, 1e-8)


@pytest.mark.parametrize(
    ("settings", "received"),
    [
        ({"weight_decay": -1.0}, "-1.0"),
        ({"weight_decay": None}, "None"),
        ({"attention_weight_decay": math.nan}, "nan"),
        ({"attention_weight_decay": {"kq": 1.0}}, "'kq'"),
        ({"decay_groups": {"a": -1}}, "-1"),
        ({"decay_groups": {"(": 0.0}}, "'('"),
        ({"beta_1": 1.0}, "1.0"),
        ({"beta_2": -0.1}, "-0.1"),
        ({"epsilon": 0.0}, "0.0"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings, received):
    with pytest.raises(ValueError, match=re.escape(f"Received: {received}")):
        AdamW(**settings)


def test_decay_table_has_the_time_constants():
    variables = make_variables()
    optimizer = AdamW(0.5, 0.125, attention_weight_decay={"qk": 0.25})
    with pytest.raises(ValueError, match="build the optimizer first"):
        optimizer.decay_table()
    optimizer.build(variables)
    table = {row.path: (row.group, row.time_constant) for row in optimizer.decay_table()}
    assert table == {
        "attention/query/kernel": ("qk", 8.0),
        "attention/query/bias": ("one-dimensional", math.inf),
        "attention/key/kernel": ("qk", 8.0),
        "attention/value/kernel": ("vo", 16.0),
        "attention/output/kernel": ("vo", 16.0),
        "norm/gamma": ("one-dimensional", math.inf),
        "mlp/kernel": ("weights", 16.0),
    }
    assert optimizer.decay_table(learning_rate=0.25)[0].time_constant == 16.0
    optimizer.learning_rate = 0.25
    assert optimizer.decay_table()[0].time_constant == 16.0


@pytest.mark.parametrize(
    "schedule",
    [
        keras.optimizers.schedules.CosineDecay(0.0, 3000, warmup_target=0.5, warmup_steps=700),
        keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9),
        keras.optimizers.schedules.PiecewiseConstantDecay([10, 20], [0.25, 0.5, 0.125]),
    ],
)
def test_time_constants_of_a_schedule_are_those_of_its_peak(schedule):
    optimizer = AdamW(schedule, 0.25)
    optimizer.build([make_variable("dense/kernel", [[1.0]])])
    assert optimizer.decay_table()[0].time_constant == 8.0
    assert optimizer.decay_table(learning_rate=0.25)[0].time_constant == 16.0


# === Exclusions ===


def test_exclusions_add_up_and_search_full_paths():
    variables = make_variables()
    optimizer = AdamW(0.5, 0.25, decay_groups={"attention/value": 0.75})
    optimizer.exclude_from_weight_decay(var_names=["query"])
    optimizer.exclude_from_weight_decay(var_names="key")
    optimizer.exclude_from_weight_decay(var_list=[variables[-1]])
    optimizer.build(variables)
    assert [row.decay for row in optimizer.decay_table()] == [0.0, 0.0, 0.0, 0.75, 0.25, 0.0, 0.0]
    assert list(optimizer.decay_groups.items()) == [
        ("^mlp/kernel$", 0.0),
        ("key", 0.0),
        ("query", 0.0),
        ("attention/value", 0.75),
    ]
    before = values(variables)
    after = run(optimizer, variables, [[np.zeros(v.shape) for v in variables]])[0]
    assert_close(
        after, [b * (1 - 0.5 * row.decay) for b, row in zip(before, optimizer.decay_table(), strict=True)], 1e-6
    )


def test_an_exclusion_without_a_match_is_refused_at_build_or_at_once():
    variables = make_variables()
    optimizer = AdamW()
    optimizer.exclude_from_weight_decay(var_names=["querry"])
    with pytest.raises(ValueError, match=r"'querry'. Nearest paths: attention/query/"):
        optimizer.build(variables)
    assert not optimizer.built
    optimizer = AdamW()
    optimizer.build(variables)
    with pytest.raises(ValueError, match="'querry'"):
        optimizer.exclude_from_weight_decay(var_names=["key", "querry"])
    assert optimizer.decay_groups == {}
    assert optimizer.decay_table()[2].decay == 0.1
    optimizer.exclude_from_weight_decay(var_names=["key"])
    assert optimizer.decay_table()[2].decay == 0.0
    before = values(variables)
    after = run(optimizer, variables, [[np.zeros(v.shape) for v in variables]])[0]
    np.testing.assert_array_equal(after[2], before[2])
    assert np.all(after[0] != before[0])


# === In a model ===


def test_compiled_fit_equals_the_reference():
    """Linear regression, whose gradients NumPy can give: 2Xᵀ(XW + b − Y)/n and 2Σ(XW + b − Y)/n."""
    x, y = make_data(40)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="dense")])
    schedule = keras.optimizers.schedules.CosineDecay(0.125, 10)
    model.compile(AdamW(schedule, 0.1, decay_groups={"kernel": 0.5}, global_clipnorm=0.5), loss="mse")
    W, b = (weight.astype("float64") for weight in model.get_weights())
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)

    gradients, rates = [], rates_of(schedule, 10)
    for step in range(10):
        batch = slice(step % 5 * 8, step % 5 * 8 + 8)
        w, c = [W, b] if not gradients else adamw([W, b], gradients, rates[:step], [0.5, 0.0], clip=0.5)[-1]
        error = x[batch].astype("float64") @ w + c - y[batch]
        gradients.append([2 * x[batch].T @ error / 8, 2 * error.sum(axis=0) / 8])
    assert_close(model.get_weights(), adamw([W, b], gradients, rates, [0.5, 0.0], clip=0.5)[-1], 1e-5)
    np.testing.assert_allclose(float(model.optimizer.cumulative_learning_rate), sum(rates), rtol=1e-6)


def test_groups_decay_inside_a_compiled_step():
    """A loss without gradient leaves nothing but decay."""
    x, y = make_data()
    model = make_model(AdamW(0.5, 0.25, {"qk": 0.5, "vo": 0.0}))
    model.compile(model.optimizer, loss=lambda y_true, y_pred: 0.0 * ops.sum(y_pred))
    before = {v.path: ops.convert_to_numpy(v) for v in model.trainable_variables}
    model.fit(x, y, batch_size=8, verbose=0)  # 4 steps
    shrink = {"qk": 0.75**4, "vo": 1.0, "one-dimensional": 1.0, "weights": 0.875**4}
    for row, variable in zip(model.optimizer.decay_table(), model.trainable_variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), shrink[row.group] * before[row.path], rtol=1e-6)
    assert [row.group for row in model.optimizer.decay_table()][:5] == ["qk", "qk", "vo", "vo", "one-dimensional"]
    assert float(model.optimizer.cumulative_learning_rate) == 2.0


def test_accumulation_inside_a_compiled_step_counts_updates():
    x, y = make_data()
    model = make_model(AdamW(0.0625, gradient_accumulation_steps=2))
    model.fit(x, y, batch_size=8, verbose=0)  # 4 batches, 2 updates
    assert float(model.optimizer.cumulative_learning_rate) == 0.125
    assert int(model.optimizer.iterations) == 2


def test_embedding_gradients_and_moving_averages_work_in_fit():
    """TensorFlow gives an embedding's gradient as slices."""
    model = keras.Sequential([keras.layers.Embedding(5, 3), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(AdamW(0.25, 0.25, global_clipnorm=1.0, use_ema=True, ema_momentum=0.5), loss="mse")
    x = np.array([[0, 1], [1, 2]] * 2)
    model.build((None, 2))
    before = ops.convert_to_numpy(model.layers[0].embeddings)
    model.fit(x, np.ones((4, 1)), batch_size=4, epochs=1, verbose=0)
    after = ops.convert_to_numpy(model.layers[0].embeddings)
    np.testing.assert_allclose(after[3:], before[3:] * (1 - 0.25 * 0.25), rtol=1e-6)
    assert np.all(after[:3] != before[:3] * (1 - 0.25 * 0.25))


def test_save_and_load_keep_groups_exclusions_and_sums(tmp_path):
    x, y = make_data()
    optimizer = AdamW(0.0625, 0.1, {"qk": 0.3, "vo": 0.2}, decay_groups={"^head/": 0.05})
    optimizer.exclude_from_weight_decay(var_names=["value_kernel"])
    model = make_model(optimizer)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert type(loaded.optimizer) is AdamW
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.optimizer.decay_table() == model.optimizer.decay_table()
    decays = {row.path: row.decay for row in loaded.optimizer.decay_table()}
    assert decays == {
        "heads/query_kernel": 0.3,
        "heads/key_kernel": 0.3,
        "heads/value_kernel": 0.0,
        "heads/output_kernel": 0.2,
        "heads/bias": 0.0,
        "head/kernel": 0.05,
        "head/bias": 0.05,
    }
    assert float(loaded.optimizer.cumulative_learning_rate) == 0.25
    for one in (model, loaded):
        one.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert_close(loaded.get_weights(), model.get_weights(), 1e-6)
    assert float(loaded.optimizer.cumulative_learning_rate) == 0.5


def test_sum_of_learning_rates_stays_accurate_over_many_steps():
    """At 64, float32 has steps of 7.6e-6: a naive sum of these 200 rates would end 8e-5 off."""
    variable = make_variable("dense/kernel", [[1.0]])
    optimizer = AdamW(1e-4)
    optimizer.build([variable])
    optimizer.cumulative_learning_rate.assign(64.0)
    rate = float(np.float32(1e-4))
    run(optimizer, [variable], [[np.zeros((1, 1))]] * 200)
    np.testing.assert_allclose(float(optimizer.cumulative_learning_rate) - 64, 200 * rate, atol=4e-6)  # half a step
