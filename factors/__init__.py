"""Factor pairs (A, B) and all that is measured of their product A Bᵀ without forming it; NumPy only, no files."""

from factors.balance import (
    balance_discrepancy,
    balance_relative,
    frobenius_bound,
    gram,
    imbalance,
    nuclear_gap,
)
from factors.measure import NULL_QUANTITIES, QUANTITIES, Measurement, measure
from factors.null import null
from factors.pair import FactorPair, NonFiniteError
from factors.spectrum import effective_rank, nuclear_norm, pseudo_rank, singular_values, stable_rank
from factors.theory import nuclear_gap_bound

__all__ = [
    "NULL_QUANTITIES",
    "QUANTITIES",
    "FactorPair",
    "Measurement",
    "NonFiniteError",
    "balance_discrepancy",
    "balance_relative",
    "effective_rank",
    "frobenius_bound",
    "gram",
    "imbalance",
    "measure",
    "nuclear_gap",
    "nuclear_gap_bound",
    "nuclear_norm",
    "null",
    "pseudo_rank",
    "singular_values",
    "stable_rank",
]
