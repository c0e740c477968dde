"""Curves of runs that differ in decay: a colour a decay, a band over the seeds."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SYMBOLS = {"vo": r"$P\,W_V$", "qk": r"$W_K^\top W_Q$"}


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


def draw_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend for several panels; a label that several have is drawn once."""
    handles = dict(pair for axis in axes for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), fontsize="small", frameon=False, loc="outside right upper")
