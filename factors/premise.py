"""The premise of section 4.4 of the paper: how nearly W_Q W_Qᵀ and W_K W_Kᵀ agree row by row, and are diagonal.

Figure 5 compares the norms of the rows of W_Q with those of W_K, that is the diagonals of the two Grams AᵀA and BᵀB.
Balance asks for equal Grams; equal diagonals are enough only where the Grams are diagonal.
"""

import numpy as np
import numpy.typing as npt

from rankscope.factors.balance import gram
from rankscope.factors.linear_algebra import as_factor


def row_norms(factor: npt.ArrayLike) -> np.ndarray:
    """Squared norms of the rows of the paper's matrix (W_Q, W_K, W_V; columns of P): the diagonal of the Gram.

    Args:
        factor: (..., hidden_dim, key_dim), real; the transpose of the paper's matrix.

    Returns:
        float64 array of shape (..., key_dim), ≥ 0, in squared units of the factor.

    Example:
        >>> row_norms([[3.0, 1.0], [4.0, 0.0]]).tolist()
        [25.0, 1.0]
    """
    factor = as_factor(factor)
    return np.einsum("...ij,...ij->...j", factor, factor)


def row_norm_agreement(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """How well the squared row norms x of A and y of B agree, as in figure 5 of the paper: 1 − Σ|x − y| / Σ(x + y).

    Args:
        a: (..., rows_a, key_dim), real.
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), in [0, 1]: 1 where each row of one is as long as that of the other, 0 where one
        factor is zero; 1 for two zero factors.

    Example:
        Squared norms (9, 1) and (5, 5): 1 − (4 + 4) / 20.

        >>> float(row_norm_agreement(np.diag([3.0, 1.0]), np.diag([5.0, 5.0]) ** 0.5).round(12))
        0.6
    """
    x, y = row_norms(a), row_norms(b)  # (..., K)
    total = (x + y).sum(axis=-1)
    return 1.0 - np.abs(x - y).sum(axis=-1) / np.where(total > 0, total, 1.0)


def diagonality(factor: npt.ArrayLike) -> np.ndarray:
    """How nearly the Gram AᵀA is diagonal: ‖diag(AᵀA)‖_F / ‖AᵀA‖_F.

    Args:
        factor: (..., rows, key_dim), real.

    Returns:
        float64 array of shape (...), in [1/√key_dim, 1]: 1 for orthogonal rows of the paper's matrix. About
        √((rows + 2) / (rows + key_dim + 1)) for Gaussian entries. 0 for the zero factor.

    Example:
        Two equal rows, Gram [[1, 1], [1, 1]]: √2 / 2.

        >>> float(diagonality([[1.0, 1.0]]).round(6))
        0.707107
    """
    grams = gram(factor)  # (..., K, K)
    size = np.linalg.norm(grams, axis=(-2, -1))
    diagonal = np.linalg.norm(np.diagonal(grams, axis1=-2, axis2=-1), axis=-1)
    return diagonal / np.where(size > 0, size, 1.0)
