"""Curves over training: a colour a decay or a run, a band over seeds or heads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankscope.pictures.figure import NotebookFigure
from rankscope.pictures.symbols import SYMBOLS
from rankscope.records import evenly


class Curve(NamedTuple):
    """Curves that are drawn as one, with a band from the lowest to the highest."""

    label: str
    colour: Any
    steps: np.ndarray  # (readings,)
    ranks: Sequence[np.ndarray] | np.ndarray  # one (readings,) a seed, or a head


def decay_colours(decays: Iterable[float]) -> dict[float, Any]:
    """λ → colour, the stronger the darker."""
    ordered = sorted(set(decays))
    return dict(zip(ordered, colormaps["viridis_r"](np.linspace(0.05, 1, len(ordered))), strict=True))


def draw_band(axis: Axes, steps: np.ndarray, curves: Sequence[np.ndarray] | np.ndarray, **style) -> None:
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


def ranks_figure(
    curves: Mapping[str, Sequence[Curve]], nulls: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str = "step"
) -> Figure:
    """Draw a panel a kind of pair, of curves whose bands go from the lowest to the highest head.

    Args:
        curves: kind of pair → what is drawn.
        nulls: kind of pair → as of `draw_ranks`, for those that have one.
        xlabel: what the curves are drawn over.
    """
    figure = NotebookFigure(figsize=(1.8 + 4.6 * len(curves), 3.6), layout="constrained")
    axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axis, (pair, of_pair) in zip(axes, curves.items(), strict=True):
        draw_ranks(axis, pair, of_pair, nulls.get(pair))
        axis.set(xlabel=f"{xlabel}  (shaded: from the lowest to the highest head)")
    draw_legend(figure, axes)
    return figure


def draw_names(figure: Figure, names: Sequence[str]) -> None:
    """Name the places 0, 1, 2 … of all panels; of many names some, evenly chosen. A name is untrusted: no formula."""
    shown = evenly(len(names), 8)
    for axis in figure.axes:
        axis.set_xticks(shown, [names[place][:24] for place in shown], rotation=30, ha="right", parse_math=False)


def run_colours(count: int) -> np.ndarray:
    """Colours of so many runs, RGBA, the first the darkest."""
    return colormaps["viridis"](np.linspace(0, 0.75, count))


def history_figure(history: Mapping[str, np.ndarray]) -> Figure:
    """Draw a panel a quantity of `history.csv` over steps, training and validation together.

    Args:
        history: column → `(rows,)`, with `step`; NaN where a row has none, and is left out of its curve.
    """
    names = [name for name in history if name != "step" and not name.startswith("val_")]
    figure = NotebookFigure(figsize=(max(4.2 * len(names), 4.2), 3), layout="constrained")
    for place, name in enumerate(names, 1):
        axis = figure.add_subplot(1, len(names), place)
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            if column in history:
                filled = np.isfinite(history[column])
                axis.plot(history["step"][filled], history[column][filled], label=label)
        axis.set(xlabel="step")
        axis.set_title(name.replace("_", " "), fontsize="medium")
        if f"val_{name}" in history:
            axis.legend(fontsize="small", frameon=False)
    return figure
