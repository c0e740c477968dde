"""Chains of L matrices: Prop. A.5, the steps of its proof, and deep linear networks that balance while they train.

Here Q_l is the imbalance A_lᵀA_l − A_{l+1}A_{l+1}ᵀ, ε the largest ‖Q_l‖_*, P is ‖A₁ … A_L‖_{2/L}^{2/L}, and the gap
(1/L) Σ‖A_l‖² − P.
"""

from collections.abc import Callable
from itertools import product

from matplotlib.axes import Axes

from rankscope.studies.study import StudyWriter
from rankscope.studies.theory.chains import bounds, dynamics, proof
from rankscope.studies.theory.chains.descent import descend
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import Claim


def run(settings: TheorySettings, writer: StudyWriter) -> tuple[list[Claim], Callable[[Axes], None]]:
    """Try Prop. A.5 on random and on trained chains; write `chain_balance`. Inside `float64()`.

    Returns:
        The claims, and a function that draws imbalances and gaps over time.
    """
    rows, seeds = settings.model.hidden_dim, settings.seeds
    inner = min(rows, settings.model.key_dim)  # the proposition has q ≥ r
    trials = {
        f"L={depth} q={q} r={r} seed={seed}": bounds.random_chains(seed, depth, q, r)
        for depth, (q, r), seed in product(bounds.DEPTHS, dict.fromkeys([(rows, inner), (1, 1), (5, 2), (3, 3)]), seeds)
    }
    descents = descend(settings)
    writer.table("chain_balance", [row for chains in descents for row in chains.rows()])
    claims = [
        bounds.shape(max(rows, inner + 1), inner),
        *bounds.printed_bounds(trials, seeds),
        bounds.without_assumption(seeds),
        *proof.steps(trials, seeds),
        *bounds.better_bounds(trials, seeds),
        *dynamics.claims(descents),
    ]
    return claims, lambda axis: dynamics.draw(axis, descents)
