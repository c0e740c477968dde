"""The four panels of figure 1."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from rankscope.factors import critical_singular_value
from rankscope.studies.figure_1.descent import Descent
from rankscope.studies.figure_1.settings import Figure1Settings

ROUNDING = 1e-16  # what lies below is not drawn


def draw(settings: Figure1Settings, descent: Descent, curves: dict[str, np.ndarray], ends: list[dict]) -> Figure:
    """Nuclear gap, imbalance, singular values against λ, and singular values over time."""
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    penalties = np.unique(descent.l2)
    shown = [l2 for l2 in penalties if np.isclose(settings.monitor.curves, l2).any()] or list(penalties[:6])
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(shown)))
    for axis, name in zip(axes, ("nuclear_gap", "balance_discrepancy"), strict=False):
        for l2, colour in zip(shown, colours, strict=True):
            seeds = np.flatnonzero(descent.l2 == l2)
            first, *others = np.where(curves[name] > ROUNDING, curves[name], np.nan).T[seeds]
            axis.plot(descent.steps, first, color=colour, label=f"λ = {l2:g}")
            for other in others:
                axis.plot(descent.steps, other, color=colour, alpha=0.4, linewidth=0.8)
            if name == "balance_discrepancy" and l2 > 0:
                law = first[0] * np.exp(-2 * descent.learning_rate * l2 * descent.steps)
                axis.plot(descent.steps, np.where(law > ROUNDING, law, np.nan), "k:", linewidth=1)
        axis.set(xlabel="step t", yscale="log")
    axes[0].set_title(r"nuclear gap $\frac{1}{2}(\|A\|^2+\|B\|^2)-\|AB^\top\|_*$", fontsize="medium")
    axes[1].set_title(r"imbalance $\|A^\top A-B^\top B\|$", fontsize="medium")
    axes[0].plot([], [], "k:", linewidth=1, label=r"$e^{-2\eta\lambda t}$")
    axes[0].legend(fontsize="small", frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))
    _draw_rest_points(axes[2], descent, ends)
    _draw_over_time(axes[3], descent, curves, ends, settings.monitor.over_time)
    return figure


def _draw_rest_points(axis, descent, ends):
    grid = np.linspace(0, max(descent.l2.max(), 1e-9), 400)
    targets = sorted({(row["index"], row["target"]) for row in ends})
    for colour, (index, target) in zip(_of_targets(len(targets)), targets, strict=True):
        rows = [row for row in ends if row["index"] == index]
        axis.plot(grid, np.maximum(target - grid / descent.full, 0), color=colour, linewidth=1)
        axis.plot([row["l2"] for row in rows], [row["singular_value"] for row in rows], ".", color=colour, markersize=7)
    law = r"\lambda" if descent.full == 1 else r"\lambda/2"
    axis.plot([], [], "k-", linewidth=1, label=rf"$\max(s-{law},\,0)$")
    axis.plot([], [], "k.", markersize=7, label="trained")
    axis.legend(fontsize="small", frameon=False)
    axis.set_title(f"singular values at t = {descent.steps[-1]:,}", fontsize="medium")
    axis.set_xlabel("penalty λ")


def _draw_over_time(axis, descent, curves, ends, wanted):
    l2 = descent.l2[np.argmin(np.abs(descent.l2 - wanted))]
    replica = int(np.flatnonzero(descent.l2 == l2)[0])
    rows = [row for row in ends if row["l2"] == l2 and row["seed"] == descent.seeds[replica]]
    for colour, row in zip(_of_targets(len(rows)), rows, strict=True):
        axis.plot(descent.steps, curves["singular_values"][:, replica, row["index"] - 1], color=colour)
        axis.axhline(row["shrinkage"], color=colour, linestyle="--", linewidth=0.8)
    axis.plot([], [], "k--", linewidth=0.8, label=r"$\max(s-\lambda,\,0)$" if descent.full == 1 else "rest point")
    if any(row["relaxation_times"] < 1e-6 and row["target"] > 0 for row in rows):
        late = descent.steps[descent.steps >= 0.02 * descent.steps[-1]]
        law = critical_singular_value(descent.full * descent.learning_rate, late)
        axis.plot(late, law, "k:", linewidth=1.5, label=r"critical, s = λ: $1/(2\eta t)$")
    axis.legend(fontsize="small", frameon=False, loc="upper left")
    axis.set_title(f"singular values, λ = {l2:g}", fontsize="medium")
    axis.set(
        xlabel="step t",
        xscale="symlog",
        xlim=(0, descent.steps[-1]),
        ylim=(-0.02, 1.3 * curves["singular_values"][:, replica].max()),
    )


def _of_targets(count):
    """The largest singular value is the darkest."""
    return colormaps["cividis"](np.linspace(0, 0.9, count))
