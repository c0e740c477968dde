"""The attention-only Transformer: its function and 100 steps against float64 NumPy, and a circuit by hand."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.data.recall import RecallTask
from rankscope.training.build import build_data, build_model
from rankscope.training.settings import config_path, load_settings
from rankscope.zoo import RecallTransformer, factor_pairs
from rankscope.zoo.layers import TokenEmbedding
from tests.golden import make_recall

GOLDEN = Path(__file__).parents[1] / "golden" / "recall.json"


def load(model, weights):
    assert {variable.path for variable in model.weights} == set(weights)
    for variable in model.weights:
        variable.assign(weights[variable.path])
    return model


def run(model, tokens):
    return model.predict(tokens, verbose=0)  # compiled as a whole: on JAX quicker than operation by operation


# === Golden ===


@pytest.mark.golden
def test_the_golden_file_is_what_its_script_makes():
    np.testing.assert_allclose(make_recall.losses(steps=3), json.loads(GOLDEN.read_text())[:3], rtol=1e-12)


def test_the_golden_gradients_are_those_of_the_loss():
    """By central differences along a random direction of each weight."""
    weights = {path: value.astype("float64") for path, value in make_recall.draw().items()}
    batch = RecallTask().train_batch(0, 2, seed=0)
    _, gradients = make_recall.loss_and_gradients(weights, *batch)
    rng = np.random.default_rng(0)
    assert set(gradients) == set(weights)
    for path, value in weights.items():
        direction = rng.normal(size=value.shape)

        def loss(size, path=path, along=direction):
            return make_recall.loss_and_gradients({**weights, path: weights[path] + size * along}, *batch)[0]

        slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
        assert slope == pytest.approx(np.sum(direction * gradients[path]), rel=1e-5, abs=1e-8), path


@pytest.mark.golden
@pytest.mark.slow
def test_golden_losses_of_100_steps():
    """The config as it is, from the same weights on the same batches, on every backend (7e-7 apart)."""
    settings = load_settings(config_path("recall"), [("optimizer.attention_weight_decay", 0.1)])
    data = build_data(settings)
    model = load(build_model(settings, data), make_recall.draw())
    batches = data.train_batches(settings.training.batch_size, make_recall.SEED, 0, make_recall.STEPS)
    found = []
    for index in range(len(batches)):
        found.append(float(model.train_on_batch(*batches[index])[0]))
        model.reset_metrics()
    np.testing.assert_allclose(found, json.loads(GOLDEN.read_text()), rtol=0, atol=1e-5)


# === Embedding ===


def test_a_token_is_its_row_plus_its_place():
    embedding = TokenEmbedding(vocabulary_size=3, hidden_dim=2)
    embedding.build((None, 2))
    embedding.set_weights([np.array([[0, 0], [1, 2], [3, 4]]), np.array([[10, 20], [30, 40]])])
    found = ops.convert_to_numpy(embedding(np.array([[1, 0], [2, 2]], "int32")))
    assert found.tolist() == [[[11, 22], [30, 40]], [[13, 24], [33, 44]]]


def test_sinusoids_are_fixed():
    embedding = TokenEmbedding(vocabulary_size=3, hidden_dim=4, position_encoding="sinusoidal")
    embedding.build((None, 2))
    positions = ops.convert_to_numpy(embedding.position_embedding.value)
    np.testing.assert_allclose(positions, [[0, 0, 1, 1], [np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)]], rtol=1e-6)
    assert [variable.name for variable in embedding.trainable_variables] == ["token_embedding"]


@pytest.mark.parametrize("stddev", [1.0, 0.25])
def test_stddev_is_that_of_tokens_and_positions(stddev):
    """From 40,000 normals, to 4 standard errors of 0.35 %."""
    embedding = TokenEmbedding(vocabulary_size=400, hidden_dim=100, stddev=stddev)
    embedding.build((None, 400))
    token, position = (ops.convert_to_numpy(variable.value) for variable in embedding.weights)
    assert token.std() / stddev == pytest.approx(1, abs=0.015)
    assert position.std() / stddev == pytest.approx(1, abs=0.015)
    assert not np.array_equal(token, position)


# === The model ===


def test_only_the_settings_asked_for_have_weights():
    tables = {"embedding/token_embedding", "embedding/position_embedding"}
    kernels = {f"attention_{layer}/{role}_kernel" for layer in (0, 1) for role in make_recall.ROLES}
    norms = {f"{name}/{weight}" for name in ("norm_0", "norm_1", "norm") for weight in ("gamma", "beta")}
    everything = tables | kernels | norms | {"head/kernel"}
    assert {variable.path for variable in RecallTransformer(40, 41).weights} == everything
    bare = RecallTransformer(40, 41, layer_norm=False, position_encoding="none")
    assert {variable.path for variable in bare.weights} == everything - norms - {"embedding/position_embedding"}


def test_its_pairs_are_two_a_layer():
    pairs = factor_pairs(RecallTransformer(40, 41, num_heads=2, key_dim=16, num_layers=3))
    assert [(pair.pair, pair.layer) for pair in pairs] == [(kind, layer) for layer in range(3) for kind in ("qk", "vo")]
    assert {(pair.heads, pair.hidden_dim, pair.key_dim) for pair in pairs} == {(2, 64, 16)}


def test_without_positions_the_order_of_earlier_tokens_is_nothing_to_one_layer():
    """The last token sees all alike; the second layer of a causal model can tell them apart by what they saw."""
    tokens = np.array([[0, 3, 1, 4, 2, 5, 0], [4, 1, 5, 3, 2, 0, 0]], "int32")
    for layers, same in ((1, True), (2, False)):
        one, other = run(RecallTransformer(6, 7, num_layers=layers, position_encoding="none", seed=1), tokens)
        assert np.allclose(one, other, atol=1e-5) is same


def test_a_circuit_by_hand_recalls():
    """Layer 0 puts each key into its value's place, layer 1 finds the key asked for there: no training needed.

    Of the 32 columns, 0–6 are the token, 7–13 the place, 14–20 the place before (positions carry it), 21–27 the token
    of the place before, as layer 0 writes it. The first place has none before and sees itself, so the head lets only
    values through.
    """
    num_pairs, length, sharp = 3, 7, 300.0
    vocabulary, width = 2 * num_pairs, 32
    model = RecallTransformer(
        vocabulary, length, hidden_dim=width, key_dim=7, layer_norm=False, position_encoding="learned"
    )
    token, place, before, seen = (np.eye(width)[start : start + 7] for start in (0, 7, 14, 21))  # (7, D) each

    def into(block):
        return block.T[:, None]  # (D, 1, 7)

    def out_to(block):
        return block[None]  # (1, 7, D)

    weights = {
        "embedding/token_embedding": token[:vocabulary],
        "embedding/position_embedding": place + np.concatenate([np.zeros((1, width)), before[:-1]]),
        "attention_0/query_kernel": sharp * into(before),
        "attention_0/key_kernel": into(place),
        "attention_0/value_kernel": into(token),
        "attention_0/output_kernel": out_to(seen),
        "attention_1/query_kernel": sharp * into(token),
        "attention_1/key_kernel": into(seen),
        "attention_1/value_kernel": into(token),
        "attention_1/output_kernel": 10 * out_to(token),
        "head/kernel": token[:vocabulary].T * (np.arange(vocabulary) >= num_pairs),
    }
    load(model, {path: value.astype("float32") for path, value in weights.items()})
    tokens, answers = RecallTask(num_pairs, label_noise=0.0).train_batch(0, 200, seed=0)
    np.testing.assert_array_equal(run(model, tokens).argmax(axis=1), answers)


@pytest.mark.parametrize("setting", [{}, {"layer_norm": False}, {"position_encoding": "sinusoidal"}, {"num_heads": 2}])
def test_saving_and_loading_keeps_logits(tmp_path, setting):
    model = RecallTransformer(6, 7, hidden_dim=8, key_dim=4, seed=1, **setting)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    tokens = RecallTask(3).train_batch(0, 4, seed=0)[0]
    np.testing.assert_array_equal(run(loaded, tokens), run(model, tokens))
    assert loaded.get_config() == model.get_config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"position_encoding": "rotary"}, r"^model\.position_encoding must be .* Received: 'rotary'$"),
        ({"position_encoding": "sinusoidal", "hidden_dim": 7}, r"^model\.hidden_dim must be even .* Received: 7$"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RecallTransformer(40, 41, **settings)
