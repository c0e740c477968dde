"""Families against files that Keras saves: our zoo's models, and Keras' own attention, on any backend."""

import io
import zipfile

import h5py
import keras
import numpy as np
import pytest

from rankscope import zoo
from rankscope.checkpoints.checkpoint import find_attention
from rankscope.checkpoints.tensors import ArrayTensors


def saved(model, tmp_path):
    """The arrays of model.weights.h5 by path."""
    model.save(tmp_path / "model.keras")
    arrays = {}

    def keep(name, item):  # anything but None would end the visit
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(keep)
    return arrays


def randomise(model):
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if "seed" not in variable.path:
            variable.assign(rng.standard_normal(variable.shape))


def by_path(model):
    return {variable.path: keras.ops.convert_to_numpy(variable.value) for variable in model.weights}


ZOO = {
    "gpt": lambda: zoo.GPT(11, 5, hidden_dim=8, num_layers=11, num_heads=2, key_dim=3),
    "vit": lambda: zoo.VisionTransformer((14, 14, 1), 3, hidden_dim=8, num_layers=2, num_heads=2),
    "recall": lambda: zoo.RecallTransformer(11, 5, hidden_dim=8, key_dim=4, num_heads=2),
    "linear": lambda: zoo.LinearNetwork(5, 4, depth=3),
}


@pytest.mark.parametrize("source", ["file", "variables"])
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_s_models_give_the_pairs_that_the_monitor_sees(name, source, tmp_path):
    model = ZOO[name]()
    randomise(model)
    checkpoint = find_attention(ArrayTensors(saved(model, tmp_path) if source == "file" else by_path(model)))
    wanted = zoo.factor_pairs(model)
    found = list(checkpoint.pairs())
    assert [(pair.pair, pair.layer) for pair in found] == [(pair.pair, pair.layer) for pair in wanted]
    biased = name == "gpt"
    assert {site.has_bias for site in checkpoint.sites} == {biased}
    for got, pair in zip(found, wanted, strict=True):
        rows = pair.a.shape[1], pair.b.shape[1]
        np.testing.assert_array_equal(got.a[:, : rows[0]], pair.a)
        np.testing.assert_array_equal(got.b[:, : rows[1]], pair.b)
        assert got.b.shape[1] - rows[1] == biased
        assert got.a.shape[1] - rows[0] == (biased and pair.pair == "qk")


@pytest.mark.parametrize("source", ["file", "variables"])
@pytest.mark.parametrize("grouped", [False, True], ids=["multi-head", "grouped"])
@pytest.mark.parametrize("biased", [True, False], ids=["biased", "unbiased"])
def test_keras_attention_gives_its_own_scores(grouped, biased, source, tmp_path):
    if grouped:
        layers = [keras.layers.GroupQueryAttention(3, 4, 2, use_bias=biased) for _ in range(2)]
        heads, kv_heads, value_dim = 4, 2, 3
    else:
        layers = [keras.layers.MultiHeadAttention(2, 3, value_dim=5, use_bias=biased) for _ in range(2)]
        heads, kv_heads, value_dim = 2, 2, 5
    tokens = inputs = keras.Input((5, 8))
    for layer in layers:
        tokens = layer(tokens, tokens)
    model = keras.Model(inputs, tokens)
    randomise(model)
    checkpoint = find_attention(ArrayTensors(saved(model, tmp_path) if source == "file" else by_path(model)))
    for site in checkpoint.sites:
        assert (site.heads, site.kv_heads, site.key_dim, site.value_dim) == (heads, kv_heads, 3, value_dim)
        assert site.has_bias is biased
    x = np.random.default_rng(1).standard_normal((1, 5, 8)).astype("f4")
    pairs = list(checkpoint.pairs())
    for number, layer in enumerate(layers):
        wanted, _scores = layer(x, x, return_attention_scores=True)
        (key, query), (output, value) = (pair.per_head() for pair in pairs[2 * number : 2 * number + 2])
        ones = np.concatenate([x[0], np.ones((5, 1))], axis=1)[:, : query.shape[1]]  # (T, D), or (T, D + 1)
        logits = np.einsum("sd,hdk,hek,te->hst", ones, query, key, ones) / np.sqrt(3)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        got = np.einsum("hst,te,hev,hdv->sd", weights, ones, value, output)
        if biased:
            got += next(
                keras.ops.convert_to_numpy(variable.value)
                for variable in layer.weights
                if variable.path.endswith("attention_output/bias")
            )
        np.testing.assert_allclose(got, keras.ops.convert_to_numpy(wanted)[0], rtol=1e-3, atol=1e-3)
