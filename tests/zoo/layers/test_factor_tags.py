"""Tags and the search for pairs: which pairs, in which order, with which values."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.zoo import LinearNetwork, VisionTransformer, factor_pairs, tag
from rankscope.zoo.layers import FactorChain, HostNormal, MultiHeadAttention, split_seed


def names(model):
    return [(pair.pair, pair.layer, pair.path) for pair in factor_pairs(model)]


def value(variable):
    return ops.convert_to_numpy(variable.value)


class Bilinear(keras.Layer):
    """A user's own layer: softmax-free attention whose kernels it tags itself, after a kernel that it does not."""

    def __init__(self, seed, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        width = input_shape[-1]
        self.gate = self.add_weight(shape=(width,), initializer="ones", name="gate")
        left, right = (HostNormal(0.5, seed) for seed in split_seed(self.seed, 2))
        self.left = self.add_weight(shape=(width, 1, 3), initializer=left, name="left")
        self.right = self.add_weight(shape=(width, 1, 3), initializer=right, name="right")
        tag(self.left, "key")
        tag(self.right, "query")

    def call(self, tokens):
        keys, queries = (ops.einsum("btd,dhk->bthk", tokens, kernel) for kernel in (self.left, self.right))
        return ops.einsum("bthk,bshk,bsd->btd", queries, keys, tokens * self.gate)


class Nested(keras.Model):
    """A user's own model: layers in a list, an untagged one between, and two that share a name."""

    def __init__(self):
        super().__init__(name="nested")
        self.blocks = [
            Bilinear(0, name="same"),
            keras.layers.Dense(4, kernel_initializer="ones"),
            Bilinear(1, name="same"),
        ]

    def call(self, tokens):
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class Twins(keras.Layer):
    """Two chains of one name, one after the other."""

    def build(self, input_shape):
        self.chains = [FactorChain([3, 4], name="same", seed=seed) for seed in (0, 1)]
        for chain in self.chains:
            chain.build(input_shape)

    def call(self, inputs):
        return self.chains[1](self.chains[0](inputs))


# === Which pairs ===


def test_a_vit_has_two_pairs_a_block():
    model = VisionTransformer((8, 8, 1), 3, patch_size=4, hidden_dim=8, num_layers=2, num_heads=2, key_dim=3)
    assert names(model) == [
        ("qk", 0, "block_0/attention"),
        ("vo", 0, "block_0/attention"),
        ("qk", 1, "block_1/attention"),
        ("vo", 1, "block_1/attention"),
    ]
    assert {pair.a.shape for pair in factor_pairs(model)} == {(2, 8, 3)}
    assert {pair.b.shape for pair in factor_pairs(model)} == {(2, 8, 3)}


def test_a_linear_network_has_one_product():
    assert names(LinearNetwork(4, 5, key_dim=3)) == [("product", 0, "factors")]


def test_each_product_of_a_chain_counts_as_a_layer():
    outputs = inputs = keras.Input((4,))
    for name, widths in (("chain", [3, 5, 2]), ("alone", [3]), ("last", [2, 2])):
        outputs = FactorChain(widths, name=name)(outputs)
    model = keras.Model(inputs, outputs)
    assert names(model) == [("product", 0, "chain"), ("product", 1, "chain"), ("product", 2, "last")]
    shapes = [(pair.a.shape, pair.b.shape) for pair in factor_pairs(model)]
    assert shapes == [((1, 5, 3), (1, 4, 3)), ((1, 2, 5), (1, 3, 5)), ((1, 2, 2), (1, 3, 2))]


def test_layers_of_both_kinds_count_on():
    inputs = keras.Input((6, 8))
    tokens = FactorChain([3, 5, 8], name="chain")(inputs)
    model = keras.Model(inputs, MultiHeadAttention(2, 4, name="attention")(tokens))
    assert names(model) == [
        ("product", 0, "chain"),
        ("product", 1, "chain"),
        ("qk", 2, "attention"),
        ("vo", 2, "attention"),
    ]


def test_a_users_own_model_is_searched():
    model = Nested()
    model(keras.Input((2, 4)))
    first, second = factor_pairs(model)
    assert [(pair.pair, pair.layer) for pair in (first, second)] == [("qk", 0), ("qk", 1)]
    for pair, block in ((first, model.blocks[0]), (second, model.blocks[2])):
        np.testing.assert_array_equal(pair.a[0], value(block.left)[:, 0])
        np.testing.assert_array_equal(pair.b[0], value(block.right)[:, 0])


def test_chains_that_share_a_name_stay_apart():
    twins = Twins()
    twins.build((None, 4))
    first, second = twins.chains
    assert [v.path for v in first.weights] == [v.path for v in second.weights]
    found = factor_pairs(twins)
    assert [(pair.pair, pair.layer) for pair in found] == [("product", 0), ("product", 1)]
    for pair, chain in zip(found, twins.chains, strict=True):
        np.testing.assert_array_equal(pair.b[0], value(chain.kernels[0]))
        np.testing.assert_array_equal(pair.a[0], value(chain.kernels[1]).T)


def test_a_layer_that_is_used_twice_is_found_once():
    attention = MultiHeadAttention(2, 4, name="attention")
    inputs = keras.Input((6, 8))
    model = keras.Model(inputs, attention(attention(inputs)))
    assert names(model) == [("qk", 0, "attention"), ("vo", 0, "attention")]


def test_frozen_layers_are_found_too():
    model = VisionTransformer((8, 8, 1), 3, patch_size=4, hidden_dim=8, num_layers=2, num_heads=2)
    expected = names(model)
    model.get_layer("block_0").trainable = False
    assert names(model) == expected


def test_an_untagged_model_has_none():
    assert factor_pairs(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])) == []


# === Their values ===


def test_attention_factors_are_the_kernels_by_head():
    layer = MultiHeadAttention(num_heads=2, key_dim=3)
    layer.build((None, None, 5))
    qk, vo = factor_pairs(layer)
    for head in range(2):
        np.testing.assert_array_equal(qk.a[head], value(layer.key_kernel)[:, head])
        np.testing.assert_array_equal(qk.b[head], value(layer.query_kernel)[:, head])
        np.testing.assert_array_equal(vo.a[head], value(layer.output_kernel)[head].T)
        np.testing.assert_array_equal(vo.b[head], value(layer.value_kernel)[:, head])


def test_chain_factors_multiply_to_the_map():
    """x K₀ K₁ of a row x is A Bᵀ x of a column, and x K₀ K₁ K₂ needs both products' outer factors."""
    chain = FactorChain([3, 5, 2], seed=1)
    inputs = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")
    outputs = ops.convert_to_numpy(chain(inputs))
    first, second = factor_pairs(chain)
    np.testing.assert_array_equal(first.a[0].T, second.b[0])  # K₁ is a factor of both
    np.testing.assert_allclose(outputs, inputs @ (second.a[0] @ first.a[0] @ first.b[0].T).T, rtol=1e-5, atol=1e-6)


def test_the_values_are_copies_of_the_moment():
    chain = FactorChain([3, 2])
    chain.build((None, 4))
    before = factor_pairs(chain)[0].b.copy()
    taken = factor_pairs(chain)[0].b
    chain.kernels[0].assign(np.zeros((4, 3)))
    np.testing.assert_array_equal(taken, before)
    np.testing.assert_array_equal(factor_pairs(chain)[0].b, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_factors_of_half_precision_kernels(dtype):
    chain = FactorChain([3, 2], dtype=dtype)
    chain.build((None, 4))
    a, b = factor_pairs(chain)[0].per_head()
    assert (a.dtype, b.dtype) == ("float64", "float64")
    np.testing.assert_array_equal(b[0], ops.convert_to_numpy(ops.cast(chain.kernels[0].value, "float32")))


# === Refusals ===


@pytest.mark.parametrize(
    ("role", "shape", "received"),
    [
        ("querry", (8, 2, 4), "'querry'"),
        ("query", (8, 8), "shape (8, 8)"),
        ("output", (2, 2, 4, 8), "shape (2, 2, 4, 8)"),
        ("factor", (8, 2, 4, 2), "shape (8, 2, 4, 2)"),
    ],
)
def test_a_wrong_tag_is_refused(role, shape, received):
    variable = keras.Variable(np.zeros(shape), name="kernel")
    with pytest.raises(ValueError, match=f"Received: {re.escape(received)}$"):
        tag(variable, role)
    assert not hasattr(variable, "factor_role")


@pytest.mark.parametrize(
    ("role", "received"),
    [
        ("query", "key and a query kernel for its qk pair. Received: output, query, value"),
        ("value", "output and a value kernel for its vo pair. Received: key, query, value"),
    ],
)
def test_half_a_pair_is_refused(role, received):
    layer = MultiHeadAttention(2, 4, name="attention")
    layer.build((None, None, 8))
    partner = {"query": "key", "value": "output"}[role]
    getattr(layer, f"{partner}_kernel").factor_role = None
    with pytest.raises(ValueError, match=f"needs both a {received}$"):
        factor_pairs(keras.Sequential([keras.Input((3, 8)), layer]))
