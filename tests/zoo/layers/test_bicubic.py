"""Bicubic resizing by a matrix."""

import keras
import numpy as np
import pytest

from rankscope.zoo.layers.bicubic import bicubic_matrix


@pytest.mark.parametrize("size", [1, 2, 14])
def test_the_same_size_is_the_identity(size):
    np.testing.assert_array_equal(bicubic_matrix(size, size), np.eye(size))


@pytest.mark.parametrize(("new", "old"), [(2, 14), (7, 2), (5, 3), (1, 4)])
def test_a_constant_stays(new, old):
    matrix = bicubic_matrix(new, old)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-14)


def test_by_hand():
    """Twice as many of (0, 1, 0, 0): places a quarter, three quarters and 1¼ of a pixel away, a = −¾."""
    a = -0.75
    near, far = ((a + 2) * 0.25 - (a + 3)) * 0.0625 + 1, ((a + 2) * 0.75 - (a + 3)) * 0.5625 + 1
    beyond = a * (((1.25 - 5) * 1.25 + 8) * 1.25 - 4)
    found = bicubic_matrix(8, 4)[:, 1]
    np.testing.assert_allclose(found[[2, 3, 1, 4, 5]], [near, near, far, far, beyond], rtol=1e-13)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch is what it is compared with")
@pytest.mark.parametrize(("new", "old"), [(2, 14), (7, 2), (13, 14)])
def test_it_is_pytorch_s(new, old):
    import torch

    values = np.random.default_rng(0).standard_normal(old)
    resized = torch.nn.functional.interpolate(
        torch.tensor(values)[None, None, :, None], size=(new, 1), mode="bicubic", align_corners=False
    )
    np.testing.assert_allclose(bicubic_matrix(new, old) @ values, resized.numpy().ravel(), rtol=1e-12)
