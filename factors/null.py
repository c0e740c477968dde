"""The matched null: what the same quantities are for Gaussian factors of the same shapes and norms.

A tall random pair is already nearly balanced and nearly tight (nuclear norm / Frobenius bound is 0.992 at 4096 × 128):
a measured number means something only beside this one.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rankscope.factors.balance import gram
from rankscope.factors.pair import repeat_heads
from rankscope.factors.premise import diagonality, row_norms
from rankscope.factors.spectrum import nuclear_norm, singular_values


class GaussianPairs:
    """Gaussian pairs with the shapes and the Frobenius norms of a given one, and the means of quantities over them.

    Ranks are free of scale, and the others follow in closed form from draws of unit norm. With α = ‖A‖, β = ‖B‖, ν the
    nuclear norm of a unit draw and G its Grams,

        nuclear norm / Frobenius bound = ν · 2αβ / (α² + β²)
        ‖Q‖_F² = α⁴ ‖G_A‖² − 2 α²β² ⟨G_A, G_B⟩ + β⁴ ‖G_B‖²

    so the draws are made once per shape and kept. With grouped heads, what is measured of a group is so here, too: its
    heads stacked along the rows.

    Args:
        shape_a: (heads of a, rows of a, key_dim).
        shape_b: (heads of b, rows of b, key_dim); the heads of one divide those of the other.
        squares_a: ‖A‖_F² of each head of a, shape (heads of a,).
        squares_b: ‖B‖_F² of each head of b, shape (heads of b,).
        draws: number of Gaussian pairs, ≥ 1. The means of sixteen are off by 2 % (balance, stable rank) or 0.3 % (the
            rest) at 64 × 16, and by a tenth of that at 4096 × 128.
        seed: of the draws.

    Example:
        With key_dim 1 chance has no say: σ₁ = 15 and the bound is ½(25 + 9) = 17.

        >>> GaussianPairs((1, 2, 1), (1, 2, 1), np.array([25.0]), np.array([9.0])).nuclear_ratio().round(12).tolist()
        [0.882352941176]
    """

    def __init__(
        self,
        shape_a: tuple[int, int, int],
        shape_b: tuple[int, int, int],
        squares_a: np.ndarray,
        squares_b: np.ndarray,
        draws: int = 16,
        seed: int = 0,
    ):
        (heads_a, rows_a, key_dim), (heads_b, rows_b, _) = shape_a, shape_b
        heads, groups = max(heads_a, heads_b), min(heads_a, heads_b)
        self.hidden_dim, self.key_dim, self._count = min(rows_a, rows_b), key_dim, heads
        self._alone = _unit_draws(rows_a, rows_b, key_dim, draws, seed)
        self._stacked = _unit_draws(heads_a // groups * rows_a, heads_b // groups * rows_b, key_dim, draws, seed)
        squares = [repeat_heads(squares_a, heads), repeat_heads(squares_b, heads)]
        self._squares = dict(zip("ab", squares, strict=True))
        self._share_a, self._share_b = _shares(*squares)  # (heads,)
        of_groups = (values.reshape(groups, -1).sum(axis=1, keepdims=True) for values in (squares_a, squares_b))
        self._group_a, self._group_b = _shares(*of_groups)  # (groups, 1)

    def mean_over_spectra(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Mean of a function of the singular values that has no units, such as a rank; 0 where a factor is zero.

        Args:
            function: (draws, key_dim) → (draws,).

        Returns:
            (heads,), float64.
        """
        known = self._alone.means
        if function not in known:
            known[function] = float(function(self._alone.singular_values).mean())
        return np.where((self._share_a > 0) & (self._share_b > 0), known[function], 0.0)

    def nuclear_ratio(self) -> np.ndarray:
        """Mean of nuclear norm / Frobenius bound, (heads,); 0 where a factor is zero."""
        return 2 * np.sqrt(self._share_a * self._share_b) * self._alone.nuclear_norm.mean()

    def balance_relative(self) -> np.ndarray:
        """Mean of the relative imbalance of the group, (heads,): 2 for one zero factor and 0 for two."""
        a, b, stacked = self._group_a, self._group_b, self._stacked
        cross = 2 * a * b * stacked.gram_overlap  # (groups, draws)
        square = np.square(a * stacked.gram_a) - cross + np.square(b * stacked.gram_b)
        size = 0.5 * (a * stacked.gram_a + b * stacked.gram_b)
        # Where the Grams coincide (key_dim 1, equal norms) rounding may leave the square below 0.
        relative = np.sqrt(np.maximum(square, 0.0)) / np.where(size > 0, size, 1.0)
        return repeat_heads(relative.mean(axis=1), self._count)

    def row_norm_agreement(self) -> np.ndarray:
        """Mean of the agreement of row norms of the group, (heads,)."""
        # (groups, draws, K): α²x and β²y sum to one over the rows of both.
        a, b = self._group_a[..., np.newaxis], self._group_b[..., np.newaxis]
        apart = a * self._stacked.row_norms_a - b * self._stacked.row_norms_b
        return repeat_heads(1.0 - np.abs(apart).sum(axis=-1).mean(axis=1), self._count)

    def diagonality(self, factor: str) -> np.ndarray:
        """Mean of the diagonality of factor `"a"` or `"b"`, (heads,); 0 where it is zero."""
        mean = {"a": self._alone.diagonality_a, "b": self._alone.diagonality_b}[factor]
        return np.where(self._squares[factor] > 0, mean, 0.0)


def _shares(squares_a, squares_b):
    """α² and β² in units of α² + β²; both 0 for two zero factors."""
    total = squares_a + squares_b
    total = np.where(total > 0, total, 1.0)
    return squares_a / total, squares_b / total


class _Draws(NamedTuple):
    """Statistics of Gaussian pairs with ‖A‖ = ‖B‖ = 1; arrays have shape (draws,)."""

    singular_values: np.ndarray  # (draws, key_dim)
    means: dict  # function of the singular values → its mean, once it was asked for
    nuclear_norm: np.ndarray
    gram_a: np.ndarray  # ‖G_A‖_F
    gram_b: np.ndarray  # ‖G_B‖_F
    gram_overlap: np.ndarray  # ⟨G_A, G_B⟩
    row_norms_a: np.ndarray  # diagonal of G_A, (draws, key_dim)
    row_norms_b: np.ndarray
    diagonality_a: float  # means over the draws
    diagonality_b: float


@lru_cache(maxsize=256)
def _unit_draws(rows_a, rows_b, key_dim, draws, seed):
    rng = np.random.default_rng(seed)
    a, b = (_unit_gaussians(rng, draws, rows, key_dim) for rows in (rows_a, rows_b))  # (draws, ≤ K, K)
    sigma = singular_values(a, b)  # (draws, K)
    gram_a, gram_b = gram(a), gram(b)  # (draws, K, K)
    return _Draws(
        singular_values=sigma,
        means={},
        nuclear_norm=nuclear_norm(sigma),
        gram_a=np.linalg.norm(gram_a, axis=(-2, -1)),
        gram_b=np.linalg.norm(gram_b, axis=(-2, -1)),
        gram_overlap=np.einsum("nij,nij->n", gram_a, gram_b),
        row_norms_a=row_norms(a),
        row_norms_b=row_norms(b),
        diagonality_a=float(diagonality(a).mean()),
        diagonality_b=float(diagonality(b).mean()),
    )


def _unit_gaussians(rng, draws, rows, key_dim):
    """Gaussian matrices of unit Frobenius norm, with their rows already reduced; (draws, min(rows, key_dim), key_dim).

    The R of a tall Gaussian matrix need not be computed, its distribution is known (Bartlett 1933): independent
    entries, normal above the diagonal and χ with rows, rows − 1, … degrees of freedom on it.
    """
    if rows <= key_dim:
        x = rng.standard_normal((draws, rows, key_dim))
    else:
        x = np.triu(rng.standard_normal((draws, key_dim, key_dim)), 1)
        diagonal = np.arange(key_dim)
        x[:, diagonal, diagonal] = np.sqrt(rng.chisquare(rows - diagonal, size=(draws, key_dim)))
    return x / np.linalg.norm(x, axis=(-2, -1), keepdims=True)
