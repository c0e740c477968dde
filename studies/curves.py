"""Curves of runs that differ in decay: a colour a decay, a band over the seeds."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankscope.factors import PRODUCTS
from rankscope.reports.words import mathtext_of
from rankscope.studies.runs import Run, mean_curve

SYMBOLS = {kind: mathtext_of(PRODUCTS[kind].symbol) for kind in PRODUCTS}


def decay_colours(decays: Iterable[float]) -> dict[float, Any]:
    """λ → colour, the stronger the darker."""
    ordered = sorted(set(decays))
    return dict(zip(ordered, colormaps["viridis_r"](np.linspace(0.05, 1, len(ordered))), strict=True))


def draw_band(axis: Axes, steps: np.ndarray, curves: Sequence[np.ndarray], **style) -> None:
    """Mean over seeds, from the smallest to the largest of them shaded.

    Args:
        axis: to draw on.
        steps: `(readings,)`.
        curves: one of `(readings,)` a seed.
        **style: of the mean's line; its color is that of the band.
    """
    values = np.stack(curves)  # (seeds, readings)
    axis.plot(steps, values.mean(axis=0), **style)
    axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.2, linewidth=0)


def draw_mean_ranks(axis: Axes, runs: Sequence[Run], pair: str) -> None:
    """Pseudo rank of a pair over training, mean of layers and heads, a band a decay, with its null: as in figure 4."""
    for decay, colour in decay_colours(run.decay for run in runs).items():
        same = [run for run in runs if run.decay == decay]
        curves = [mean_curve(run, pair) for run in same]
        draw_band(axis, same[0].steps, curves, color=colour, label=f"λ = {decay:g}")
    if runs:
        null = np.mean([mean_curve(run, pair, "pseudo_rank_null") for run in runs], axis=0)
        axis.plot(runs[0].steps, null, "k:", linewidth=1, label="Gaussian null")
    axis.set(xlabel="step", ylim=(0, 1))
    axis.set_title(f"pseudo rank of {SYMBOLS[pair]}, mean of layers and heads", fontsize="medium")


def draw_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend for several panels; a label that several have is drawn once."""
    handles = dict(pair for axis in axes for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), fontsize="small", frameon=False, loc="outside right upper")
