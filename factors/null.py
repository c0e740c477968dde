"""The matched null: what the same quantities are for Gaussian factors of the same shapes and norms.

A tall random pair is already nearly balanced and nearly tight (nuclear norm / Frobenius bound is 0.992 at 4096 × 128):
a measured number means something only beside this one.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rankscope.factors.balance import gram, squared_norm
from rankscope.factors.pair import repeat_heads
from rankscope.factors.premise import diagonality, row_norms
from rankscope.factors.spectrum import effective_rank, nuclear_norm, pseudo_rank, singular_values, stable_rank


def null(pair, draws=16, seed=0):
    """Mean of each quantity over Gaussian pairs with the shapes and the Frobenius norms of the given one.

    Ranks are free of scale, and the other two follow in closed form from draws of unit norm. With α = ‖A‖, β = ‖B‖, ν
    the nuclear norm of a unit draw and G its Grams,

        nuclear norm / Frobenius bound = ν · 2αβ / (α² + β²)
        ‖Q‖_F² = α⁴ ‖G_A‖² − 2 α²β² ⟨G_A, G_B⟩ + β⁴ ‖G_B‖²

    so the draws are made once per shape and kept. With grouped heads, balance_relative is that of the group: its
    heads stacked along the rows, as in `measure`.

    Args:
        pair: a FactorPair.
        draws: number of Gaussian pairs, ≥ 1. The means of sixteen are off by 2 % (balance, stable rank) or 0.3 % (the
            rest) at 64 × 16, and by a tenth of that at 4096 × 128.
        seed: of the draws.

    Returns:
        dict of float64 arrays of shape (heads,): pseudo_rank, pseudo_rank_hidden, stable_rank, effective_rank,
        nuclear_ratio, balance_relative, row_norm_agreement, diagonality_a and diagonality_b, in the units of their
        namesakes. A zero factor makes the product zero: ranks and ratio are 0. balance_relative keeps its own meaning,
        2 for one zero factor and 0 for two, and so do agreement and diagonality.

    Example:
        With key_dim 1 chance has no say: one singular value, and balance depends on the norms 5 and 3 alone.

        >>> from rankscope.factors.pair import FactorPair
        >>> pair = FactorPair("qk", 0, "attention", a=np.array([[[3.0], [4.0]]]), b=np.array([[[3.0], [0.0]]]))
        >>> values = null(pair)
        >>> float(values["pseudo_rank"][0]), float(values["pseudo_rank_hidden"][0])
        (1.0, 0.5)
        >>> float(values["nuclear_ratio"][0].round(12)), 15 / 17  # σ₁ = 15, bound ½(25 + 9) = 17
        (0.882352941176, 0.8823529411764706)
        >>> float(values["balance_relative"][0].round(12)), 16 / 17  # |25 − 9| / ½(25 + 9)
        (0.941176470588, 0.9411764705882353)
    """
    return matched_null(pair.a.shape, pair.b.shape, squared_norm(pair.a), squared_norm(pair.b), draws, seed)


def matched_null(shape_a, shape_b, squares_a, squares_b, draws=16, seed=0):
    """The null of `null`, from shapes and norms alone.

    Args:
        shape_a: (heads of a, rows of a, key_dim).
        shape_b: (heads of b, rows of b, key_dim); the heads of one divide those of the other.
        squares_a: ‖A‖_F² of each head of a, shape (heads of a,).
        squares_b: ‖B‖_F² of each head of b, shape (heads of b,).
        draws: number of Gaussian pairs.
        seed: of the draws.

    Returns:
        As `null`.

    Example:
        >>> values = matched_null((1, 2, 1), (1, 2, 1), np.array([25.0]), np.array([9.0]))
        >>> values["nuclear_ratio"].round(12).tolist()
        [0.882352941176]
    """
    (heads_a, rows_a, key_dim), (heads_b, rows_b, _) = shape_a, shape_b
    heads, groups = max(heads_a, heads_b), min(heads_a, heads_b)
    alone = _unit_draws(rows_a, rows_b, key_dim, draws, seed)
    stacked = _unit_draws(heads_a // groups * rows_a, heads_b // groups * rows_b, key_dim, draws, seed)

    share_a, share_b = _shares(repeat_heads(squares_a, heads), repeat_heads(squares_b, heads))  # (heads,)
    nonzero = (share_a > 0) & (share_b > 0)
    quantities = {name: np.where(nonzero, mean, 0.0) for name, mean in alone.mean_ranks.items()}
    quantities["nuclear_ratio"] = 2 * np.sqrt(share_a * share_b) * alone.nuclear_norm.mean()

    share_a, share_b = _shares(*(s.reshape(groups, -1).sum(axis=1, keepdims=True) for s in (squares_a, squares_b)))
    cross = 2 * share_a * share_b * stacked.gram_overlap  # (groups, draws)
    square = np.square(share_a * stacked.gram_a) - cross + np.square(share_b * stacked.gram_b)
    size = 0.5 * (share_a * stacked.gram_a + share_b * stacked.gram_b)
    # Where the Grams coincide (key_dim 1, equal norms) rounding may leave the square below 0.
    relative = np.sqrt(np.maximum(square, 0.0)) / np.where(size > 0, size, 1.0)
    quantities["balance_relative"] = repeat_heads(relative.mean(axis=1), heads)

    # (groups, draws, K): α²x and β²y sum to one over the rows of both.
    apart = share_a[..., np.newaxis] * stacked.row_norms_a - share_b[..., np.newaxis] * stacked.row_norms_b
    quantities["row_norm_agreement"] = repeat_heads(1.0 - np.abs(apart).sum(axis=-1).mean(axis=1), heads)
    for name, mean, squares in (
        ("diagonality_a", alone.diagonality_a, squares_a),
        ("diagonality_b", alone.diagonality_b, squares_b),
    ):
        quantities[name] = repeat_heads(np.where(squares > 0, mean, 0.0), heads)
    return quantities


def _shares(squares_a, squares_b):
    """α² and β² in units of α² + β²; both 0 for two zero factors."""
    total = squares_a + squares_b
    total = np.where(total > 0, total, 1.0)
    return squares_a / total, squares_b / total


class _Draws(NamedTuple):
    """Statistics of Gaussian pairs with ‖A‖ = ‖B‖ = 1; arrays have shape (draws,)."""

    mean_ranks: dict
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
    ranks = {
        "pseudo_rank": pseudo_rank(sigma),
        "pseudo_rank_hidden": pseudo_rank(sigma, size=min(rows_a, rows_b)),
        "stable_rank": stable_rank(sigma),
        "effective_rank": effective_rank(sigma),
    }
    gram_a, gram_b = gram(a), gram(b)  # (draws, K, K)
    return _Draws(
        mean_ranks={name: float(values.mean()) for name, values in ranks.items()},
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
