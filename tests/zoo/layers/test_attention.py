"""Attention against eq. 1 in float64, against Keras' own layer, and against numbers worked out by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.zoo import factor_pairs
from rankscope.zoo.layers import MultiHeadAttention

ROLES = ("query", "key", "value", "output")


def run(layer, tokens, **kwargs):
    return ops.convert_to_numpy(layer(np.asarray(tokens, "float32"), **kwargs))


def random_tokens(seed=0):
    # The shapes of the golden ViT: JAX compiles each operation once a shape.
    return np.random.default_rng(seed).normal(size=(3, 7, 8))


def built(hidden_dim=8, **settings):
    layer = MultiHeadAttention(**{"num_heads": 2, "key_dim": 4, "seed": 3, **settings})
    layer.build((None, None, hidden_dim))
    return layer


def roles(layer):
    return [getattr(layer, f"{role}_kernel").factor_role for role in ROLES]


def eq_1(layer, tokens, causal=False):
    """Σ over heads of P W_V E φ((Eᵀ W_Kᵀ W_Q E) ⊙ M), in float64, from the products of the factor pairs alone."""
    qk, vo = factor_pairs(layer)
    columns = np.swapaxes(np.asarray(tokens, "float32").astype("float64"), 1, 2)  # (B, D, T), the paper's E
    visible = np.triu(np.ones((columns.shape[2],) * 2, bool)) if causal else True  # (S, T): a key not after its query
    mixed = 0
    for key, query, output, value in zip(*qk.per_head(), *vo.per_head(), strict=True):
        logits = np.swapaxes(columns, 1, 2) @ (key @ query.T) @ columns / np.sqrt(qk.key_dim)  # (B, S, T)
        weights = np.where(visible, np.exp(logits), 0)
        weights /= weights.sum(axis=1, keepdims=True)  # over keys
        mixed = mixed + (output @ value.T) @ columns @ weights  # (B, D, T)
    return np.swapaxes(mixed, 1, 2)


# === The function ===


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, {"dropout": 0.5}, {"num_heads": 3, "key_dim": 2}], ids=["plain", "dropout", "three_heads"]
)
def test_equals_eq_1(settings, causal):
    layer = built(**settings, causal=causal)
    tokens = 2 * random_tokens()  # far from uniform attention
    np.testing.assert_allclose(run(layer, tokens, training=False), eq_1(layer, tokens, causal), rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_last_token_alone_gets_what_it_gets_among_all(causal, dropout):
    layer = built(causal=causal, dropout=dropout, last_only=True, use_output_bias=True)
    tokens = 2 * random_tokens()
    expected = eq_1(layer, tokens, causal)[:, -1:]
    np.testing.assert_allclose(run(layer, tokens, training=False), expected, rtol=1e-5, atol=5e-6)
    assert layer.compute_output_shape((None, 7, 8)) == (None, 1, 8)


def test_a_head_of_identity_kernels():
    """Logits are the tokens' dot products over √2: e^√½ = 2.0281, and 2.0281 / 3.0281 = 0.6698."""
    layer = built(hidden_dim=2, num_heads=1, key_dim=2)
    layer.set_weights([np.eye(2).reshape(kernel.shape) for kernel in layer.weights])
    share = np.exp(0.5**0.5) / (np.exp(0.5**0.5) + 1)
    np.testing.assert_allclose(share, 0.6698, atol=5e-5)
    np.testing.assert_allclose(run(layer, [np.eye(2)])[0], [[share, 1 - share], [1 - share, share]], rtol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("causal", [False, True])
def test_a_causal_token_sees_itself_and_earlier_ones(causal, dropout):
    layer = built(causal=causal, dropout=dropout)
    tokens = random_tokens()
    before = run(layer, tokens)
    for changed in range(7):
        moved = tokens.copy()
        moved[:, changed] += 1
        difference = np.abs(run(layer, moved) - before).max(axis=(0, 2))  # (T,)
        sees = np.arange(7) >= changed if causal else np.full(7, True)
        np.testing.assert_array_equal(difference > 1e-3, sees)
        np.testing.assert_array_equal(difference[~sees], 0)


@pytest.mark.parametrize(("causal", "bias"), [(False, True), (True, False)])
def test_equals_keras_with_the_same_weights(causal, bias):
    ours = built(causal=causal, use_bias=bias, use_output_bias=bias)
    theirs = keras.layers.MultiHeadAttention(2, 4, use_bias=bias, kernel_initializer="zeros")
    theirs.build((None, None, 8), (None, None, 8))
    rng = np.random.default_rng(1)
    paths = [f"{role}_{part}" for role in ROLES for part in (("kernel", "bias") if bias else ("kernel",))]
    values = [rng.normal(size=getattr(ours, path).shape) for path in paths]
    for path, value in zip(paths, values, strict=True):
        getattr(ours, path).assign(value)
    theirs.set_weights(values)  # query, key, value, output; kernel before bias
    tokens = random_tokens().astype("float32")
    expected = ops.convert_to_numpy(theirs(tokens, tokens, use_causal_mask=causal))
    np.testing.assert_allclose(run(ours, tokens), expected, rtol=1e-5, atol=1e-5)


def test_a_value_bias_passes_through_attention_and_output():
    """Attention weights sum to 1, so a value bias v adds Pᵀv at every token, and an output bias adds itself."""
    plain, biased = built(), built(use_bias=True, use_output_bias=True)
    biased.value_bias.assign(np.ones((2, 4)))
    biased.output_bias.assign(np.arange(8))
    shift = ops.convert_to_numpy(plain.output_kernel.value).sum(axis=(0, 1)) + np.arange(8)
    tokens = random_tokens()
    expected = run(plain, tokens) + shift
    np.testing.assert_allclose(run(biased, tokens), expected, rtol=1e-5, atol=1e-5)


# === Dropout ===


def test_dropout_drops_whole_attention_weights():
    """Two equal tokens weigh ½ each; dropout of ½ makes a weight 0 or 1, and their sum 0, 1 or 2 at odds of 1:2:1."""
    heads = np.eye(2)  # head h reads and writes coordinate h

    def dropped(training, seed=3):
        layer = built(hidden_dim=2, num_heads=2, key_dim=1, dropout=0.5, seed=seed)
        layer.set_weights([*[heads[:, :, None]] * 3, heads[:, None, :]])
        return run(layer, np.ones((500, 2, 2)), training=training)

    found = dropped(training=True)
    # TensorFlow's softmax of two equal numbers is ½ − 3e-8 on some processors: float32's rounding, and no other value.
    sums, counts = np.unique(found.round(6), return_counts=True)
    np.testing.assert_array_equal(sums, [0, 1, 2])
    np.testing.assert_allclose(counts, [500, 1000, 500], atol=90)  # standard deviations 19, 22, 19
    np.testing.assert_array_equal(dropped(training=True), found)  # by the seed
    assert not np.array_equal(dropped(training=True, seed=4), found)
    np.testing.assert_array_equal(dropped(training=False).round(6), 1)


@pytest.mark.parametrize(("dtype", "dropout"), [("float16", 0.5), ("bfloat16", 0.0)])
def test_the_mask_holds_in_half_precision(dtype, dropout):
    layer = built(causal=True, dropout=dropout, dtype=f"mixed_{dtype}")
    tokens = random_tokens()
    found = layer(tokens.astype("float32"))
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    np.testing.assert_allclose(found, eq_1(layer, tokens, causal=True), atol={"float16": 5e-3, "bfloat16": 4e-2}[dtype])


# === As a layer ===


def test_tags_are_set_by_build_and_again_by_loading(tmp_path):
    model = keras.Sequential([keras.Input((None, 8)), MultiHeadAttention(2, 4, name="attention")])
    assert roles(model.get_layer("attention")) == list(ROLES)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert roles(loaded.get_layer("attention")) == list(ROLES)
    for one, other in zip(factor_pairs(model), factor_pairs(loaded), strict=True):
        np.testing.assert_array_equal(one.a, other.a)
        np.testing.assert_array_equal(one.b, other.b)


def test_biases_carry_no_tag():
    layer = built(use_bias=True, use_output_bias=True)
    untagged = [variable.name for variable in layer.weights if not hasattr(variable, "factor_role")]
    assert untagged == ["query_bias", "key_bias", "value_bias", "output_bias"]


def test_the_length_may_stay_open():
    model = keras.Sequential([keras.Input((None, 8)), MultiHeadAttention(2, 4, causal=True)])
    assert model.output_shape == (None, None, 8)
    long = random_tokens().astype("float32")
    found = model.predict(long, verbose=0)
    np.testing.assert_allclose(model.predict(long[:, :3], verbose=0), found[:, :3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(0, 4), (2, 0)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match=rf"Received: num_heads={sizes[0]}, key_dim={sizes[1]}$"):
        MultiHeadAttention(*sizes)
