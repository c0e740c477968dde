"""Ranks of a vision transformer's attention by decay: what the paper says of figure 4 right."""

from collections.abc import Mapping, Sequence

import numpy as np

from rankscope.studies.decay_sweep import learned_claim
from rankscope.studies.runs import PAIRS, Run, mean_curve, mean_ranks
from rankscope.studies.verdict import Case, Claim
from rankscope.studies.vision.correlation import Correlation, correlation

SOURCE = "section 4.3, figure 4 right"
STRICTLY = -1e-9  # at most this is below 0; mean pseudo ranks differ by far more or not at all


def correlations_of(runs: Sequence[Run]) -> dict[str, Correlation]:
    """Pair → correlation of λ and mean pseudo rank at the end, over all runs that learned.

    Nothing without three runs of two decays.
    """
    learned = [run for run in runs if run.learned]
    decays = np.array([run.decay for run in learned])
    if len(learned) < 3 or len(set(decays)) < 2:
        return {}
    return {pair: correlation(decays, np.array([mean_curve(run, pair)[-1] for run in learned])) for pair in PAIRS}


def claims_of(runs: Sequence[Run], correlations: Mapping[str, Correlation]) -> list[Claim]:
    """Every run learns; strong decay lowers the rank; over all decays the rank falls with λ.

    Args:
        runs: of the sweep.
        correlations: of the same runs.
    """
    learned = [run for run in runs if run.learned]
    return [
        learned_claim(runs, "figure-4-vit", "section 4.3", "tells held-out images apart better than chance"),
        *(_lower(learned, pair) for pair in PAIRS),
        *(_correlated(correlations, pair) for pair in PAIRS),
    ]


def _lower(runs, pair):
    """On each seed, of the largest λ that it has against the smallest."""
    cases = []
    for seed in sorted({run.seed for run in runs}):
        of_seed = sorted((run for run in runs if run.seed == seed), key=lambda run: run.decay)
        weak, strong = of_seed[0], of_seed[-1]
        if strong.decay > weak.decay:
            fall = mean_curve(strong, pair)[-1] - mean_curve(weak, pair)[-1]
            cases.append(Case(f"λ={weak.decay:g} to {strong.decay:g}, seed={seed}", STRICTLY, fall, 0.0))
    return Claim(
        f"figure-4-vit.rank.{pair}",
        SOURCE,
        "on each seed the mean pseudo rank at the end is strictly lower at the largest λ than at the smallest",
        cases,
        "≤",
        remark=f"measured is the difference; means over seeds: {mean_ranks(runs, pair)}" if runs else "",
    )


def _correlated(correlations, pair):
    """The upper end of the interval lies below 0."""
    found = correlations.get(pair)
    return Claim(
        f"figure-4-vit.correlation.{pair}",
        "figure 4, caption",
        "rank reduction correlates strongly with λ: the 95 % interval of Spearman's correlation of λ and mean pseudo "
        "rank over all runs lies below 0",
        [] if found is None else [Case("upper end of the interval", STRICTLY, found.high, 0.0)],
        "≤",
        remark="" if found is None else f"Spearman's {found}; percentile bootstrap over runs",
    )
