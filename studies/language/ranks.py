"""Ranks of a language model's attention by decay: figure 4 left, and what must be true of it."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from studies.curves import SYMBOLS, decay_colours, draw_band, draw_legend
from studies.runs import Run, products
from studies.verdict import Case, Claim

PAIRS = ("qk", "vo")
#: Between two decays, as 2ΔλΣη: less time than half of gradient flow's time constant shows no difference in rank.
ENOUGH = 0.5


def mean_curve(run: Run, pair: str, quantity: str = "pseudo_rank") -> np.ndarray:
    """Mean over layers and heads `(readings,)`."""
    return np.mean([curves[quantity] for (kind, _), curves in run.curves.items() if kind == pair], axis=0)


def draw(runs: Sequence[Run]) -> Figure:
    """Above: mean pseudo rank over training, a column a product; below: the same by layer, at the end."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    over_time, by_layer = figure.subplots(2, 2, sharey=True)
    drawn = [run for run in runs if run.learned]
    colours = decay_colours(run.decay for run in drawn)
    for pair, above, below in zip(PAIRS, over_time, by_layer, strict=True):
        for decay, colour in colours.items():
            same = [run for run in drawn if run.decay == decay]
            curves = [mean_curve(run, pair) for run in same]
            draw_band(above, same[0].steps, curves, color=colour, label=f"λ = {decay:g}")
            layers = [layer for kind, layer in products(same) if kind == pair]
            ends = [[run.curves[pair, layer]["pseudo_rank"][-1] for layer in layers] for run in same]  # (seeds, layers)
            below.plot(np.add(layers, 1), np.mean(ends, axis=0), "o-", color=colour)
            below.set_xticks(np.add(layers, 1))
        if drawn:
            null = np.mean([mean_curve(run, pair, "pseudo_rank_null") for run in drawn], axis=0)
            above.plot(drawn[0].steps, null, "k:", linewidth=1, label="Gaussian null")
            below.axhline(null[-1], color="k", linestyle=":", linewidth=1)
        above.set(xlabel="step", ylim=(0, 1))
        above.set_title(f"pseudo rank of {SYMBOLS[pair]}, mean of layers and heads", fontsize="medium")
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
    return [_learned(runs, study), *(_order(runs, pair, study) for pair in PAIRS)]


def _learned(runs, study):
    cases = [Case(str(run), 1.0, float(run.learned), 0.0) for run in runs]
    statement = "every run ends, and does better on held-out text than the frequencies of its tokens"
    return Claim(f"{study}.learned", "section 4.2", statement, cases)


def _order(runs, pair, study):
    """On each seed, the rank at the end is lower with the next larger λ, where there was time for that to show."""
    cases, remarks = [], []
    runs = [run for run in runs if run.learned]
    for decay in sorted({run.decay for run in runs}):
        ends = [mean_curve(run, pair)[-1] for run in runs if run.decay == decay]
        remarks.append(f"λ={decay:g} {np.mean(ends):.3f}")
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
        remark=f"measured is the difference; means over seeds: {', '.join(remarks)}" if remarks else "",
    )
