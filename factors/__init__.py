"""Factor pairs (A, B) and all that is measured of their product A Bᵀ without forming it; NumPy only, no files.

products.py lists the kinds of product and quantities.py what is measured of each, a row each.
"""

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
from rankscope.factors.measure import Measurement, measure, null
from rankscope.factors.pair import FactorPair, NonFiniteError
from rankscope.factors.premise import diagonality, row_norm_agreement, row_norms
from rankscope.factors.products import ATTENTION_KINDS, KIND_OF_ROLE, PRODUCTS, Product
from rankscope.factors.quantities import QUANTITIES, Quantity, Shown, columns_of, quantities_in
from rankscope.factors.spectrum import (
    effective_rank,
    nuclear_norm,
    participation_ratio,
    pseudo_rank,
    singular_values,
    stable_rank,
)
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
    "ATTENTION_KINDS",
    "KIND_OF_ROLE",
    "PRODUCTS",
    "QUANTITIES",
    "FactorPair",
    "Measurement",
    "NonFiniteError",
    "Product",
    "Quantity",
    "Shown",
    "adamw_equivalent_l2",
    "adamw_rest_gradient",
    "balance_discrepancy",
    "balance_relative",
    "chain_bound_applies",
    "chain_gap",
    "chain_gap_bound",
    "chain_imbalances",
    "columns_of",
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
    "participation_ratio",
    "predicted_imbalance",
    "pseudo_rank",
    "quantities_in",
    "row_norm_agreement",
    "row_norms",
    "schatten_norm",
    "shrinkage",
    "singular_values",
    "stable_rank",
]
