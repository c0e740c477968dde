"""What figure 3 makes of a run of the recall model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankscope.studies.runs import QUANTITIES, Product, Run, products


def accuracy(run: Run) -> float:
    """Median over the last quarter of the validations: at a constant η single ones jump. NaN without any."""
    accuracies = run.validations
    return float(np.median(accuracies[3 * len(accuracies) // 4 :])) if len(accuracies) else np.nan


def rate(run: Run, product: Product) -> tuple[float, float]:
    """How fast the imbalance of a product fell: ln(Q(0)/Q(t))/t in time t = Σ η, and how exactly that is known.

    t is the first reading with Q(t) ≤ Q(0)/e, or the last of all. Gradient flow has 2λ (Lemma A.1), so that 1/rate is
    the time constant. A reading may come up to one interval late, which makes the rate uncertain by that part of t.
    """
    remaining = run.remaining(product)
    fallen = np.flatnonzero(remaining <= 1 / np.e)
    end = fallen[0] if len(fallen) else len(remaining) - 1
    found = -np.log(remaining[end]) / run.time[end]
    interval = (run.time[end] - run.time[end - 1]) / run.time[end] if len(fallen) else 0.0
    return float(found), float(abs(found) * interval)


def end_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rows of the study's table of runs: what each came to."""
    rows = []
    for run in runs:
        row = {"weight_decay": run.decay, "seed": run.seed, "status": run.summary["status"]}
        row |= {key: run.summary.get(key, "") for key in ("learned_step", "loss", "val_loss", "val_accuracy")}
        row["median_accuracy"] = accuracy(run)
        for product in products(runs):
            pair, layer = product
            label, quantities = f"{pair}_{layer}", run.curves.get(product)
            row |= {f"{name}_{label}": float(quantities[name][-1]) if quantities else "" for name in QUANTITIES}
            row[f"rate_{label}"] = rate(run, product)[0] if quantities else ""
        rows.append(row)
    return rows
