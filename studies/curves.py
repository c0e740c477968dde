"""Curves of a study's runs: a colour a decay, a band over the seeds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from rankscope.pictures.curves import Curve, decay_colours, draw_ranks
from rankscope.studies.runs import Run, mean_curve


def draw_mean_ranks(axis: Axes, runs: Sequence[Run], pair: str) -> None:
    """Pseudo rank of a pair over training, mean of layers and heads, a band a decay, with its null: as in figure 4."""
    curves, null = [], None
    for decay, colour in decay_colours(run.decay for run in runs).items():
        same = [run for run in runs if run.decay == decay]
        curves.append(Curve(f"λ = {decay:g}", colour, same[0].steps, [mean_curve(run, pair) for run in same]))
    if runs:
        null = runs[0].steps, np.mean([mean_curve(run, pair, "pseudo_rank_null") for run in runs], axis=0)
    draw_ranks(axis, pair, curves, null)
