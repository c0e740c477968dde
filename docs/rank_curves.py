"""Draws README's picture from the records of runs: python docs/rank_curves.py docs/rank-curves.png RUN [RUN …]."""

import csv
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rankscope.factors import ATTENTION_KINDS, PRODUCTS
from rankscope.pictures.symbols import mathtext_of

TITLES = {kind: mathtext_of(PRODUCTS[kind].symbol) for kind in ATTENTION_KINDS}


def curve(run, pair, column):
    """Steps, and the mean of a column over all heads of all layers at each."""
    with open(run / "ranks.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["pair"] == pair]
    steps = sorted({int(row["step"]) for row in rows})
    return steps, [np.mean([float(row[column]) for row in rows if int(row["step"]) == step]) for step in steps]


def main(picture, runs):
    """Pseudo rank of both pairs over training, a line a run, the null dotted."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for axis, (pair, title) in zip(axes, TITLES.items(), strict=True):
        for run, colour in zip(runs, plt.colormaps["viridis"](np.linspace(0, 0.75, len(runs))), strict=True):
            summary = json.loads((run / "summary.json").read_text())
            label = f"attention decay {summary['qk_weight_decay']:g}, accuracy {summary['val_accuracy']:.3f}"
            axis.plot(*curve(run, pair, "pseudo_rank"), color=colour, label=label)
        axis.plot(*curve(runs[0], pair, "pseudo_rank_null"), ":", color="0.5", label="Gaussian null")
        axis.set(title=f"pseudo rank of {title}", xlabel="step", ylim=(0, 1))
    axes[1].legend(loc="center right", frameon=False)
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    main(sys.argv[1], [Path(run) for run in sys.argv[2:]])
