"""Singular values of A Bᵀ from its factors, and the ranks that are read off them; the product is never formed.

Every function that takes singular values expects them in descending order on the last axis, keeps the leading axes,
and gives 0 for the zero product, which has no rank (0/0): 0 is reserved for it and serves as its flag.
"""

import operator

import numpy as np
import numpy.typing as npt

from rankscope.factors.linear_algebra import check_product_range, singular_values_of, triangle


def reduce_rows(factor: npt.ArrayLike) -> np.ndarray:
    """A factor with at most key_dim rows that is as good as the given one: R of factor = Q R.

    Replacing A by R_A changes nothing that is measured here: A = Q R with orthonormal columns in Q gives
    AᵀA = RᵀR, and A Bᵀ = Q_A (R_A R_Bᵀ) Q_Bᵀ has the singular values of R_A R_Bᵀ. So tall factors are reduced once, and
    every other function runs on small matrices. A factor with no more rows than key_dim is returned as it is.

    Args:
        factor: (..., rows, key_dim), real.

    Returns:
        float64 array of shape (..., min(rows, key_dim), key_dim).

    Example:
        A column (3, 4) has length 5; the sign is the QR's choice.

        >>> np.abs(reduce_rows([[3.0], [4.0]])).round(12).tolist()
        [[5.0]]
    """
    factor = np.asarray(factor, dtype=np.float64)
    rows, key_dim = factor.shape[-2:]
    # Householder QR and not the Cholesky factor of AᵀA: the Gram squares the condition number (errors of 1e-8 instead
    # of 1e-16) and Cholesky fails on rank-deficient factors, the very case that is looked for.
    if rows <= key_dim:
        return factor
    block = 8 * key_dim
    if rows >= 2 * block and rows % block == 0:
        # Tall and skinny QR (Demmel et al. 2012): blocks of rows that fit into a cache, then their R's, a third faster.
        blocks = factor.reshape(*factor.shape[:-2], rows // block, block, key_dim)
        factor = triangle(blocks).reshape(*factor.shape[:-2], -1, key_dim)  # (..., K · blocks, K)
    return triangle(factor)  # (..., K, K)


def singular_values(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """Singular values of the product A Bᵀ, without forming it.

    QR of A and of B, then the SVD of the small R_A R_Bᵀ, in float64. The error is about 1e-15 ‖A‖‖B‖, for
    rank-deficient factors too; a product that vanishes only by cancellation between A and B shows values of that
    size, not exact zeros.

    Args:
        a: (..., rows_a, key_dim), real and finite.
        b: (..., rows_b, key_dim); leading axes broadcast with those of `a`.

    Returns:
        float64 array of shape (..., key_dim), descending, in the units of a × b. When there are fewer rows than
        key_dim, the values that a product of this shape cannot have are exact zeros.

    Raises:
        ValueError: if the last axes differ, or for entries outside the range that linear_algebra.py states.

    Example:
        A Bᵀ = [[3, 0], [0, 8]].

        >>> singular_values([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, 4.0]]).tolist()
        [8.0, 3.0]
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    key_dim = a.shape[-1]
    if b.shape[-1] != key_dim:
        raise ValueError(f"a and b must have the same key_dim (last axis). Received: {key_dim} and {b.shape[-1]}")
    check_product_range(a, b)
    a, b = reduce_rows(a), reduce_rows(b)  # (..., ≤ K, K)
    sigma = singular_values_of(a @ np.swapaxes(b, -1, -2))  # (..., ≤ K)
    missing = key_dim - sigma.shape[-1]
    return np.concatenate([sigma, np.zeros((*sigma.shape[:-1], missing))], axis=-1) if missing else sigma  # (..., K)


def pseudo_rank(singular_values: npt.ArrayLike, threshold: float = 0.95, size: int | None = None) -> np.ndarray:
    """Pseudo rank k/n: the share of singular values that hold 95 % of their sum (section 4 of the paper).

    k is the smallest number with σ₁ + … + σ_k ≥ threshold · Σσ: of the SUM of singular values, not of the energy Σσ²
    (which would give smaller ranks). The paper does not say what n is; readers take n = key_dim, the default. Pass
    `size=hidden_dim` for the other convention, the size of the product.

    A sum within rounding of the threshold has reached it: 19 of 20 equal values hold 95 % whatever their scale, and
    threshold 1 counts the values above rounding.

    Args:
        singular_values: (..., count), descending and nonnegative.
        threshold: share of the sum to be reached, in (0, 1].
        size: n, a positive integer; `count` when None.

    Returns:
        float64 array of shape (...): k/n, in (0, count/n]; 0 for the zero product.

    Raises:
        ValueError: for a threshold outside (0, 1] or a size below 1.

    Example:
        Of the sum 20, 12 + 6 = 18 is 90 % and 12 + 6 + 1 = 19 is 95 %: k = 3, n = 4.

        >>> float(pseudo_rank([12.0, 6.0, 1.0, 1.0]))
        0.75
        >>> float(pseudo_rank([12.0, 6.0, 1.0, 1.0], threshold=0.9, size=8))
        0.25
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1]. Received: {threshold}")
    relative, nonzero = _relative(singular_values)
    count = relative.shape[-1]
    size = count if size is None else operator.index(size)
    if size < 1:
        raise ValueError(f"size must be at least 1. Received: {size}")
    slack = 10 * count * np.finfo(np.float64).eps  # rounding of the SVD, of the sum and of the threshold itself
    held = np.cumsum(relative, axis=-1)  # (..., count)
    short = held < (threshold - slack) * held[..., -1:]  # compared with its own last entry, so never all of them
    return np.where(nonzero, (1 + short.sum(axis=-1)) / size, 0.0)[()]


def stable_rank(singular_values: npt.ArrayLike) -> np.ndarray:
    """Stable rank ‖W‖_F² / σ₁² (Rudelson & Vershynin 2007): smooth, and below the rank.

    Args:
        singular_values: (..., count), descending and nonnegative.

    Returns:
        float64 array of shape (...), in [1, count]; 0 for the zero product.

    Example:
        (2² + 1² + 1²) / 2² = 1.5.

        >>> float(stable_rank([2.0, 1.0, 1.0]))
        1.5
    """
    relative, _ = _relative(singular_values)
    return np.square(relative).sum(axis=-1)


def effective_rank(singular_values: npt.ArrayLike) -> np.ndarray:
    """Effective rank: exp of the entropy of σ/Σσ (Roy & Vetterli 2007).

    Args:
        singular_values: (..., count), descending and nonnegative.

    Returns:
        float64 array of shape (...), in [1, count] up to rounding; 0 for the zero product.

    Example:
        Equal values count in full; zeros do not count.

        >>> float(effective_rank([5.0, 5.0, 0.0]).round(12))
        2.0
    """
    relative, nonzero = _relative(singular_values)
    share = relative / np.where(nonzero, relative.sum(axis=-1), 1.0)[..., np.newaxis]  # (..., count)
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1)  # 0 log 0 = 0
    return np.where(nonzero, np.exp(entropy), 0.0)[()]


def participation_ratio(singular_values: npt.ArrayLike) -> np.ndarray:
    """Participation ratio (Σσ²)² / Σσ⁴: how many singular values share the energy ‖W‖_F² = Σσ².

    Among ranks it is the one that a few large values move most: it lies between the stable rank and its square.

    Args:
        singular_values: (..., count), descending and nonnegative.

    Returns:
        float64 array of shape (...), in [1, count]; 0 for the zero product.

    Example:
        (4 + 1 + 1)² / (16 + 1 + 1) = 2.

        >>> float(participation_ratio([2.0, 1.0, 1.0]))
        2.0
    """
    relative, nonzero = _relative(singular_values)
    energy = np.square(relative)
    return np.square(energy.sum(axis=-1)) / np.where(nonzero, np.square(energy).sum(axis=-1), 1.0)


def nuclear_norm(singular_values: npt.ArrayLike) -> np.ndarray:
    """Nuclear norm ‖W‖_* = Σσ (eqs. 3 and 4 of the paper).

    Args:
        singular_values: (..., count), nonnegative.

    Returns:
        float64 array of shape (...), in the units of the singular values.

    Example:
        >>> float(nuclear_norm([8.0, 3.0]))
        11.0
    """
    return np.asarray(singular_values, dtype=np.float64).sum(axis=-1)


def _relative(singular_values):
    """σ/σ₁, so that no scale overflows when squared or summed, and a mask of the nonzero products."""
    sigma = np.asarray(singular_values, dtype=np.float64)
    largest = sigma[..., :1]  # (..., 1)
    return sigma / np.where(largest > 0, largest, 1.0), largest[..., 0] > 0
