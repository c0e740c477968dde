"""Figure 3, and the same panels for the products that the paper does not show."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rankscope.factors import predicted_imbalance
from rankscope.pictures.curves import decay_colours, draw_band, draw_legend
from rankscope.pictures.symbols import SYMBOLS
from rankscope.studies.runs import Product, Run

IMBALANCE = {"vo": r"$\|P^\top P-W_VW_V^\top\|$", "qk": r"$\|W_KW_K^\top-W_QW_Q^\top\|$"}


def draw(runs: Sequence[Run], chosen: Sequence[Product]) -> Figure:
    """Rank, imbalance and nuclear gap over training: a row a product, a colour a decay, a band over the seeds."""
    figure = Figure(figsize=(13, 0.3 + 3 * len(chosen)), layout="constrained")
    rows = figure.subplots(len(chosen), 3, squeeze=False)
    for axes, product in zip(rows, chosen, strict=True):
        _draw_row(axes, [run for run in runs if product in run.curves], product)
    draw_legend(figure, rows[0])
    for axis in rows[-1]:
        axis.set_xlabel("step")
    return figure


def _draw_row(axes, runs, product):
    pair, layer = product
    for decay, colour in decay_colours(run.decay for run in runs).items():
        learned = [run for run in runs if run.decay == decay and run.learned]
        others = [run for run in runs if run.decay == decay and not run.learned]
        for axis, quantity in zip(axes, ("pseudo_rank", "balance_discrepancy", "nuclear_gap"), strict=True):
            if learned:
                part = f", {len(learned)} of {len(learned) + len(others)} seeds" if others else ""
                curves = [run.curves[product][quantity] for run in learned]
                draw_band(axis, learned[0].steps, curves, color=colour, label=f"λ = {decay:g}{part}")
            for run in others:
                label = f"λ = {decay:g}, did not learn"
                axis.plot(run.steps, run.curves[product][quantity], "-.", color=colour, linewidth=0.8, label=label)
        if decay > 0:
            start = np.mean([run.curves[product]["balance_discrepancy"][0] for run in learned or others])
            first = (learned or others)[0]
            axes[1].plot(first.steps, predicted_imbalance(start, decay, first.time), "--", color=colour, linewidth=1)
    if runs:
        null = np.mean([run.curves[product]["pseudo_rank_null"] for run in runs], axis=0)
        axes[0].plot(runs[0].steps, null, "k:", linewidth=1, label="Gaussian null")
    axes[1].plot([], [], "k--", linewidth=1, label=r"$e^{-2\lambda\sum\eta}$, gradient flow")
    where = f"layer {layer + 1}"
    axes[0].set(ylim=(0, 1))
    axes[0].set_title(f"pseudo rank of {SYMBOLS[pair]}, {where}", fontsize="medium")
    axes[1].set(yscale="log")
    axes[1].set_title(f"imbalance {IMBALANCE[pair]}, {where}", fontsize="medium")
    axes[2].set(yscale="log")
    axes[2].set_title(f"nuclear gap of {SYMBOLS[pair]}, {where}", fontsize="medium")
    _limit_below(axes[1], [run.curves[product]["balance_discrepancy"] for run in runs])


def _limit_below(axis, curves):
    """The laws of strong decays fall far below all that is measured."""
    smallest = min((float(curve.min()) for curve in curves), default=0.0)
    if smallest > 0:
        axis.set_ylim(bottom=smallest / 3)
