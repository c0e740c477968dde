"""The Vision Transformer against a float64 NumPy forward pass of the same weights, by variable path."""

from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.factors import pseudo_rank, singular_values
from rankscope.zoo import VisionTransformer, factor_pairs
from rankscope.zoo.layers import PatchEmbedding, TransformerBlock
from tests.golden import make_vit

GOLDEN = Path(__file__).parents[1] / "golden" / "vit.npz"


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
    return VisionTransformer(**{**make_vit.SETTINGS, **settings})


def load(model, weights):
    for variable in model.weights:
        variable.assign(weights[variable.path])
    return model


def golden_model(golden):
    weights = {name.removeprefix("weights/"): value for name, value in golden.items() if name.startswith("weights/")}
    model = tiny()
    assert {variable.path: tuple(variable.shape) for variable in model.weights} == {
        path: value.shape for path, value in weights.items()
    }
    return load(model, weights)


def run(model, images, **kwargs):
    return ops.convert_to_numpy(model(images, **kwargs))


# === Golden ===


@pytest.mark.golden
def test_the_golden_file_is_what_its_script_makes(golden):
    made = make_vit.make()
    assert list(made) == list(golden)
    for name, value in made.items():
        np.testing.assert_allclose(golden[name], value, rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.golden
def test_golden_logits(golden):
    found = run(golden_model(golden), golden["images"])
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, golden["logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.golden
def test_golden_singular_values_and_pseudo_ranks(golden):
    pairs = factor_pairs(golden_model(golden))
    assert [(pair.pair, pair.layer) for pair in pairs] == [("qk", 0), ("vo", 0), ("qk", 1), ("vo", 1)]
    for pair in pairs:
        dense = golden[f"singular_values/{pair.pair}"][pair.layer]  # (H, D), key_dim of them not 0
        assert np.all(dense[:, pair.key_dim :] < 1e-15 * dense[:, :1])
        found = singular_values(*pair.per_head())
        np.testing.assert_allclose(found / dense[:, :1], dense[:, : pair.key_dim] / dense[:, :1], rtol=0, atol=1e-12)
        for head, values in enumerate(dense):
            held = next(k for k in range(1, 9) if values[:k].sum() >= 0.95 * values.sum())
            assert pseudo_rank(found)[head] == held / 4


def test_mean_pooling_has_no_class_token():
    model = tiny(pooling="mean", image_shape=(4, 28, 2))  # seven patches: as many tokens as in the golden file
    weights = make_vit.draw(seed=2)
    del weights["patch_embedding/class_token"]
    assert {variable.path for variable in model.weights} == set(weights)
    images = np.random.default_rng(3).integers(0, 256, (3, *model.image_shape), dtype=np.uint8)
    expected = make_vit.forward(weights, images, pooling="mean")
    np.testing.assert_allclose(run(load(model, weights), images), expected, rtol=1e-5, atol=1e-5)


# === Embedding ===


def test_patches_are_read_row_by_row():
    """Each pixel names its patch n by 127.5 (n + 1), which is n after scaling; a projection by ¼ gives the mean."""
    embedding = PatchEmbedding(patch_size=2, hidden_dim=1, class_token=True)
    embedding.build((None, 4, 6, 1))
    embedding.set_weights([np.full((4, 1), 0.25), np.zeros(1), np.full((1, 1), 9.0), np.zeros((7, 1))])
    numbers = np.arange(6).reshape(2, 3).repeat(2, axis=0).repeat(2, axis=1)  # (4, 6)
    images = ((numbers + 1) * 127.5)[None, ..., None].astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(embedding(images)).ravel(), [9, 0, 1, 2, 3, 4, 5], atol=1e-6)


# === Sizes ===


def test_the_default_has_204298_parameters():
    model = VisionTransformer((28, 28, 1), num_classes=10)
    tokens, width, mlp = 1 + 4 * 4, 64, 256
    embedding = (49 * width + width) + width + tokens * width  # projection and bias, class token, positions
    norm = 2 * width
    attention = 4 * width * width + width  # only the output has a bias
    block = 2 * norm + attention + (width * mlp + mlp) + (mlp * width + width)
    assert embedding + 4 * block + norm + (width * 10 + 10) == 204_298
    assert model.count_params() == 204_298


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"image_shape": (8, 10, 1)},
            r"patch_size must divide the image's height and width\. Received: patch_size=4, images of 8×10$",
        ),
        ({"image_shape": (10, 8, 1)}, r"Received: patch_size=4, images of 10×8$"),
        ({"num_heads": 3}, r"num_heads must divide model\.hidden_dim .* Received: num_heads=3, hidden_dim=8$"),
        ({"pooling": "max"}, r"pooling must be .* Received: 'max'$"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


def test_deit_s_with_locality_has_22179688_parameters():
    """Of arXiv 2211.05187, without the two linears a block that its released code makes and does not use."""
    with keras.StatelessScope(initialize_variables=False):  # shapes alone
        model = VisionTransformer(
            (224, 224, 3), num_classes=1000, patch_size=16, hidden_dim=384, num_layers=12, num_heads=6, locality=True
        )
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    keras.utils.clear_session(free_memory=False)
    norm = {"gamma": (384,), "beta": (384,)}
    expected = {
        "patch_embedding/kernel": (16 * 16 * 3, 384),
        "patch_embedding/bias": (384,),
        "patch_embedding/class_token": (1, 384),
        "patch_embedding/position_embedding": (1 + 14 * 14, 384),
        **{f"norm/{name}": shape for name, shape in norm.items()},
        "head/kernel": (384, 1000),
        "head/bias": (1000,),
    }
    for index in range(12):
        block = f"block_{index}"
        expected |= {f"{block}/{which}_norm/{name}": norm[name] for which in ("attention", "mlp") for name in norm}
        expected |= {f"{block}/attention/{name}_kernel": (384, 6, 64) for name in ("query", "key", "value")}
        expected |= {f"{block}/attention/output_kernel": (6, 64, 384), f"{block}/attention/output_bias": (384,)}
        expected |= {f"{block}/locality/up/kernel": (384, 1536), f"{block}/locality/down/kernel": (1536, 384)}
        expected |= {f"{block}/locality/depthwise/kernel": (3, 3, 1536, 1)}
    assert shapes == expected
    # Projection, class token, positions; a block's norms, attention, locality; the last norm; the head.
    embedding = 768 * 384 + 384 + 384 + 197 * 384
    block = 2 * 768 + (4 * 384 * 384 + 384) + (2 * 384 * 1536 + 9 * 1536)
    assert embedding + 12 * block + 768 + (384 * 1000 + 1000) == 22_179_688
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 22_179_688


def test_a_given_key_dim_need_not_divide():
    assert {pair.key_dim for pair in factor_pairs(tiny(num_heads=3, key_dim=5))} == {5}


def test_the_mlp_is_four_times_as_wide_by_default():
    assert tiny(mlp_dim=None).get_layer("block_0").mlp_dim == 32


# === As a model ===


def test_saving_and_loading_keeps_logits_and_tags(golden, tmp_path):
    model = golden_model(golden)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(loaded, golden["images"]), run(model, golden["images"]))
    assert loaded.get_config() == model.get_config()
    for one, other in zip(factor_pairs(model), factor_pairs(loaded), strict=True):
        assert (one.pair, one.layer, one.path) == (other.pair, other.layer, other.path)
        np.testing.assert_array_equal(one.a, other.a)


def test_logits_stay_float32_under_a_mixed_policy(policy, golden):
    policy("mixed_bfloat16")
    model = golden_model(golden)
    assert model.get_layer("block_0").compute_dtype == "bfloat16"
    logits = model(golden["images"])
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(logits), golden["logits"], atol=0.05)
    assert {factor.dtype for pair in factor_pairs(model) for factor in (pair.a, pair.b)} == {np.dtype("float32")}


def test_dropout_acts_in_training_only(golden):
    images = golden["images"]
    model = tiny(dropout=0.5)
    np.testing.assert_array_equal(run(model, images), run(tiny(dropout=0.0), images))
    dropped = run(model, images, training=True)
    assert not np.allclose(dropped, run(model, images))
    np.testing.assert_array_equal(dropped, run(tiny(dropout=0.5), images, training=True))  # from its seed


def test_images_may_be_integers_or_floats(golden):
    model = golden_model(golden)
    images = golden["images"]
    np.testing.assert_array_equal(run(model, images), run(model, images.astype("float32")))


# === Images of several sizes ===


def test_positions_are_resized_to_the_grid_of_the_images():
    """A patch kernel of zeros leaves the positions alone. 4×4 places become 2×2 by the weights of PyTorch's bicubic."""
    embedding = PatchEmbedding(patch_size=2, hidden_dim=1, class_token=True)
    embedding.build((None, 8, 8, 1))
    table = np.arange(17.0)[:, None]
    embedding.set_weights([np.zeros((4, 1)), np.zeros(1), np.zeros((1, 1)), table])
    same = ops.convert_to_numpy(embedding(np.zeros((1, 8, 8, 1), "uint8")))
    np.testing.assert_array_equal(same[0], table)
    small = ops.convert_to_numpy(embedding(np.zeros((1, 4, 4, 1), "uint8")))
    weights = np.array([[0.5, 0.59375, -0.09375, 0], [0, -0.09375, 0.59375, 0.5]])
    expected = weights @ np.arange(1.0, 17).reshape(4, 4) @ weights.T
    np.testing.assert_allclose(small[0, :, 0], [0, *expected.ravel()], rtol=1e-6)


@pytest.mark.parametrize("train_positions", [True, False])
def test_one_table_of_positions_learns_at_all_sizes_unless_it_is_frozen(train_positions):
    model = tiny(image_shape=(16, 16, 2), locality=True, stochastic_depth=0.5, train_positions=train_positions)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    table = next(variable for variable in model.weights if variable.path.endswith("position_embedding"))
    seen = [ops.convert_to_numpy(table.value)]
    for size in (8, 16):
        images = np.random.default_rng(size).integers(0, 256, (4, size, size, 2), dtype=np.uint8)
        model.make_train_function(force=True)
        model.fit(images, np.arange(4) % 3, batch_size=2, verbose=0)
        seen.append(ops.convert_to_numpy(table.value))
    moved = [not np.array_equal(one, other) for one, other in pairwise(seen)]
    assert moved == [train_positions] * 2
    assert int(ops.convert_to_numpy(model.optimizer.iterations.value)) == 4


def test_images_that_patches_do_not_fill_are_refused():
    with pytest.raises(ValueError, match=r"Received: patch_size=4, images of 10×8"):
        tiny()(np.zeros((1, 10, 8, 2)))


def test_imagenet_s_mean_is_zero_and_its_deviation_one():
    embedding = PatchEmbedding(patch_size=1, hidden_dim=1, class_token=False, pixels="imagenet")
    embedding.build((None, 1, 2, 3))
    embedding.set_weights([np.eye(3)[:, :1], np.zeros(1), np.zeros((2, 1))])
    red = 255 * np.array([0.485, 0.485 + 0.229])
    images = np.stack([red, red, red], axis=-1)[None, None]
    np.testing.assert_allclose(ops.convert_to_numpy(embedding(images)).ravel(), [0, 1], atol=1e-6)
    with pytest.raises(ValueError, match=r"needs images of three channels\. Received: 1"):
        PatchEmbedding(patch_size=1, hidden_dim=1, pixels="imagenet").build((None, 2, 2, 1))


def test_stochastic_depth_grows_from_none_at_the_first_block():
    model = tiny(num_layers=3, stochastic_depth=0.5)
    assert [model.get_layer(f"block_{index}").drop_path for index in range(3)] == [0, 0.25, 0.5]


def test_a_dropped_path_leaves_the_tokens_and_a_kept_one_is_scaled():
    block = TransformerBlock(num_heads=2, key_dim=4, mlp_dim=16, drop_path=0.5)
    tokens = np.random.default_rng(0).standard_normal((64, 3, 8)).astype("float32")
    block.build(tokens.shape)
    block.attention.set_weights([np.zeros(variable.shape) for variable in block.attention.weights])  # one branch is 0
    whole = run(block, tokens) - tokens
    found = run(block, tokens, training=True) - tokens
    kept = np.abs(found).max(axis=(1, 2)) > 0
    assert 16 < kept.sum() < 48  # five standard errors about 32
    np.testing.assert_allclose(found[kept], 2 * whole[kept], rtol=1e-4, atol=1e-5)
