"""Factors as float64 arrays within a range, and the decompositions of them, on one thread of BLAS.

**Range.** Balance takes squares of squares of the entries. So the largest entry of each matrix, in magnitude, must lie
between SMALLEST = 1e-70 and LARGEST = 1e70, or the matrix must be zero: there every number is exact to rounding.
All of float32 and bfloat16 is within. Other factors are refused by whatever squares them, and as a FactorPair: their
fourth powers are 0 or infinity. Singular values of A Bᵀ alone ask for less: the largest entry of A, that of B and
their product must lie between 1e-290 and 1e290. Ranks are free of scale.
"""

import numpy as np
import numpy.typing as npt

from rankscope.blas import one_blas_thread

SMALLEST, LARGEST = 1e-70, 1e70
_OF_PRODUCTS = 1e-290, 1e290


def as_factor(factor: npt.ArrayLike) -> np.ndarray:
    """A factor in float64.

    Args:
        factor: (..., rows, key_dim), real.

    Returns:
        The same values; not copied where they are float64 already.

    Raises:
        ValueError: where a matrix is neither zero nor within the range above.

    Example:
        >>> as_factor([[1, 2]]).dtype
        dtype('float64')
        >>> as_factor([[1e-80]])
        Traceback (most recent call last):
        ...
        ValueError: the largest entry of a factor must lie between 1e-70 and 1e+70 in magnitude. Received: 1e-80
    """
    factor = np.asarray(factor, dtype=np.float64)
    check_range(factor)
    return factor


def check_range(factor: np.ndarray) -> None:
    """Refuse a factor of which a matrix is outside the range; arguments and errors as of `as_factor`."""
    largest = largest_entries(factor)
    wrong = _outside(largest, SMALLEST, LARGEST)
    if wrong.any():
        raise ValueError(
            f"the largest entry of a factor must lie between {SMALLEST:g} and {LARGEST:g} in magnitude. "
            f"Received: {largest[wrong].flat[0]:g}"
        )


def check_product_range(a: np.ndarray, b: np.ndarray) -> None:
    """Refuse factors whose product A Bᵀ float64 cannot hold.

    Args:
        a: (..., rows_a, key_dim), float64.
        b: (..., rows_b, key_dim), float64; leading axes broadcast with those of `a`.

    Raises:
        ValueError: where the largest entries of two matrices, or their product, are neither 0 nor within the range
            that the module states for singular values.

    Example:
        >>> check_product_range(np.array([[1e-200]]), np.array([[1e-200]]))
        Traceback (most recent call last):
        ...
        ValueError: the largest entries of two factors and their product must lie between ... 1e-200 and 1e-200
    """
    left, right = np.broadcast_arrays(largest_entries(a), largest_entries(b))
    with np.errstate(over="ignore", under="ignore"):
        both = left * right
    wrong = _outside(left, *_OF_PRODUCTS) | _outside(right, *_OF_PRODUCTS)
    wrong |= (left > 0) & (right > 0) & ~((both >= _OF_PRODUCTS[0]) & (both <= _OF_PRODUCTS[1]))
    if wrong.any():
        raise ValueError(
            "the largest entries of two factors and their product must lie between {:g} and {:g} in magnitude. "
            "Received: {:g} and {:g}".format(*_OF_PRODUCTS, left[wrong].flat[0], right[wrong].flat[0])
        )


def largest_entries(factor: np.ndarray) -> np.ndarray:
    """The largest magnitude within each matrix: (..., rows, columns) → (...), float64; 0 for an empty one.

    Example:
        >>> largest_entries(np.array([[[1.0, -3.0]], [[0.0, 0.0]]])).tolist()
        [3.0, 0.0]
    """
    high, low = factor.max(axis=(-2, -1), initial=0.0), factor.min(axis=(-2, -1), initial=0.0)
    return np.maximum(np.float64(high), np.abs(np.float64(low)))


def _outside(largest, smallest_allowed, largest_allowed):
    """Written so that NaN passes: it is FactorPair that looks for it."""
    return (largest > largest_allowed) | ((largest > 0) & (largest < smallest_allowed))


def triangle(factor: np.ndarray) -> np.ndarray:
    """R of the QR decomposition of each matrix: (..., rows, columns) → (..., min(rows, columns), columns)."""
    with one_blas_thread:
        return np.linalg.qr(factor, mode="r")


def singular_values_of(matrix: np.ndarray) -> np.ndarray:
    """Singular values of each matrix, descending: (..., rows, columns) → (..., min(rows, columns))."""
    with one_blas_thread:
        return np.linalg.svd(matrix, compute_uv=False)


def eigenvalues_of(matrix: np.ndarray) -> np.ndarray:
    """Eigenvalues of each symmetric matrix, ascending: (..., n, n) → (..., n)."""
    with one_blas_thread:
        return np.linalg.eigvalsh(matrix)
