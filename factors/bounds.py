"""Between which numbers the imbalance Q = AᵀA − BᵀB confines the nuclear gap (Prop. A.4 of the paper, and sharper)."""

import numpy as np
import numpy.typing as npt

from rankscope.factors.balance import imbalance, squared_norm
from rankscope.factors.linear_algebra import eigenvalues_of, singular_values_of
from rankscope.factors.spectrum import nuclear_norm, reduce_rows


def nuclear_gap_bound(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """Right side of Prop. A.4 of the paper: √‖Q‖_* · (‖A‖_* + ‖B‖_*)/2 with Q = AᵀA − BᵀB.

    It bounds the nuclear gap, loosely: gap ≤ `nuclear_gap_bound_sharp` ≤ `nuclear_gap_bound_frobenius` ≤ this. Rounding
    of Q enters through a square root, so for balanced factors expect 1e-8 of the Frobenius bound and not 1e-16.

    Args:
        a: (..., rows_a, key_dim), real and finite.
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), ≥ 0, in squared units of the factors.

    Example:
        Q = 25 − 9 = 16: √16 · (5 + 3)/2 = 16, where the gap is ½(25 + 9) − 15 = 2.

        >>> float(nuclear_gap_bound([[5.0]], [[3.0]]))
        16.0
    """
    return np.sqrt(_imbalance_norm(a, b)) * 0.5 * (_nuclear_norm_of(a) + _nuclear_norm_of(b))


def nuclear_gap_bound_frobenius(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """Prop. A.4 with Frobenius norms in place of nuclear ones: √‖Q‖_* · (‖A‖_F + ‖B‖_F)/2, smaller by up to √key_dim.

    It follows from `nuclear_gap_bound_sharp`: ‖Q‖_* ≤ ‖A‖_F² + ‖B‖_F² ≤ (‖A‖_F + ‖B‖_F)². It rounds as the original.

    Args:
        a: (..., rows_a, key_dim), real and finite.
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), ≥ 0, in squared units of the factors.

    Example:
        Q = diag(9, 16): √25 · (√(9 + 16) + 0)/2 = 12.5, which is the gap; Prop. A.4 has 3 + 4 for the root: 17.5.

        >>> float(nuclear_gap_bound_frobenius([[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0]]))
        12.5
    """
    return np.sqrt(_imbalance_norm(a, b)) * 0.5 * (np.sqrt(squared_norm(a)) + np.sqrt(squared_norm(b)))


def nuclear_gap_bound_sharp(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """½‖Q‖_* with Q = AᵀA − BᵀB: the nuclear gap is at most this, and equal to it where one factor is zero.

    ‖A Bᵀ‖_* = ‖G_A^½ G_B^½‖_* ≥ tr(G_A^½ G_B^½) with the Grams G_A = AᵀA, G_B = BᵀB (polar decompositions), and that
    trace is at least ½ tr(G_A + G_B − |Q|) for any two Grams (Audenaert et al. 2007). It rounds as the gap does, by
    about 1e-15 of the Frobenius bound.

    Args:
        a: (..., rows_a, key_dim), real and finite.
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), ≥ 0, in squared units of the factors.

    Example:
        Q = 25 − 9 = 16, where the gap is ½(25 + 9) − 15 = 2.

        >>> float(nuclear_gap_bound_sharp([[5.0]], [[3.0]]))
        8.0
    """
    return 0.5 * _imbalance_norm(a, b)


def nuclear_gap_lower_bound(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """‖Q‖_F² / 2(‖A‖₂ + ‖B‖₂)², spectral norms: the nuclear gap is at least this, so it vanishes only where Q does.

    The converse of Prop. A.4. For the rotation P that brings B nearest to A, the gap is ½‖D‖_F² with D = A − P B
    (orthogonal Procrustes problem, rows padded alike); Q = ½(DᵀS + SᵀD) with S = A + P B, so ‖Q‖_F ≤ ‖D‖_F ‖S‖₂.
    Attained wherever A and B have one column.

    Args:
        a: (..., rows_a, key_dim), real and finite.
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), ≥ 0, in squared units of the factors; 0 where both factors are zero.

    Example:
        16² / 2(5 + 3)² = 2, which is the gap, ½(25 + 9) − 15.

        >>> float(nuclear_gap_lower_bound([[5.0]], [[3.0]]))
        2.0
    """
    norms = _spectral_norm(a) + _spectral_norm(b)
    # Divided before it is squared: the square of a norm below 1e-162 is zero in float64.
    return 0.5 * np.square(np.linalg.norm(imbalance(a, b), axis=(-2, -1)) / np.where(norms > 0, norms, 1.0))


def _spectral_norm(factor):
    return singular_values_of(reduce_rows(factor))[..., 0]


def _imbalance_norm(a, b):
    """‖AᵀA − BᵀB‖_*."""
    return np.abs(eigenvalues_of(imbalance(a, b))).sum(axis=-1)  # Q is symmetric: σ = |eigenvalue|


def _nuclear_norm_of(factor):
    return nuclear_norm(singular_values_of(reduce_rows(factor)))
