"""Factor pairs (A, B) and all that is measured of their product A Bᵀ without forming it; NumPy only, no files."""

from rankscope.factors.balance import (
    balance_discrepancy,
    balance_relative,
    frobenius_bound,
    gram,
    imbalance,
    nuclear_gap,
)
from rankscope.factors.bounds import (
    nuclear_gap_bound,
    nuclear_gap_bound_frobenius,
    nuclear_gap_bound_sharp,
    nuclear_gap_lower_bound,
)
from rankscope.factors.chain import chain_bound_applies, chain_gap, chain_gap_bound, chain_imbalances, schatten_norm
from rankscope.factors.measure import NULL_QUANTITIES, PREMISE, PREMISE_NULLS, QUANTITIES, Measurement, measure
from rankscope.factors.null import null
from rankscope.factors.pair import PRODUCTS, FactorPair, NonFiniteError
from rankscope.factors.premise import diagonality, row_norm_agreement, row_norms
from rankscope.factors.spectrum import effective_rank, nuclear_norm, pseudo_rank, singular_values, stable_rank
from rankscope.factors.theory import (
    adamw_equivalent_l2,
    adamw_rest_gradient,
    critical_singular_value,
    imbalance_half_life,
    mode_strength,
    noise_floor,
    predicted_imbalance,
    shrinkage,
)

__all__ = [
    "NULL_QUANTITIES",
    "PREMISE",
    "PREMISE_NULLS",
    "PRODUCTS",
    "QUANTITIES",
    "FactorPair",
    "Measurement",
    "NonFiniteError",
    "adamw_equivalent_l2",
    "adamw_rest_gradient",
    "balance_discrepancy",
    "balance_relative",
    "chain_bound_applies",
    "chain_gap",
    "chain_gap_bound",
    "chain_imbalances",
    "critical_singular_value",
    "diagonality",
    "effective_rank",
    "frobenius_bound",
    "gram",
    "imbalance",
    "imbalance_half_life",
    "measure",
    "mode_strength",
    "noise_floor",
    "nuclear_gap",
    "nuclear_gap_bound",
    "nuclear_gap_bound_frobenius",
    "nuclear_gap_bound_sharp",
    "nuclear_gap_lower_bound",
    "nuclear_norm",
    "null",
    "predicted_imbalance",
    "pseudo_rank",
    "row_norm_agreement",
    "row_norms",
    "schatten_norm",
    "shrinkage",
    "singular_values",
    "stable_rank",
]
