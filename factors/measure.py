"""All that is recorded of a pair, head by head, in one call."""

from dataclasses import dataclass, field

import numpy as np

from rankscope.factors.balance import balance_discrepancy, balance_relative, frobenius_bound, squared_norm
from rankscope.factors.bounds import nuclear_gap_bound
from rankscope.factors.null import matched_null
from rankscope.factors.pair import repeat_heads
from rankscope.factors.premise import diagonality, row_norm_agreement, row_norms
from rankscope.factors.spectrum import (
    effective_rank,
    nuclear_norm,
    pseudo_rank,
    reduce_rows,
    singular_values,
    stable_rank,
)

#: Columns of one reading, in the order of `ranks.csv`.
QUANTITIES = (
    "pseudo_rank",
    "pseudo_rank_hidden",
    "stable_rank",
    "effective_rank",
    "nuclear_norm",
    "frobenius_bound",
    "nuclear_gap",
    "nuclear_gap_bound",
    "balance_discrepancy",
    "balance_relative",
    "nuclear_ratio",
)

#: Those that also have a column `<name>_null`, the value for Gaussian factors of the same shapes and norms.
NULL_QUANTITIES = ("pseudo_rank", "effective_rank", "balance_relative", "nuclear_ratio")

#: What `measure(premise=True)` adds: section 4.4's premise, and the other nulls, one beside each column with a null.
PREMISE = ("row_norm_agreement", "diagonality_a", "diagonality_b")
PREMISE_NULLS = ("pseudo_rank_hidden", "stable_rank", *PREMISE)


@dataclass(frozen=True, eq=False)
class Measurement:
    """One reading of one pair.

    Args:
        singular_values: (heads, key_dim), float64, descending.
        quantities: one float64 array of shape (heads,) for each of QUANTITIES, then `<name>_null` for each of
            NULL_QUANTITIES, in that order; with the premise, those of PREMISE and PREMISE_NULLS, too.
        row_norms: squared norms of the rows of the paper's two matrices, (groups, key_dim) each, as figure 5 plots
            them; summed over the heads that share the other factor.

    Example:
        >>> Measurement(np.array([[2.0, 1.0]]), {"nuclear_norm": np.array([3.0])}).quantities["nuclear_norm"].tolist()
        [3.0]
    """

    singular_values: np.ndarray = field(repr=False)
    quantities: dict
    row_norms: tuple = field(default=(), repr=False)


def measure(pair, premise=False):
    """Measure every head of a pair.

    Spectra, ranks and the nuclear quantities are those of each head, a shared factor repeated for the heads that share
    it. With grouped heads, balance_discrepancy and balance_relative are those of the group, repeated to its heads:
    the group's Grams are summed (AᵀA − Σ BᵀB over the queries of one key), because that is what gradient flow
    conserves and decay drives to 0. nuclear_gap_bound takes each head's own AᵀA − BᵀB, so that gap ≤ bound stays true.
    nuclear_ratio is nuclear_norm / frobenius_bound, in [0, 1], and 0 when both factors are zero.

    Args:
        pair: a FactorPair.
        premise: also measure what figure 5 and section 4.4 ask of a trained model. Diagonality is each factor's own,
            row_norm_agreement that of the group, as the balance is.

    Returns:
        Measurement. Everything about a head whose product is zero is a number: its ranks are 0.

    Example:
        A Bᵀ = diag(3, 8): singular values 8 and 3, sum 11, against ½(1 + 4 + 9 + 16) = 15.

        >>> from rankscope.factors.pair import FactorPair
        >>> a, b = np.diag([1.0, 2.0])[np.newaxis], np.diag([3.0, 4.0])[np.newaxis]
        >>> reading = measure(FactorPair("qk", 0, "attention", a, b))
        >>> reading.singular_values.tolist()
        [[8.0, 3.0]]
        >>> [float(reading.quantities[name][0]) for name in ("nuclear_norm", "frobenius_bound", "nuclear_gap")]
        [11.0, 15.0, 4.0]
    """
    a, b = reduce_rows(pair.a), reduce_rows(pair.b)  # (heads of each, ≤ K, K)
    groups = min(len(a), len(b))
    # The Gram of heads stacked along the rows is the sum of their Grams.
    stacked_a, stacked_b = (factor.reshape(groups, -1, pair.key_dim) for factor in (a, b))  # (groups, rows, K)
    squares_a, squares_b = squared_norm(a), squared_norm(b)  # (heads of each,)
    a, b = repeat_heads(a, pair.heads), repeat_heads(b, pair.heads)  # (heads, ≤ K, K)

    sigma = singular_values(a, b)  # (heads, K)
    nuclear, bound = nuclear_norm(sigma), frobenius_bound(a, b)
    quantities = {
        "pseudo_rank": pseudo_rank(sigma),
        "pseudo_rank_hidden": pseudo_rank(sigma, size=pair.hidden_dim),
        "stable_rank": stable_rank(sigma),
        "effective_rank": effective_rank(sigma),
        "nuclear_norm": nuclear,
        "frobenius_bound": bound,
        "nuclear_gap": bound - nuclear,
        "nuclear_gap_bound": nuclear_gap_bound(a, b),
        "balance_discrepancy": repeat_heads(balance_discrepancy(stacked_a, stacked_b), pair.heads),
        "balance_relative": repeat_heads(balance_relative(stacked_a, stacked_b), pair.heads),
        "nuclear_ratio": nuclear / np.where(bound > 0, bound, 1.0),
    }
    expected = matched_null(pair.a.shape, pair.b.shape, squares_a, squares_b)
    nulls = NULL_QUANTITIES
    if premise:
        quantities["row_norm_agreement"] = repeat_heads(row_norm_agreement(stacked_a, stacked_b), pair.heads)
        quantities |= {"diagonality_a": diagonality(a), "diagonality_b": diagonality(b)}
        nulls += PREMISE_NULLS
    quantities |= {f"{name}_null": expected[name] for name in nulls}
    return Measurement(sigma, quantities, (row_norms(stacked_a), row_norms(stacked_b)))
