"""Chains of L factors, W = A₁ A₂ … A_L, and the Schatten quasi-norm that L2 on them pays for (Prop. A.5 of the paper).

A chain is a sequence of matrices that can be multiplied, each of shape (..., rows, columns) with leading axes that
broadcast; L = 2 is the pair A = A₁, B = A₂ᵀ. In the paper A₁ has shape (q, r) and the middle ones (r, r); the shape of
A_L, (q, r) again, is a misprint: only with (r, q) does the product exist.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rankscope.factors.balance import imbalance, squared_norm
from rankscope.factors.linear_algebra import largest_entries, singular_values_of
from rankscope.factors.spectrum import nuclear_norm, reduce_rows, singular_values


def schatten_norm(singular_values: npt.ArrayLike, p: float) -> np.ndarray:
    """Schatten (quasi-)norm (Σ σ^p)^{1/p}: nuclear for p = 1, Frobenius for p = 2, spectral for p = ∞.

    Below p = 1 it is a quasi-norm: the triangle inequality holds for its p-th power only.

    Args:
        singular_values: (..., count), nonnegative, in any order.
        p: > 0.

    Returns:
        float64 array of shape (...), in the units of the singular values; 0 for the zero matrix.

    Raises:
        ValueError: for p that is not positive.

    Example:
        √(3² + 4²) and (√9 + √4)².

        >>> float(schatten_norm([4.0, 3.0], 2)), float(schatten_norm([9.0, 4.0], 0.5).round(12))
        (5.0, 25.0)
    """
    if not p > 0:
        raise ValueError(f"p must be positive. Received: {p}")
    sigma = np.asarray(singular_values, dtype=np.float64)
    largest = sigma.max(axis=-1)  # (...)
    # In units of the largest, so that no power over- or underflows.
    relative = sigma / np.where(largest > 0, largest, 1.0)[..., np.newaxis]  # (..., count)
    return largest * (relative**p).sum(axis=-1) ** (1 / p)


def chain_imbalances(factors: Sequence[npt.ArrayLike]) -> list[np.ndarray]:
    """Imbalances A_lᵀ A_l − A_{l+1} A_{l+1}ᵀ of neighbours, for l = 1 … L − 1 (Prop. A.5).

    Gradient flow with the penalty (λ/2) Σ‖A_l‖² takes each to 0 as e^{−2λt}, whatever L (the proof of Lemma A.1).

    Args:
        factors: the chain A₁ … A_L, L ≥ 2.

    Returns:
        List of L − 1 float64 arrays of shape (..., inner, inner), symmetric, in squared units of the factors.

    Raises:
        ValueError: for fewer than two factors, or neighbours that cannot be multiplied.

    Example:
        4² − 2² and 2² − 1².

        >>> [q.tolist() for q in chain_imbalances([[[4.0]], [[2.0]], [[1.0]]])]
        [[[12.0]], [[3.0]]]
    """
    return [imbalance(left, np.swapaxes(right, -1, -2)) for left, right in pairwise(_checked(factors))]


def chain_gap(factors: Sequence[npt.ArrayLike]) -> np.ndarray:
    """(1/L) Σ‖A_l‖_F² − ‖A₁ … A_L‖_{2/L}^{2/L}, the nuclear gap of a chain; for L = 2 the nuclear gap itself.

    Never negative (Hölder's inequality for Schatten norms, then that of the means), and 0 for a balanced chain. Never
    clamped either: each singular value that should be 0 is 1e-16 of the largest by rounding, and enters by its power
    2/L: expect errors of 1e-8 for L = 4 and a rank-deficient product.

    Args:
        factors: the chain A₁ … A_L, L ≥ 2.

    Returns:
        float64 array of shape (...), ≥ 0 up to rounding, in squared units of the factors.

    Raises:
        ValueError: as `chain_imbalances`.

    Example:
        (16 + 4 + 1)/3 − (4 · 2 · 1)^{2/3} = 7 − 4.

        >>> float(chain_gap([[[4.0]], [[2.0]], [[1.0]]]).round(12))
        3.0
    """
    factors = _reduced(factors)
    length, power = len(factors), 2 / len(factors)
    mean_square = sum(squared_norm(factor) for factor in factors) / length
    # The product of L factors may be beyond float64: those of size 1 are multiplied, and 2^(2 Σ sizes / L) follows.
    sizes = [np.frexp(largest_entries(factor))[1] for factor in factors]  # powers of two, (...) each
    factors = [np.ldexp(x, -size[..., np.newaxis, np.newaxis]) for x, size in zip(factors, sizes, strict=True)]
    sigma = singular_values(reduce(np.matmul, factors[:-1]), np.swapaxes(factors[-1], -1, -2))  # (..., inner)
    whole, rest = np.divmod(2 * reduce(np.add, sizes), length)
    return mean_square - np.ldexp(schatten_norm(sigma, power) ** power * np.exp2(rest / length), whole)


def chain_gap_bound(factors: Sequence[npt.ArrayLike]) -> np.ndarray:
    """Right side of Prop. A.5 of the paper: (r/L) Σ‖A_l‖_*^{L−1} e^{2/L} L^{4/L} ε^{1/L}, ε the largest ‖imbalance‖_*.

    It bounds the gap, very loosely, where `chain_bound_applies`. Elsewhere it may be too small from L = 3 on: it has
    the units of A^{L−1+2/L} against A² of the gap, and so loses to the gap of small factors. Without the sum and 1/L,
    the l-th term bounds | ‖A₁ … A_L‖_{2/L}^{2/L} − ‖A_l‖_F² |.

    Args:
        factors: the chain A₁ … A_L, L ≥ 2; r is its (largest) inner dimension.

    Returns:
        float64 array of shape (...), ≥ 0.

    Raises:
        ValueError: as `chain_imbalances`, and where the bound is too large or too small for float64, as it may be of
            chains that are long and far from size 1.

    Example:
        r = 1, L = 2, ε = 25 − 9: ½(5 + 3) · e · 4 · √16 = 64e, where the gap is 2 and Prop. A.4 says 16.

        >>> float(chain_gap_bound([[[5.0]], [[3.0]]])), 64 * np.e
        (173.97003..., 173.97003...)
    """
    factors = _reduced(factors)
    length, inner = len(factors), max(factor.shape[-1] for factor in factors[:-1])
    largest, norms = _largest_imbalance(factors), [_nuclear_norm(factor) for factor in factors]
    with np.errstate(over="ignore", under="ignore"):
        powers = sum(norm ** (length - 1) for norm in norms)
        bound = inner / length * powers * (np.exp(2) * length**4 * largest) ** (1 / length)
    nonzero = (largest > 0) & (sum(norms) > 0)
    if np.any(nonzero & ~((bound > np.finfo(np.float64).tiny) & np.isfinite(bound))):
        raise ValueError(
            f"Prop. A.5's bound takes the power {length - 1} of nuclear norms, and float64 cannot hold that of these "
            f"{length} factors. Received: nuclear norms {', '.join(f'{np.max(norm):g}' for norm in norms)}"
        )
    return bound


def chain_bound_applies(factors: Sequence[npt.ArrayLike]) -> np.ndarray:
    """Whether Prop. A.5's assumption ε ≤ min_l ‖A_l‖_*^L / L⁴ holds, ε the largest ‖imbalance‖_*.

    Its two sides differ in units for L ≥ 3: chains that are small enough never meet it, however balanced.

    Args:
        factors: the chain A₁ … A_L, L ≥ 2.

    Returns:
        bool array of shape (...).

    Raises:
        ValueError: as `chain_imbalances`.

    Example:
        4² / 2⁴ = 1, against 4.1² − 4² = 0.81 and 4.2² − 4² = 1.64.

        >>> bool(chain_bound_applies([[[4.0]], [[4.1]]])), bool(chain_bound_applies([[[4.0]], [[4.2]]]))
        (True, False)
    """
    factors = _reduced(factors)
    smallest = reduce(np.minimum, [_nuclear_norm(factor) for factor in factors])
    # A power that is infinity or 0 in float64 compares as the true one: rounding leaves ε at 0 or far above 1e-300.
    with np.errstate(over="ignore", under="ignore"):
        return _largest_imbalance(factors) <= smallest ** len(factors) / len(factors) ** 4


def _checked(factors):
    factors = [np.asarray(factor, dtype=np.float64) for factor in factors]
    shapes = [factor.shape for factor in factors]
    if len(factors) < 2:
        raise ValueError(f"a chain needs at least two factors. Received: shapes {shapes}")
    if any(left[-1] != right[-2] for left, right in pairwise(shapes)):
        raise ValueError(f"each factor must have as many rows as the one before has columns. Received: shapes {shapes}")
    return factors


def _reduced(factors):
    """The chain with at most r outer rows and columns: the same spectrum, norms and imbalances (see `reduce_rows`)."""
    first, *middle, last = _checked(factors)
    return [reduce_rows(first), *middle, np.swapaxes(reduce_rows(np.swapaxes(last, -1, -2)), -1, -2)]


def _largest_imbalance(factors):
    return reduce(np.maximum, [_nuclear_norm(q) for q in chain_imbalances(factors)])


def _nuclear_norm(matrix):
    return nuclear_norm(singular_values_of(matrix))
