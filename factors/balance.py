"""Balance of a pair: AᵀA against BᵀB, and the Frobenius bound of the nuclear norm that balance makes tight.

Squares of squares are taken here: linear_algebra.py says for which entries that is exact.
"""

import numpy as np
import numpy.typing as npt

from rankscope.factors.linear_algebra import as_factor
from rankscope.factors.spectrum import nuclear_norm, singular_values


def gram(factor: npt.ArrayLike) -> np.ndarray:
    """Gram matrix AᵀA.

    Args:
        factor: (..., rows, key_dim), real.

    Returns:
        float64 array of shape (..., key_dim, key_dim), symmetric, in squared units of the factor.

    Example:
        >>> gram([[1.0, 2.0], [0.0, 1.0]]).tolist()
        [[1.0, 2.0], [2.0, 5.0]]
    """
    factor = as_factor(factor)
    return np.swapaxes(factor, -1, -2) @ factor  # (..., K, K)


def imbalance(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """Imbalance Q = AᵀA − BᵀB, which is 0 at every stationary point (Lemma 3.2 of the paper).

    Args:
        a: (..., rows_a, key_dim).
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (..., key_dim, key_dim), symmetric, of either sign.

    Example:
        >>> imbalance([[2.0, 0.0]], [[1.0, 1.0]]).tolist()
        [[3.0, -1.0], [-1.0, -1.0]]
    """
    return gram(a) - gram(b)


def balance_discrepancy(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """‖AᵀA − BᵀB‖_F, the distance from balance that figure 3 (center) of the paper plots.

    Args:
        a: (..., rows_a, key_dim).
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), ≥ 0, in squared units of the factors.

    Example:
        AᵀA − BᵀB = [[3, 0], [0, -4]].

        >>> float(balance_discrepancy([[2.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]]))
        5.0
    """
    return frobenius_norm(imbalance(a, b))


def balance_relative(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """Discrepancy in units of the Grams themselves: ‖Q‖_F / (½(‖AᵀA‖_F + ‖BᵀB‖_F)).

    Args:
        a: (..., rows_a, key_dim).
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), in [0, 2]: 0 in balance, 2 when one factor is zero; 0 when both are.

    Example:
        |4 − 1| / (½(4 + 1)) = 1.2.

        >>> float(balance_relative([[2.0]], [[1.0]]))
        1.2
    """
    gram_a, gram_b = gram(a), gram(b)  # (..., K, K)
    return relative_to_grams(frobenius_norm(gram_a - gram_b), gram_a, gram_b)


def relative_to_grams(discrepancy: np.ndarray, gram_a: np.ndarray, gram_b: np.ndarray) -> np.ndarray:
    """`balance_relative` of what is known already: ‖Q‖_F (...) and both Grams (..., key_dim, key_dim)."""
    size = 0.5 * (frobenius_norm(gram_a) + frobenius_norm(gram_b))
    return discrepancy / np.where(size > 0, size, 1.0)


def frobenius_bound(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """½(‖A‖_F² + ‖B‖_F²), what weight decay pays for and the upper bound of ‖A Bᵀ‖_* (eq. 8 of the paper).

    Args:
        a: (..., rows_a, key_dim).
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), ≥ 0, in squared units of the factors.

    Example:
        ½(9 + 1) = 5, where the nuclear norm is 3 · 1 = 3.

        >>> float(frobenius_bound([[3.0]], [[1.0]]))
        5.0
    """
    return 0.5 * (squared_norm(a) + squared_norm(b))


def nuclear_gap(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """½(‖A‖_F² + ‖B‖_F²) − ‖A Bᵀ‖_*, which vanishes in balance (Prop. 3.1 of the paper).

    Never clamped: where the gap is 0, rounding leaves about ±1e-15 of the bound, and a negative number is that.

    Args:
        a: (..., rows_a, key_dim).
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), ≥ 0 up to rounding, in squared units of the factors.

    Example:
        ½(9 + 1) − 3 = 2.

        >>> float(nuclear_gap([[3.0]], [[1.0]]))
        2.0
    """
    return frobenius_bound(a, b) - nuclear_norm(singular_values(a, b))


def squared_norm(matrix: npt.ArrayLike) -> np.ndarray:
    """‖W‖_F², the sum of squares over the last two axes.

    Args:
        matrix: (..., rows, columns), real.

    Returns:
        float64 array of shape (...).

    Example:
        >>> float(squared_norm([[3.0], [4.0]]))
        25.0
    """
    return _sum_of_squares(as_factor(matrix))


def frobenius_norm(matrix: np.ndarray) -> np.ndarray:
    """‖W‖_F of a Gram or an imbalance, float64 (..., n, n): their range is the square of that of factors."""
    return np.sqrt(_sum_of_squares(matrix))


def _sum_of_squares(matrix):
    return np.einsum("...ij,...ij->...", matrix, matrix)
