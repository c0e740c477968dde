"""The feed-forward with a convolution, against a float64 NumPy one."""

import numpy as np
import pytest
from keras import ops

from rankscope.zoo.layers import LocalityFeedForward


def hard_swish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def reference(tokens, up, depthwise, down, rows, columns):
    """Patches `(N, D)` of one sample; a 3×3 window of zeros around the grid."""
    hidden = hard_swish(tokens @ up).reshape(rows, columns, -1)
    padded = np.pad(hidden, ((1, 1), (1, 1), (0, 0)))
    mixed = sum(
        padded[down_by : down_by + rows, right_by : right_by + columns] * depthwise[down_by, right_by, :, 0]
        for down_by in range(3)
        for right_by in range(3)
    )
    return hard_swish(mixed).reshape(rows * columns, -1) @ down


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (2, 3)])
@pytest.mark.parametrize("class_token", [True, False])
def test_numbers(rows, columns, class_token):
    local = LocalityFeedForward(mlp_dim=16, grid=(4, 6), class_token=class_token, seed=1)
    rng = np.random.default_rng(2)
    tokens = rng.standard_normal((2, rows * columns + class_token, 8))
    local.build(tokens.shape)
    weights = [rng.standard_normal(variable.shape) for variable in local.weights]
    local.set_weights(weights)
    found = ops.convert_to_numpy(local(tokens.astype("float32")))
    for sample, transformed in zip(tokens, found, strict=True):
        expected = reference(sample[int(class_token) :], *weights, rows, columns)
        np.testing.assert_allclose(transformed[int(class_token) :], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(transformed[: int(class_token)], 0)


def test_patches_that_make_no_grid_are_refused():
    local = LocalityFeedForward(mlp_dim=4, grid=(4, 6))
    with pytest.raises(ValueError, match="25 patches make no grid of the proportions 4×6"):
        local(np.zeros((1, 25, 8)))
