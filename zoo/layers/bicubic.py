"""Bicubic resizing as a product with a constant matrix: the same numbers on every backend."""

import numpy as np

SHARPNESS = -0.75  # of the cubic; PyTorch's, TensorFlow and JAX take −0.5


def bicubic_matrix(new: int, old: int) -> np.ndarray:
    """Weights that resize `old` values along a line to `new`, the identity where the two are equal.

    Keys' cubic convolution (1981) as in PyTorch's `interpolate(mode="bicubic", align_corners=False)`: centres of pixels
    are half a pixel from the edge, values beyond the edge are those at it, nothing is smoothed before it shrinks.

    Args:
        new: int ≥ 1.
        old: int ≥ 1.

    Returns:
        float64 array `(new, old)` whose rows sum to 1.

    Example:

    >>> bicubic_matrix(2, 4).tolist()
    [[0.5, 0.59375, -0.09375, 0.0], [0.0, -0.09375, 0.59375, 0.5]]
    """
    centres = (np.arange(new) + 0.5) * old / new - 0.5  # (new,)
    taps = np.floor(centres)[:, None] + np.arange(-1, 3)  # (new, 4)
    distance = np.abs(centres[:, None] - taps)
    a = SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))  # (new, 4)
    matrix = np.zeros((new, old))
    places = np.clip(taps, 0, old - 1).astype(int)
    np.add.at(matrix, (np.arange(new)[:, None], places), weights)
    return matrix
