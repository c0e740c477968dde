"""Ranks of a language model's attention by decay: figure 4 left, and what must be true of it."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rankscope.pictures.curves import decay_colours, draw_legend
from rankscope.pictures.symbols import SYMBOLS
from rankscope.studies.curves import draw_mean_ranks
from rankscope.studies.decay_sweep import learned_claim
from rankscope.studies.runs import PAIRS, Run, mean_curve, mean_ranks, products
from rankscope.studies.verdict import Case, Claim

#: Between two decays, as 2ΔλΣη: less time than half of gradient flow's time constant shows no difference in rank.
ENOUGH = 0.5


def draw(runs: Sequence[Run]) -> Figure:
    """Above: mean pseudo rank over training, a column a product; below: the same by layer, at the end."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    over_time, by_layer = figure.subplots(2, 2, sharey=True)
    drawn = [run for run in runs if run.learned]
    colours = decay_colours(run.decay for run in drawn)
    for pair, above, below in zip(PAIRS, over_time, by_layer, strict=True):
        draw_mean_ranks(above, drawn, pair)
        for decay, colour in colours.items():
            same = [run for run in drawn if run.decay == decay]
            layers = [layer for kind, layer in products(same) if kind == pair]
            ends = [[run.curves[pair, layer]["pseudo_rank"][-1] for layer in layers] for run in same]  # (seeds, layers)
            below.plot(np.add(layers, 1), np.mean(ends, axis=0), "o-", color=colour)
            below.set_xticks(np.add(layers, 1))
        if drawn:
            null = np.mean([mean_curve(run, pair, "pseudo_rank_null")[-1] for run in drawn])
            below.axhline(null, color="k", linestyle=":", linewidth=1)
        below.set(xlabel="layer")
        below.set_title(f"pseudo rank of {SYMBOLS[pair]} at the end, by layer", fontsize="medium")
    if drawn:
        draw_legend(figure, over_time)
    return figure


def claims_of(runs: Sequence[Run], study: str) -> list[Claim]:
    """Every run learns, and more decay means a lower rank.

    Args:
        runs: of one sweep.
        study: its name, which the claims' ids begin with.
    """
    better = "does better on held-out text than the frequencies of its tokens"
    return [learned_claim(runs, study, "section 4.2", better), *(_order(runs, pair, study) for pair in PAIRS)]


def _order(runs, pair, study):
    """On each seed, the rank at the end is lower with the next larger λ, where there was time for that to show."""
    cases = []
    runs = [run for run in runs if run.learned]
    for seed in sorted({run.seed for run in runs}):
        of_seed = sorted((run for run in runs if run.seed == seed), key=lambda run: run.decay)
        weak = next(iter(of_seed))
        for strong in itertools.islice(of_seed, 1, None):
            if 2 * (strong.decay - weak.decay) * strong.time[-1] >= ENOUGH:
                fall = mean_curve(strong, pair)[-1] - mean_curve(weak, pair)[-1]
                cases.append(Case(f"λ={weak.decay:g} to {strong.decay:g}, seed={seed}", 0.0, fall, -1e-9))
                weak = strong
    return Claim(
        f"{study}.rank-order.{pair}",
        "figure 4 left",
        "on each seed the mean pseudo rank is strictly lower at the next larger λ",
        cases,
        "≤",
        remark=f"measured is the difference; means over seeds: {mean_ranks(runs, pair)}" if runs else "",
    )
