"""What holds of any pair A, B without training: eqs. 3 to 9, Prop. 3.1 and Prop. A.4, and our sharper bound of the gap.

Random pairs of many shapes, scales and ranks, and a search that climbs towards a violation. Q is AᵀA − BᵀB, the gap
½(‖A‖² + ‖B‖²) − ‖ABᵀ‖_*.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from matplotlib.axes import Axes

from rankscope.studies.study import StudyWriter
from rankscope.studies.theory.balance.gap import gap_bounds
from rankscope.studies.theory.balance.norms import losses, nuclear_norms, proposition_3_1
from rankscope.studies.theory.balance.pairs import balanced_pairs, name_of, random_pairs
from rankscope.studies.theory.balance.panel import draw, rows_of
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import Claim

SHAPES = [(1, 1, 1), (6, 6, 3), (9, 4, 3), (2, 7, 4), (3, 5, 6), (2, 2, 5), (12, 12, 1)]  # rows of A, of B, key_dim


def run(settings: TheorySettings, writer: StudyWriter) -> tuple[list[Claim], Callable[[Axes], None]]:
    """Try section 3.1, Prop. 3.1 and Prop. A.4; write `balance_bounds`.

    Returns:
        The claims, and a function that draws the gap against its bounds.
    """
    model = settings.model
    own = (model.hidden_dim, model.hidden_dim, model.key_dim)
    trials, balanced = {}, {}
    for shape, seed in product(dict.fromkeys([own, *SHAPES]), settings.seeds):
        rng, name = np.random.default_rng([seed, *shape]), name_of(shape, seed)
        trials[name] = random_pairs(rng, shape, model.stddev)
        for rank in {min(shape), max(1, min(shape) // 2)}:
            balanced[f"{name} rank={rank}"] = balanced_pairs(rng, shape, model.stddev, rank)
    rows = rows_of(trials[name_of(own, settings.seeds[0])])
    writer.table("balance_bounds", rows)
    claims = [*nuclear_norms(trials), losses(settings.optimizer.l2, trials), *proposition_3_1(balanced)]
    return [*claims, *gap_bounds(trials, settings.seeds)], lambda axis: draw(axis, rows)
