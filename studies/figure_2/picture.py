"""The four panels of figure 2: the paper's two, and where what they show ends."""

import dataclasses
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rankscope.studies.figure_2.descent import Descent
from rankscope.studies.figure_2.ends import Ends
from rankscope.studies.figure_2.rest import (
    PARAMETRISATIONS,
    Surface,
    circling_mean,
    first_order_error,
    growth,
    largest_share,
    rest_point,
    sparse_share,
    stability_limit,
)

# Told apart in every common form of colour blindness, and by dash or marker without colour (Tol's vibrant palette).
SURFACE, RED, BLUE, TEAL, PURPLE = "#EE7733", "#CC3311", "#0077BB", "#009988", "#AA3377"
DOTTED, DASHED = (0, (1, 1.2)), (0, (4, 1.5))
STYLE = {"direct": (RED, "o"), "products": (BLUE, "s")}
FLOOR = 1e-7  # of the errors drawn


def draw(surface: Surface, descents: Mapping[tuple[str, str], Descent], ends: Ends, errors: list[dict]) -> Figure:
    """Trajectories above, directly and as products; below, the error of the equivalence against λ|W| and ε."""
    with matplotlib.rc_context({"font.size": 12, "legend.fontsize": 11, "lines.linewidth": 1.5}):
        figure = Figure(figsize=(9.6, 10), layout="constrained")
        axes = figure.subplots(2, 2)
        limits = _limits(surface, descents)
        for axis, parametrisation in zip(axes[0], PARAMETRISATIONS, strict=True):
            _draw_loss(axis, surface, limits)
            of_both = [descent for descent in descents if descent.parametrisation == parametrisation]
            _draw_trajectories(axis, surface, of_both, ends.usual)
            _draw_crosses(axis, surface)
            axis.set(xlabel="$w_1$", xlim=limits[:, 0], ylim=limits[:, 1], aspect="equal")
        axes[0, 0].set_ylabel("$w_2$")
        axes[0, 0].set_title("$w_1, w_2$ trained directly")
        axes[0, 1].set_title("$w_i = a_i b_i$: $a_i, b_i$ trained")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        _draw_against_share(axes[1, 0], surface, ends.cells[0], errors)
        _draw_against_epsilon(axes[1, 1], surface, ends.cells[0], errors)
        low = max(FLOOR, 0.3 * min((row["error"] for row in errors if row["error"] > 0), default=FLOOR))
        for axis in axes[1]:
            axis.set_ylim(low, 10 * surface.distance)
            axis.grid(alpha=0.25)
        return figure


def _limits(surface, descents):
    """A square that holds all trajectories of the first cell: lower left and upper right corner."""
    points = np.concatenate([descent.w[:, 0].reshape(-1, 2) for descent in descents])
    points = np.concatenate([points, [surface.l2_minimiser, surface.l1_minimiser, surface.max_minimiser]])
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2 + np.outer([-0.55, 0.55], [(high - low).max()] * 2)


def _draw_loss(axis, surface, limits):
    grid = np.meshgrid(*(np.linspace(*ends, 200) for ends in limits.T))
    height = np.stack(grid, axis=-1) @ surface.n - surface.distance
    axis.contour(*grid, 0.5 * height**2, levels=12, colors="0.86", linewidths=0.8)
    ends = surface.l2_minimiser + np.outer([-1, 1], surface.n[::-1] * [-1, 1]) * 2 * np.ptp(limits)
    axis.plot(*ends.T, color=SURFACE, linewidth=5, alpha=0.55, label="surface S")


def _draw_trajectories(axis, surface, descents, usual):
    """AdamW and Adam + L2 in the first cell, and AdamW with the usual ε from one start."""
    adamw, adam_l2 = (descent.w[:, 0] for descent in descents)  # (T, S, 2)
    for start in range(adamw.shape[1]):
        label = "" if start else "AdamW"
        axis.plot(*adamw[:, start].T, color="black", label=label)
        label = "" if start else r"Adam + L2, $\lambda_{L2}=\varepsilon\lambda$"
        axis.plot(*adam_l2[:, start].T, color=TEAL, linewidth=2.2, linestyle=DOTTED, label=label)
        axis.plot(*adamw[0, start], "o", color="black", markersize=5)
    farthest = np.linalg.norm(adamw[0] - surface.max_minimiser, axis=-1).argmax()
    axis.plot(*adamw[-1].T, "o", color="black", markersize=5, markeredgecolor="white", zorder=6)
    circling = descents[0].w[:, usual, farthest].T
    label = r"AdamW, $\varepsilon=10^{-8}$"
    star = {"marker": "*", "markevery": [-1], "markersize": 12, "markeredgecolor": "white", "markeredgewidth": 0.7}
    axis.plot(*circling, color=PURPLE, linestyle=DASHED, zorder=3, label=label, **star)


def _draw_crosses(axis, surface):
    axis.plot(*surface.l2_minimiser, "x", color=RED, markersize=12, markeredgewidth=3, zorder=5, label="L2-minimiser")
    axis.plot(*surface.l1_minimiser, "+", color=BLUE, markersize=15, markeredgewidth=3, zorder=5, label="L1-minimiser")


def _draw_against_share(axis, surface, cell, errors):
    rows = [row for row in errors if row["epsilon"] == cell.epsilon]
    decays = np.geomspace(min(row["weight_decay"] for row in rows), max(row["weight_decay"] for row in rows), 200)
    for parametrisation, (colour, marker) in STYLE.items():
        swept = [dataclasses.replace(cell, weight_decay=decay) for decay in decays]
        shares = [largest_share(surface, each, parametrisation) for each in swept]
        exact = [np.linalg.norm(_difference(surface, each, parametrisation)) for each in swept]
        linear = [first_order_error(surface, each, parametrisation) for each in swept]
        axis.plot(shares, exact, color=colour)
        axis.plot(shares, linear, color=colour, linestyle=DASHED)
        measured = [row for row in rows if row["parametrisation"] == parametrisation and row["finished"]]
        _draw_measured(axis, measured, "share", colour, marker, parametrisation)
    axis.axvline(sparse_share(surface), color=BLUE, linestyle=DOTTED)
    axis.text(sparse_share(surface), 0.03, "products no  \nlonger sparse  ", color=BLUE, ha="right", **_note(axis))
    axis.plot([], [], color="0.3", label="exact rest points")
    axis.plot([], [], color="0.3", linestyle=DASHED, label=r"first order in $\lambda|W|$")
    axis.set(xscale="log", yscale="log", xlabel=r"$\lambda\,|W_\infty|$", ylabel=r"$\|w_{AdamW}-w_{L2}\|$")
    axis.set_title(rf"error of the equivalence, $\varepsilon={cell.epsilon:g}$")
    axis.legend(loc="upper left")


def _draw_against_epsilon(axis, surface, cell, errors):
    rows = [row for row in errors if row["weight_decay"] == cell.weight_decay]
    epsilons = np.geomspace(min(row["epsilon"] for row in rows), max(row["epsilon"] for row in rows), 300)
    for parametrisation, (colour, marker) in STYLE.items():
        rests, circles, linear = [], [], []
        for epsilon in epsilons:
            each = dataclasses.replace(cell, epsilon=epsilon)
            stable = growth(surface, each, "AdamW", parametrisation) < 1
            mean = circling_mean(surface, each, parametrisation) - rest_point(surface, each, "AdamL2", parametrisation)
            rests.append(np.linalg.norm(_difference(surface, each, parametrisation)) if stable else np.nan)
            circles.append(np.nan if stable else np.linalg.norm(mean))
            linear.append(first_order_error(surface, each, parametrisation))
        axis.plot(epsilons, rests, color=colour)
        axis.plot(epsilons, circles, color=colour, linestyle="-.")
        axis.plot(epsilons, linear, color=colour, linestyle=DASHED)
        measured = [row for row in rows if row["parametrisation"] == parametrisation]
        measured = [row for row in measured if row["finished"] or not row["stable"]]
        _draw_measured(axis, measured, "epsilon", colour, marker, parametrisation)
        axis.axvline(stability_limit(surface, cell, parametrisation), color=colour, linestyle=DOTTED)
    limits = [stability_limit(surface, cell, parametrisation) for parametrisation in PARAMETRISATIONS]
    axis.text(min(limits), 0.94, "circles (mean)  ", ha="right", **_note(axis))
    axis.text(max(limits), 0.94, "  rests", **_note(axis))
    limit = r"$\eta\cdot$curvature$\cdot\frac{1-\beta_1}{2(1+\beta_1)}$"
    axis.plot([], [], color="0.3", linestyle=DOTTED, label=limit)
    axis.plot([], [], color="0.3", linestyle="-.", label="estimate of the mean")
    axis.set(xscale="log", yscale="log", xlabel=r"$\varepsilon$")
    axis.set_title(rf"error of the equivalence, $\lambda={cell.weight_decay:g}$")
    axis.legend(loc="lower left")


def _draw_measured(axis, rows, key, colour, marker, label):
    axis.plot(
        [row[key] for row in rows],
        [row["error"] for row in rows],
        marker,
        color=colour,
        markersize=8,
        markerfacecolor="white",
        markeredgewidth=1.8,
        label=label,
    )


def _difference(surface, cell, parametrisation):
    """AdamW's rest point from that of L2."""
    return rest_point(surface, cell, "AdamW", parametrisation) - rest_point(surface, cell, "AdamL2", parametrisation)


def _note(axis):
    """Of a text beside a vertical line: x in the data's units, y in the axis's."""
    return {"transform": axis.get_xaxis_transform(), "fontsize": 11}
