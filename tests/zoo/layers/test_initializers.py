"""Initial weights: the same numbers on every backend, the right spread, seeds that are independent."""

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.zoo import VisionTransformer
from rankscope.zoo.layers import FactorChain, HostNormal, MultiHeadAttention, split_seed
from rankscope.zoo.layers.initializers import xavier_stddev


def drawn(seed, stddev, shape):
    return (stddev * np.random.default_rng(seed).standard_normal(shape)).astype("float32")


def children(seed, count):
    return [int(word) // 2 for word in np.random.SeedSequence(seed).generate_state(count)]


def values(model):
    return {variable.path: ops.convert_to_numpy(variable.value) for variable in model.weights}


def test_a_seed_gives_numpys_numbers_on_every_backend():
    layer = MultiHeadAttention(num_heads=2, key_dim=3, seed=7)
    layer.build((None, None, 8))
    stddev = (2 / (8 + 2 * 3)) ** 0.5
    for kernel, seed in zip(layer.weights, children(7, 4), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(kernel.value), drawn(seed, stddev, kernel.shape), rtol=1e-6)


def test_the_seeds_of_a_vit_follow_from_its_own():
    sizes = {"patch_size": 4, "hidden_dim": 8, "num_layers": 2, "num_heads": 2}
    found = values(VisionTransformer((8, 8, 1), 3, **sizes, seed=5))
    embedding, _, head, _, second_block = children(5, 5)
    patches, token, positions = children(embedding, 3)
    attention, up, down = children(second_block, 3)
    expected = {
        "patch_embedding/kernel": drawn(patches, (2 / 24) ** 0.5, (16, 8)),
        "patch_embedding/class_token": drawn(token, 0.02, (1, 8)),
        "patch_embedding/position_embedding": drawn(positions, 0.02, (5, 8)),
        "block_1/attention/query_kernel": drawn(children(attention, 1)[0], (2 / 16) ** 0.5, (8, 2, 4)),
        "block_1/mlp_up/kernel": drawn(up, (2 / 40) ** 0.5, (8, 32)),
        "block_1/mlp_down/kernel": drawn(down, (2 / 40) ** 0.5, (32, 8)),
        "head/kernel": drawn(head, (2 / 11) ** 0.5, (8, 3)),
    }
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-6, err_msg=path)


def test_no_two_kernels_begin_alike():
    """Two kernels of one seed would be the same stream of normals, times their stddevs."""
    model = VisionTransformer((8, 8, 1), 3, patch_size=4, hidden_dim=8, num_layers=3, num_heads=2)
    starts = [v.ravel()[:3] for path, v in values(model).items() if not path.endswith(("bias", "gamma", "beta"))]
    directions = np.round([start / start[0] for start in starts], 3)
    assert len(directions) == 3 + 6 * 3 + 1
    assert len(np.unique(directions, axis=0)) == len(directions)


def test_stddev_is_the_stddev():
    """The standard error of a stddev from n normals is σ/√(2n): 0.0011 for σ = ½, n = 10⁵."""
    found = HostNormal(stddev=0.5, seed=1)((200, 500))
    assert found.dtype == "float32"
    assert abs(found.std() - 0.5) < 4 * 0.5 / (2 * found.size) ** 0.5
    assert abs(found.mean()) < 4 * 0.5 / found.size**0.5
    np.testing.assert_array_equal(HostNormal(stddev=0.0)((3,)), 0)


def test_xavier_depends_on_both_fans():
    """√(2 / (2 + 6)) = ½ and √(2 / (6 + 12)) = ⅓."""
    np.testing.assert_allclose([xavier_stddev(2, 6), xavier_stddev(6, 2), xavier_stddev(6, 12)], [0.5, 0.5, 1 / 3])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_variables_are_rounded_from_the_same_numbers(dtype):
    chain = FactorChain([3], stddev=0.5, seed=2, dtype=dtype)
    chain.build((None, 4))
    assert keras.backend.standardize_dtype(chain.kernels[0].dtype) == dtype
    found = ops.convert_to_numpy(ops.cast(chain.kernels[0].value, "float32"))
    exact = drawn(children(2, 1)[0], 0.5, (4, 3))
    np.testing.assert_allclose(found, exact, rtol={"float16": 2**-11, "bfloat16": 2**-8}[dtype])


def test_split_seeds_are_many_and_small():
    seeds = [seed for parent in range(50) for seed in split_seed(parent, 20)]
    assert len(set(seeds)) == 1000
    assert all(isinstance(seed, int) and 0 <= seed < 2**31 for seed in seeds)


def test_streams_of_split_seeds_are_uncorrelated():
    """Correlations of n normals have standard deviation 1/√n; 45 pairs stay within 4 of them."""
    streams = np.stack([np.random.default_rng(seed).standard_normal(10_000) for seed in split_seed(0, 10)])
    correlations = np.corrcoef(streams)[np.triu_indices(10, 1)]
    assert np.abs(correlations).max() < 0.04
