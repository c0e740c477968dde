"""The language model of table 2: its function and gradients against float64 NumPy, its sizes, its start."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.training.settings import config_path, load_settings
from rankscope.zoo import GPT, factor_pairs
from rankscope.zoo.layers import TransformerBlock
from tests.golden import make_gpt

GOLDEN = Path(__file__).parents[1] / "golden" / "gpt.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def tiny(**settings):
    return GPT(**{**make_gpt.SETTINGS, **settings})


def golden_model(positions="learned", **settings):
    model = tiny(position_encoding=positions, embedding_dropout=0.0, **settings)
    drawn = make_gpt.draw(positions)
    assert {v.path: tuple(v.shape) for v in model.trainable_variables} == {p: w.shape for p, w in drawn.items()}
    for variable in model.trainable_variables:
        variable.assign(drawn[variable.path])
    return model


def run(model, tokens):
    return model.predict(tokens, verbose=0)


def values(model):
    return {variable.path: ops.convert_to_numpy(variable.value) for variable in model.trainable_variables}


def gradients(model, tokens, targets, sample_weight=None):
    """The loss, and its gradient by each variable: what one step of descent with η = 1 takes away."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    before = values(model)
    found = float(model.train_on_batch(tokens, targets, sample_weight))
    return found, {path: before[path] - after for path, after in values(model).items()}


# === Golden ===


@pytest.mark.golden
def test_the_golden_file_is_what_its_script_makes(golden):
    made = make_gpt.make()
    assert list(made) == list(golden)
    for name, value in made.items():
        np.testing.assert_allclose(golden[name], value, rtol=1e-12, atol=1e-9, err_msg=name)


@pytest.mark.golden
@pytest.mark.parametrize("positions", make_gpt.POSITIONS)
def test_golden_logits(golden, positions):
    found = run(golden_model(positions), golden["tokens"])
    np.testing.assert_allclose(found, golden[f"{positions}/logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("positions", make_gpt.POSITIONS)
def test_golden_gradients_with_and_without_rematerialisation(golden, positions, remat):
    """The slope of the loss along one direction of each variable; that of the table counts both of its uses."""
    model = golden_model(positions, remat=remat)
    loss, found = gradients(model, golden["tokens"], golden["targets"])
    assert loss == pytest.approx(float(golden[f"{positions}/loss"]), rel=1e-6)
    slopes = [np.sum(found[path] * along) for path, along in make_gpt.directions(positions).items()]
    np.testing.assert_allclose(slopes, golden[f"{positions}/slopes"], rtol=1e-4, atol=1e-5)


# === Sizes ===


def count(*sizes, **settings):
    """Parameters of variables that have a shape and no values: 355 million of them would take 1.4 GB and seconds."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            return GPT(*sizes, **settings).count_params()
    finally:
        keras.utils.clear_session(free_memory=False)  # forget the variables that wait for their values


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({}, 125_030_400),
        ({"hidden_dim": 1024, "num_layers": 24, "num_heads": 16}, 355_872_768),
        ({"position_encoding": "sinusoidal"}, 125_030_400),
        ({"position_encoding": "none"}, 124_243_968),
    ],
    ids=["125m", "355m", "sinusoidal", "none"],
)
def test_parameters_of_table_2(settings, total):
    assert count(50257, 1024, **settings) == total


def test_sinusoids_do_not_learn():
    (fixed,) = tiny(position_encoding="sinusoidal").non_trainable_weights
    assert (fixed.path, tuple(fixed.shape)) == ("embedding/position_embedding", (5, 8))


def test_where_the_parameters_are():
    vocabulary, length, width, mlp = 50257, 1024, 768, 4 * 768
    tables = vocabulary * width + length * width
    norm = 2 * width
    attention = 4 * (width * width + width)
    block = 2 * norm + attention + (width * mlp + mlp) + (mlp * width + width)
    projection = width * width + width
    assert tables + 12 * block + norm + projection == 125_030_400


def test_its_pairs_are_two_a_layer():
    pairs = factor_pairs(tiny())
    assert [(pair.pair, pair.layer) for pair in pairs] == [("qk", 0), ("vo", 0), ("qk", 1), ("vo", 1)]
    assert {(pair.heads, pair.hidden_dim, pair.key_dim) for pair in pairs} == {(2, 8, 3)}


# === Initial weights ===


def test_initial_standard_deviations():
    """0.02, and 0.02 / (2√4) = 0.005 before a residual, to 4 standard errors of the fewest, 16,384 normals: 2.2 %."""
    model = GPT(256, 128, hidden_dim=128, num_layers=4, num_heads=4, key_dim=32)
    for path, value in values(model).items():
        if path.endswith(("bias", "beta")):
            assert not value.any(), path
        elif path.endswith("gamma"):
            assert (value == 1).all(), path
        else:
            before_a_residual = path.endswith(("output_kernel", "mlp_down/kernel"))
            assert value.std() / (0.005 if before_a_residual else 0.02) == pytest.approx(1, abs=0.022), path


def test_a_seed_is_one_model_and_no_two_kernels_start_alike():
    one, same, other = (values(tiny(seed=seed)) for seed in (0, 0, 1))
    for path, value in one.items():
        np.testing.assert_array_equal(value, same[path])
    drawn = [value for path, value in one.items() if path.endswith(("kernel", "embedding"))]
    starts = {value.ravel()[0] for value in drawn} | {value.ravel()[0] for p, value in other.items() if "kernel" in p}
    assert len(starts) == len(drawn) + sum("kernel" in path for path in other)


def test_at_the_start_every_token_is_about_as_likely():
    """Loss ln V = ln 11 = 2.398, to 4 standard deviations of one logit, 0.02² · 8 = 0.0032.

    The norm gives 8 numbers of size 1, the projection 8 of 0.02 √8, their product with a row one of 0.02 √8 · 0.02 √8.
    """
    tokens, targets = make_gpt.batch()
    loss, _ = gradients(tiny(), tokens, targets)
    assert loss == pytest.approx(np.log(11), abs=0.0128)


# === Structure ===


def test_gradients_reach_no_later_token():
    """Of the loss at place t alone, the gradient by the position of s: 0 where s > t, and not 0 up to t."""
    tokens, targets = make_gpt.batch()
    for place in range(5):
        only = np.tile(np.arange(5) == place, (3, 1)).astype("float32")
        _, found = gradients(golden_model(), tokens, targets, only)
        reached = np.abs(found["embedding/position_embedding"]).max(axis=1)
        np.testing.assert_array_equal(reached[place + 1 :], 0)
        assert (reached[: place + 1] > 1e-4).all()


def test_logits_are_dot_products_with_the_rows_that_tokens_are():
    """Row 7 doubled: where 7 is no input, its own logit doubles and all others stay."""
    model = golden_model()
    tokens = np.array([[0, 3, 1, 4, 2]], "int32")
    before = run(model, tokens)
    table = model.get_layer("embedding").token_embedding
    doubled = np.where(np.arange(11)[:, None] == 7, 2.0, 1.0)
    table.assign(table.value * ops.convert_to_tensor(doubled, "float32"))
    np.testing.assert_allclose(run(model, tokens), before * doubled.T, rtol=1e-5, atol=1e-6)
    assert sum(np.prod(variable.shape) == 11 * 8 for variable in model.weights) == 1


@pytest.mark.parametrize("vocabulary_size", [1024, 1025])
def test_the_gradient_of_the_table_is_that_of_both_its_uses(vocabulary_size):
    """A row that is no input gets the probabilities times the vectors; that of an input more, small table or large.

    Up to 1,024 rows they are read by a product, above by a lookup: the rows that both have get equal gradients.
    """
    model = tiny(vocabulary_size=vocabulary_size, embedding_dropout=0.0)
    tokens, targets = make_gpt.batch()
    rng = np.random.default_rng(3)
    rows = rng.normal(0, 0.5, (1025, 8)).astype("float32")
    rows[1024] = 0  # nearly unlikely, the same for both
    model.get_layer("embedding").token_embedding.assign(rows[:vocabulary_size])
    _, found = gradients(model, tokens, targets)
    gradient = found["embedding/token_embedding"]
    untouched = np.setdiff1d(np.arange(vocabulary_size), np.concatenate([tokens, targets]))
    assert np.abs(gradient[tokens]).min(axis=-1).max() > 10 * np.abs(gradient[untouched]).max()
    assert (np.abs(gradient[untouched]).max(axis=1) > 0).all()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_is_that_of_the_embedding_alone(rate):
    """A row of ones is 0 or 1 / (1 − rate) after it, and in training only; the blocks have none."""
    model = GPT(3, 100, hidden_dim=40, num_layers=1, num_heads=1, key_dim=4, embedding_dropout=rate)
    dropped = ops.convert_to_numpy(
        model.get_layer("embedding_dropout")(np.ones((1, 100, 40), "float32"), training=True)
    )
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / (1 - rate)], rtol=1e-6)
    assert (dropped == 0).mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 4000))
    assert model.get_layer("block_0").dropout == 0
    tokens = np.zeros((1, 100), "int32")
    np.testing.assert_array_equal(run(model, tokens), run(model, tokens))
    names = [layer.name for layer in model.layers]
    assert names.index("embedding_dropout") == names.index("embedding") + 1


# === Rematerialisation ===


def test_a_block_with_dropout_is_not_rematerialised():
    """Its second mask would be another one: on JAX an error, on the others a wrong gradient in silence."""
    with pytest.raises(ValueError, match=r"^remat needs a block without dropout\. Received: remat=True, dropout=0\.5$"):
        TransformerBlock(2, 4, 16, dropout=0.5, remat=True)


def test_a_rematerialised_block_is_computed_twice_in_a_step(monkeypatch):
    """Calls of a block's branches while one step is traced, or on torch taken."""
    calls = []
    branches = TransformerBlock._branches
    monkeypatch.setattr(TransformerBlock, "_branches", lambda *args: calls.append(1) or branches(*args))
    tokens, targets = make_gpt.batch()

    def calls_of(remat):
        model = golden_model(remat=remat)
        calls.clear()
        gradients(model, tokens, targets)
        return len(calls)

    plain, rematerialised = calls_of(remat=False), calls_of(remat=True)
    assert plain % 2 == 0  # two blocks, traced once or several times
    if keras.backend.backend() == "jax":  # traces once and repeats what it traced
        assert rematerialised == plain
    else:
        assert rematerialised > plain


# === As a model ===


@pytest.mark.parametrize("setting", [{}, {"position_encoding": "sinusoidal"}, {"remat": True}, {"mlp_dim": 5}])
def test_saving_and_loading_keeps_logits_and_tags(tmp_path, setting):
    model = tiny(seed=1, **setting)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    tokens, _ = make_gpt.batch()
    np.testing.assert_array_equal(run(loaded, tokens), run(model, tokens))
    assert loaded.get_config() == model.get_config()
    for one, other in zip(factor_pairs(model), factor_pairs(loaded), strict=True):
        assert (one.pair, one.layer, one.path) == (other.pair, other.layer, other.path)
        np.testing.assert_array_equal(one.a, other.a)


def test_logits_are_of_the_compute_dtype(policy, golden):
    policy("mixed_bfloat16")
    model = golden_model()
    logits = model(golden["tokens"])
    assert keras.backend.standardize_dtype(logits.dtype) == "bfloat16"
    found = ops.convert_to_numpy(ops.cast(logits, "float32"))
    np.testing.assert_allclose(found, golden["learned/logits"], atol=0.15)
    loss, _ = gradients(model, golden["tokens"], golden["targets"])
    assert loss == pytest.approx(float(golden["learned/loss"]), abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"position_encoding": "rotary"}, r"^model\.position_encoding must be .* Received: 'rotary'$"),
        ({"position_encoding": "sinusoidal", "hidden_dim": 7}, r"^model\.hidden_dim must be even .* Received: 7$"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


@pytest.mark.parametrize(
    ("name", "parameters", "rates"),
    [("gpt-125m", 125_030_400, (3e-4, 2e-4)), ("gpt-355m", 355_872_768, (1e-4, 2e-4 / 3))],
)
def test_the_configs_are_table_2(name, parameters, rates):
    settings = load_settings(config_path(name))
    model, optimizer, training = settings.model, settings.optimizer, settings.training
    assert (model.num_heads * model.key_dim, model.num_heads * 64) == (model.hidden_dim, model.hidden_dim)
    assert (settings.data.vocabulary, settings.data.sequence_length) == ("gpt2", 1024)
    assert count(50257, 1024, **model.model_dump(exclude={"name"})) == parameters
    assert training.steps * training.batch_size * 1024 == pytest.approx(100e9, rel=1e-5)
    assert (optimizer.learning_rate, optimizer.final_learning_rate) == pytest.approx(rates, rel=1e-4)
    assert (optimizer.initial_learning_rate, optimizer.warmup_steps) == (1e-6, 8000)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.95, 1e-8)
    assert (optimizer.global_clipnorm, training.batch_size, optimizer.weight_decay) == (1.0, 256, 0.1)
