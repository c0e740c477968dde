"""One pre-norm block: its two residual branches, one at a time."""

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.zoo.layers import TransformerBlock

TOKENS = np.random.default_rng(0).normal(size=(3, 7, 8)).astype("float32")


def built(**settings):
    block = TransformerBlock(**{"num_heads": 2, "key_dim": 4, "mlp_dim": 16, "seed": 1, **settings})
    block.build((None, 7, 8))
    return block


def silence(variable):
    variable.assign(ops.zeros_like(variable.value))


def run(layer, tokens, **kwargs):
    return ops.convert_to_numpy(layer(tokens, **kwargs))


def test_without_outputs_the_block_is_the_identity():
    block = built()
    silence(block.attention.output_kernel)
    silence(block.mlp_down.kernel)
    np.testing.assert_array_equal(run(block, TOKENS), TOKENS)


def test_the_attention_branch_reads_normalised_tokens():
    block = built()
    silence(block.mlp_down.kernel)
    normed = (TOKENS - TOKENS.mean(-1, keepdims=True)) / np.sqrt(TOKENS.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(run(block, TOKENS), TOKENS + run(block.attention, normed), rtol=1e-5, atol=1e-5)


def test_the_mlp_branch_comes_after():
    """relu(x) with an up kernel of [1 … 1] and a down kernel of ones adds 16 times the sum where it is positive."""
    block = built(activation="relu")
    silence(block.attention.output_kernel)
    block.mlp_norm.beta.assign(TOKENS[0, 0])
    silence(block.mlp_norm.gamma)
    block.mlp_up.kernel.assign(np.ones((8, 16)))
    block.mlp_down.kernel.assign(np.ones((16, 8)))
    total = TOKENS[0, 0].sum()
    np.testing.assert_allclose(run(block, TOKENS), TOKENS + 16 * max(total, 0), rtol=1e-5, atol=1e-5)
    block.mlp_norm.beta.assign(-TOKENS[0, 0])
    np.testing.assert_allclose(run(block, TOKENS), TOKENS + 16 * max(-total, 0), rtol=1e-5, atol=1e-5)


def test_gelu_is_the_exact_one():
    """At 2: exact 2 Φ(2) = 1.954500, by tanh 1.954598."""
    block = built()
    block.mlp_up.kernel.assign(np.full((8, 16), 0.25))
    found = run(block.mlp_up, np.ones((1, 8), "float32"))
    np.testing.assert_allclose(found, 1.954500, atol=2e-6)


def test_causal_reaches_attention():
    block = built(causal=True)
    moved = TOKENS.copy()
    moved[:, 4, 0] += 1  # not all of the token: a norm would take a common shift out again
    difference = np.abs(run(block, moved) - run(block, TOKENS)).max(axis=(0, 2))
    np.testing.assert_array_equal(difference > 0, np.arange(7) >= 4)


def test_biases_are_where_they_are_said_to_be():
    def biases(block):
        return [v.path.partition("/")[2] for v in block.weights if v.path.endswith("bias")]

    always = ["attention/output_bias", "mlp_up/bias", "mlp_down/bias"]
    assert biases(built(name="block")) == always
    inner = [f"attention/{role}_bias" for role in ("query", "key", "value")]
    assert biases(built(name="block", use_bias=True)) == inner + always


def test_dropout_of_a_branch_is_zero_or_doubled():
    block = built(dropout=0.5)
    block.attention.output_bias.assign(np.ones(8))
    silence(block.attention.output_kernel)
    silence(block.mlp_down.kernel)
    tokens = np.zeros_like(TOKENS)
    found = run(block, tokens, training=True)
    assert set(np.unique(found)) == {0.0, 2.0}
    assert 58 < np.count_nonzero(found) < 110  # 84 ± 6.5 of 168
    np.testing.assert_array_equal(run(block, tokens, training=False), 1)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16"])
def test_a_precision_of_its_own_reaches_every_layer(dtype):
    block = built(dtype=dtype, dropout=0.5)
    outputs = block(TOKENS)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert {layer.compute_dtype for layer in block._flatten_layers()} == {"bfloat16"}
    assert {keras.backend.standardize_dtype(v.dtype) for v in block.weights} == {block.variable_dtype}
