"""Curves over training: a colour a decay or a run, a band over seeds or heads."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankscope.pictures.symbols import SYMBOLS


class Curve(NamedTuple):
    """Curves that are drawn as one, with a band from the lowest to the highest."""

    label: str
    colour: Any
    steps: np.ndarray  # (readings,)
    ranks: Sequence[np.ndarray]  # one (readings,) a seed, or a head


def decay_colours(decays: Iterable[float]) -> dict[float, Any]:
    """λ → colour, the stronger the darker."""
    ordered = sorted(set(decays))
    return dict(zip(ordered, colormaps["viridis_r"](np.linspace(0.05, 1, len(ordered))), strict=True))


def draw_band(axis: Axes, steps: np.ndarray, curves: Sequence[np.ndarray], **style) -> None:
    """Mean of several curves, such as one a seed, from the smallest to the largest of them shaded.

    Args:
        axis: to draw on.
        steps: `(readings,)`.
        curves: one of `(readings,)` each.
        **style: of the mean's line; its color is that of the band.
    """
    values = np.stack(curves)  # (seeds, readings)
    axis.plot(steps, values.mean(axis=0), **style)
    axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.2, linewidth=0)


def draw_ranks(
    axis: Axes, pair: str, curves: Iterable[Curve], null: tuple[np.ndarray, np.ndarray] | None = None
) -> None:
    """Pseudo rank of a kind of pair over training, a band a curve, and its Gaussian null: as in figure 4.

    Args:
        axis: to draw on.
        pair: kind of the pair, as of `FactorPair`.
        curves: what is drawn.
        null: steps `(readings,)` and the null's mean `(readings,)`.
    """
    for curve in curves:
        draw_band(axis, curve.steps, curve.ranks, color=curve.colour, label=curve.label)
    if null is not None:
        axis.plot(*null, "k:", linewidth=1, label="Gaussian null")
    axis.set(xlabel="step", ylim=(0, 1))
    axis.set_title(f"pseudo rank of {SYMBOLS[pair]}, mean of layers and heads", fontsize="medium")


def draw_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend for several panels; a label that several have is drawn once."""
    handles = dict(pair for axis in axes for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), fontsize="small", frameon=False, loc="outside right upper")
