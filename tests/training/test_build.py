"""From settings to data, model and optimizer."""

import inspect
from functools import cache

import numpy as np
import pytest
from keras import ops
from keras.config import backend

from rankscope.data.recall import RecallTask
from rankscope.errors import UserError
from rankscope.optimizers import SGD, AdamL2, AdamW
from rankscope.training.build import build_data, build_model, build_optimizer, build_schedule, describe_models
from rankscope.training.data_settings import RecallTaskSettings
from rankscope.training.settings import (
    OptimizerSettings,
    Settings,
    TrainingSettings,
    config_names,
    load_settings,
)
from rankscope.training.settings import config_path as path_of
from rankscope.zoo.registry import MODELS

#: Kind of data → a source of it that needs no file.
SOURCES = {"images": "mnist_5k", "regression": "diagonal", "recall": "recall", "text": "text"}


@pytest.mark.parametrize(
    ("section", "model", "of_the_data"),
    [
        *((row.settings, row.load(), row.arguments) for row in MODELS.values()),
        (RecallTaskSettings, RecallTask, ()),
    ],
)
def test_settings_cover_every_argument_of_the_model_with_its_default(section, model, of_the_data):
    arguments = inspect.signature(model).parameters
    expected = set(arguments) - {*of_the_data, "seed", "kwargs"}
    assert set(section.model_fields) - {"name", "source"} == expected
    for name in expected:
        assert section.model_fields[name].default == arguments[name].default


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1e-6), (5, (1e-6 + 4e-3) / 2), (10, 4e-3), (60, (4e-3 + 1e-3) / 2), (110, 1e-3), (200, 1e-3)],
)
def test_warm_up_is_linear_and_the_cosine_ends_at_the_last_step(step, expected):
    settings = OptimizerSettings(learning_rate=4e-3, warmup_steps=10, final_learning_rate=1e-3)
    schedule = build_schedule(settings, steps=110)
    assert float(ops.convert_to_numpy(schedule(step))) == pytest.approx(expected, rel=1e-6)


def test_constant_rate_after_a_warm_up():
    schedule = build_schedule(OptimizerSettings(learning_rate=2e-3, warmup_steps=4, schedule="constant"), steps=10)
    rates = [float(ops.convert_to_numpy(schedule(step))) for step in (2, 4, 7, 10)]
    assert rates == pytest.approx([(2e-3 + 1e-6) / 2, 2e-3, 2e-3, 2e-3], rel=1e-6)


def test_constant_rate_alone_is_a_number():
    assert build_schedule(OptimizerSettings(learning_rate=0.5, schedule="constant"), steps=10) == 0.5


def test_a_cosine_may_end_after_the_run():
    """Table 2: over 300 billion tokens, of which 100 are trained. At a third of the cosine, ¾ of the way is left."""
    settings = OptimizerSettings(learning_rate=1.0, final_learning_rate=0.2, schedule_steps=300)
    schedule = build_schedule(settings, steps=100)
    assert float(ops.convert_to_numpy(schedule(100))) == pytest.approx(0.2 + 0.75 * 0.8, rel=1e-6)


def test_a_run_shorter_than_its_warm_up_stays_in_it():
    schedule = build_schedule(OptimizerSettings(learning_rate=1.0, initial_learning_rate=0, warmup_steps=100), steps=10)
    assert float(ops.convert_to_numpy(schedule(10))) == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize(("name", "optimizer"), [(None, AdamW), ("adamw", AdamW), ("adam_l2", AdamL2), ("sgd", SGD)])
def test_the_optimizer_is_the_one_that_the_settings_name(name, optimizer):
    settings = {"weight_decay": 0.25, "decay_groups": {"bias": 0.5}, "beta_1": 0.5, "global_clipnorm": None}
    settings |= {} if name == "sgd" else {"epsilon": 1e-3}
    named = {} if name is None else {"name": name}
    built = build_optimizer(
        OptimizerSettings(schedule="constant", learning_rate=0.5, **named, **settings), TrainingSettings()
    )
    assert type(built) is optimizer
    assert built.get_config() == optimizer(0.5, **settings).get_config()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([("model.num_heads", 5)], r"num_heads must divide model\.hidden_dim.*Received: num_heads=5, hidden_dim=64"),
        ([("model.patch_size", 5)], r"patch_size must divide.*Received: patch_size=5, images of 28×28"),
        ([("optimizer.decay_groups", {"qeury": 0})], r"'qeury'.*query_kernel"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(overrides, message):
    settings = load_settings(path_of("vit"), overrides)
    with pytest.raises(UserError, match=message) as refusal:
        build_model(settings, build_data(settings))
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def data_of():
    return cache(lambda kind: build_data(Settings(model={"name": "vit"}, data={"source": SOURCES[kind]})))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_each_model_learns_from_its_own_kind_of_data_and_from_no_other(row, kind, data_of):
    small = {"num_layers": 1, "hidden_dim": 8} if "num_layers" in row.settings.model_fields else {}
    settings = Settings(model={"name": row.name, **small}, data={"source": SOURCES[kind]})
    if kind == row.data:
        assert build_model(settings, data_of(kind)).name == row.name
    else:
        message = rf"model {row.name} does not learn.*needs {row.data}\. Received: data\.source {SOURCES[kind]}$"
        with pytest.raises(UserError, match=message):
            build_model(settings, data_of(kind))


@pytest.fixture
def given(tmp_path):
    """Settings of the linear network on 20 given samples with 3 inputs and 2 outputs."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "xy.npz", x=rng.normal(size=(20, 3)), y=rng.normal(size=(20, 2)))
    source = [("data.source", "npz"), ("data.path", str(tmp_path / "xy.npz"))]
    return lambda *overrides: load_settings(path_of("linear"), [*source, *overrides])


def test_given_data_make_the_sizes_of_the_linear_network(given):
    settings = given(("model.depth", 3), ("data.whiten", True), ("data.validation_fraction", 0.5))
    data = build_data(settings)
    assert "10 training and 10 validation samples" in data.origin
    assert "whitened" in data.origin
    model = build_model(settings, data)
    assert [tuple(v.shape) for v in model.trainable_variables] == [(3, 5), (5, 5), (5, 2)]
    x, y = data.train_batch(0, settings.training.batch_size, seed=0)
    assert len(x) == 10  # the config asks for the full batch
    expected = 0.5 * np.square(y - ops.convert_to_numpy(model(x))).sum()
    assert float(model.train_on_batch(x, y)) == pytest.approx(expected, rel=1e-5)


def test_given_data_that_are_not_to_be_had_are_refused_in_one_line(given, tmp_path):
    (tmp_path / "xy.npz").unlink()
    with pytest.raises(UserError, match=r"There is no file at data\.path.*Received: .*xy\.npz") as refusal:
        build_data(given())
    assert "\n" not in str(refusal.value)


def test_given_data_are_not_for_a_model_of_images(given):
    settings = load_settings(path_of("vit"), [("data", given().data.model_dump())])
    with pytest.raises(UserError, match=r"vit.*npz"):
        build_model(settings, build_data(settings))


def test_a_validation_part_that_is_empty_is_refused():
    settings = load_settings(path_of("vit"), [("data.validation_fraction", 1e-9)])
    with pytest.raises(UserError, match=r"validation_fraction.*Received: 1e-09"):
        build_data(settings)


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    def weights(seed):
        settings = load_settings(path_of("vit"), [("seed", seed), ("model.num_layers", 1)])
        return np.concatenate([w.ravel() for w in build_model(settings, build_data(settings)).get_weights()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_without_gradients_decay_acts_on_its_own_groups_only():
    settings = load_settings(
        path_of("vit"),
        [("optimizer.attention_weight_decay", 0), ("optimizer.schedule", "constant"), ("optimizer.warmup_steps", 0)],
    )
    model = build_model(settings, build_data(settings))
    before = [ops.convert_to_numpy(variable.value) for variable in model.trainable_variables]
    for _ in range(3):
        model.optimizer.apply([ops.zeros(variable.shape) for variable in model.trainable_variables])
    shrunk = set()
    for variable, old in zip(model.trainable_variables, before, strict=True):
        new = ops.convert_to_numpy(variable.value)
        if getattr(variable, "factor_role", None) or len(variable.shape) < 2:
            np.testing.assert_array_equal(new, old, err_msg=variable.path)
        else:
            # η = 0.004, λ = 0.1, three steps
            np.testing.assert_allclose(new, old * (1 - 0.004 * 0.1) ** 3, rtol=1e-6, err_msg=variable.path)
            shrunk.add(variable.path)
    assert {"block_0/mlp_up/kernel", "patch_embedding/kernel", "head/kernel"} <= shrunk


def test_the_zoo_is_described_with_its_pairs():
    rows = {row[0]: row for row in describe_models(config_names())}
    assert rows["recall"][1] == "recall, attention-only Transformer (section 4.1)"
    assert rows["linear"][2:] == (50, ["product: 1 × 5×5"])
    assert rows["deep_linear"][2:] == (75, ["2 layers of product: 1 × 5×5"])
    assert rows["recall"][2:] == (24512, ["2 layers of qk: 1 × 64×32", "2 layers of vo: 1 × 64×32"])
    assert rows["vit"][2:] == (204298, ["4 layers of qk: 4 × 64×16", "4 layers of vo: 4 × 64×16"])


@pytest.mark.parametrize("locality", [False, True])
def test_xla_computes_no_depthwise_convolution_on_a_cpu_where_tensorflow_can(locality, monkeypatch):
    monkeypatch.setattr("rankscope.training.build.device_kind", lambda: "cpu")
    settings = load_settings(path_of("vit"), [("model.locality", locality), ("model.num_layers", 1)])
    model = build_model(settings, build_data(settings))
    expected = {"tensorflow": not locality, "jax": True, "torch": False}[backend()]
    assert model.jit_compile == expected
