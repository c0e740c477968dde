"""All that is recorded of a pair, head by head, in one call; and the same of Gaussian factors."""

from dataclasses import dataclass, field

import numpy as np

from rankscope.blas import one_blas_thread
from rankscope.factors.balance import squared_norm
from rankscope.factors.heads import Heads
from rankscope.factors.null import GaussianPairs
from rankscope.factors.pair import FactorPair
from rankscope.factors.premise import row_norms
from rankscope.factors.quantities import QUANTITIES, columns_of


@dataclass(frozen=True, eq=False)
class Measurement:
    """One reading of one pair.

    Args:
        singular_values: (heads, key_dim), float64, descending.
        quantities: one float64 array of shape (heads,) for each column of `columns_of`, in that order.
        row_norms: squared norms of the rows of the paper's two matrices, (groups, key_dim) each, as figure 5 plots
            them; summed over the heads that share the other factor.

    Example:
        >>> Measurement(np.array([[2.0, 1.0]]), {"nuclear_norm": np.array([3.0])}).quantities["nuclear_norm"].tolist()
        [3.0]
    """

    singular_values: np.ndarray = field(repr=False)
    quantities: dict[str, np.ndarray]
    row_norms: tuple[np.ndarray, ...] = field(default=(), repr=False)


def measure(pair: FactorPair, premise: bool = False) -> Measurement:
    """Measure every head of a pair: all that quantities.py lists.

    Spectra, ranks and the nuclear quantities are those of each head, a shared factor repeated for the heads that share
    it. With grouped heads, balance_discrepancy and balance_relative are those of the group, repeated to its heads:
    the group's Grams are summed (AᵀA − Σ BᵀB over the queries of one key), because that is what gradient flow
    conserves and decay drives to 0. nuclear_gap_bound takes each head's own AᵀA − BᵀB, so that gap ≤ bound stays true.

    Args:
        pair: a FactorPair.
        premise: also measure what figure 5 and section 4.4 ask of a trained model. Diagonality is each factor's own,
            row_norm_agreement that of the group, as the balance is.

    Returns:
        Measurement. Everything about a head whose product is zero is a number: its ranks are 0.

    Example:
        A Bᵀ = diag(3, 8): singular values 8 and 3, sum 11, against ½(1 + 4 + 9 + 16) = 15.

        >>> a, b = np.diag([1.0, 2.0])[np.newaxis], np.diag([3.0, 4.0])[np.newaxis]
        >>> reading = measure(FactorPair("qk", 0, "attention", a, b))
        >>> reading.singular_values.tolist()
        [[8.0, 3.0]]
        >>> [float(reading.quantities[name][0]) for name in ("nuclear_norm", "frobenius_bound", "nuclear_gap")]
        [11.0, 15.0, 4.0]
    """
    with one_blas_thread:
        heads = Heads(pair)
        gaussian = GaussianPairs(pair.a.shape, pair.b.shape, heads.squares_a, heads.squares_b)
        quantities = {}
        for column in columns_of(checkpoint=premise):
            quantity = QUANTITIES.get(column)
            if quantity is not None:
                quantities[column] = quantity.measured(heads)
            else:
                quantities[column] = QUANTITIES[column.removesuffix("_null")].expected(gaussian)
        return Measurement(heads.singular_values, quantities, (row_norms(heads.stacked_a), row_norms(heads.stacked_b)))


def null(pair: FactorPair, draws: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """Mean of each quantity over Gaussian pairs with the shapes and the Frobenius norms of the given one.

    Args:
        pair: a FactorPair.
        draws: number of Gaussian pairs, ≥ 1, as of `GaussianPairs`.
        seed: of the draws.

    Returns:
        dict of float64 arrays of shape (heads,), in the units of their namesakes: every quantity that has a null. A
        zero factor makes the product zero: ranks and ratio are 0. balance_relative keeps its own meaning, 2 for one
        zero factor and 0 for two, and so do agreement and diagonality.

    Example:
        With key_dim 1 chance has no say: one singular value, and balance depends on the norms 5 and 3 alone.

        >>> pair = FactorPair("qk", 0, "attention", a=np.array([[[3.0], [4.0]]]), b=np.array([[[3.0], [0.0]]]))
        >>> values = null(pair)
        >>> float(values["pseudo_rank"][0]), float(values["pseudo_rank_hidden"][0])
        (1.0, 0.5)
        >>> float(values["nuclear_ratio"][0].round(12)), 15 / 17  # σ₁ = 15, bound ½(25 + 9) = 17
        (0.882352941176, 0.8823529411764706)
        >>> float(values["balance_relative"][0].round(12)), 16 / 17  # |25 − 9| / ½(25 + 9)
        (0.941176470588, 0.9411764705882353)
    """
    with one_blas_thread:
        gaussian = GaussianPairs(pair.a.shape, pair.b.shape, squared_norm(pair.a), squared_norm(pair.b), draws, seed)
        return {
            name: quantity.expected(gaussian) for name, quantity in QUANTITIES.items() if quantity.expected is not None
        }
