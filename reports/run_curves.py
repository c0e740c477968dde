"""The numbers behind a page's curves over steps: means and ranges over seeds, thinned to what a page can hold."""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from rankscope.records import RunRecords, evenly
from rankscope.reports.points import Point
from rankscope.reports.rendering import chart_label, format_number
from rankscope.reports.words import PRODUCTS

MAX_NUMBERS = 250_000  # of all curves of ranks
MAX_READINGS = 400  # of a curve
MAX_SERIES = 60
MAX_LAYERS = 24  # in the menu of layers
ALL_LAYERS = "all"

#: Chart → its title, its curve's column, its reference's, and what the reference is.
RANK_CHARTS = {
    "pseudo_rank": ("Pseudo rank of {}", "pseudo_rank", "pseudo_rank_null", "null"),
    "nuclear_gap": ("Nuclear gap of {}", "nuclear_gap", "nuclear_gap_bound", "bound of Prop. A.4"),
    "imbalance": ("Imbalance of {}, over its start", "balance_discrepancy", None, "exp(−2λΣη)"),
}
HISTORY_CHARTS = {
    "val_loss": "Validation loss",
    "val_accuracy": "Validation accuracy",
    "val_perplexity": "Validation perplexity",
    "loss": "Training loss",
    "accuracy": "Training accuracy",
    "perplexity": "Training perplexity",
    "learning_rate": "Learning rate η",
}
_COLUMNS = [column for _, *columns, _ in RANK_CHARTS.values() for column in columns if column]


def curves(points: Sequence[Point], alone: Mapping[Path, str]) -> dict[str, Any]:
    """All curves over steps.

    Args:
        points: all.
        alone: path of a run that stands apart → its name; where there is none, its point's label.

    Returns:
        `series`: for each point the runs that learned as one, and each other run apart: `point`, `name`, `apart`
        (status and seed, None for those that learned), `label` (both, for plotly), `steps`, `ranks` (pair → layer →
        chart → `mean`, `low`, `high`, `reference`) and `history` (column → `steps`, `mean`, `low`, `high`); `pairs`,
        `layers` (of the menu), `columns` (of the history); `thinned`: what was left out, in words.
    """
    groups = [group for point in points for group in _groups(point)]
    chosen = [groups[place] for place in evenly(len(groups), MAX_SERIES)]
    thinned = []
    if len(chosen) < len(groups):
        thinned.append(f"{len(chosen)} of {len(groups)} curves are drawn")
    series, layers, longest, readings = [], None, 0, None
    for point, apart, runs in chosen:
        tables = [table for table in map(_means, runs) if table]
        if tables and layers is None:
            layers = sorted({layer for table in tables for _, layer in table["means"] if layer != ALL_LAYERS})
            kept = [layers[place] for place in evenly(len(layers), MAX_LAYERS)]
            if len(kept) < len(layers):
                thinned.append(f"the menu has {len(kept)} of {len(layers)} layers")
            a_reading = len(chosen) * 2 * (len(kept) + 1) * 3 * (4 if len(runs) > 1 else 2)
            layers, readings = kept, min(MAX_READINGS, max(12, MAX_NUMBERS // a_reading))
        longest = max([longest, *(table["readings"] for table in tables)])
        name = alone.get(runs[0].path, point.label) if apart else point.label
        beside = apart and f"{apart.replace('_', ' ')}, seed {runs[0].seed}"
        series.append(
            {
                "point": point.number,
                "name": name,
                "label": chart_label(f"{name} ({beside})" if beside else name, 80),
                "apart": beside,
                **_averaged(tables, layers, readings),
                "history": _history(runs),
            }
        )
    if readings is not None and longest > readings:
        thinned.append(f"{readings} of {longest:,} readings are drawn")
    columns = [name for name in HISTORY_CHARTS if any(name in one["history"] for one in series)]
    pairs = [pair for pair in PRODUCTS if any(pair in one["ranks"] for one in series)]
    return {"series": series, "pairs": pairs, "layers": layers or [], "columns": columns, "thinned": thinned}


def _groups(point):
    """Point, status of a run that stands apart or None, and the runs that make one curve."""
    if point.learned:
        yield point, None, point.learned
    for run in point.runs:
        if not run.learned:
            yield point, run.status, [run]


def _means(run: RunRecords) -> dict[str, Any]:
    """Means over the heads of each product, at no more than MAX_READINGS readings."""
    table = run.ranks(_COLUMNS)
    if not table:
        return {}
    readings = evenly(len(table["step"]), MAX_READINGS)
    time, means = table["cumulative_learning_rate"], {}
    for pair in dict.fromkeys(table["pair"].tolist()):
        of_pair = table["pair"] == pair
        paths, places = np.unique(table["path"][of_pair], return_inverse=True)
        decays = np.array([decay_of(run, pair, path) for path in paths])[places.reshape(-1)]  # (heads of the pair,)
        for layer in (ALL_LAYERS, *dict.fromkeys(table["layer"][of_pair].tolist())):
            heads = of_pair if layer == ALL_LAYERS else of_pair & (table["layer"] == layer)
            found = {name: table[name][:, heads].mean(axis=1)[readings] for name in _COLUMNS if name in table}
            if "balance_discrepancy" in found:
                start = table["balance_discrepancy"][0, heads]
                with np.errstate(all="ignore"):
                    found["balance_discrepancy"] = found["balance_discrepancy"] / start.mean()
                    left = np.exp(-2 * np.outer(time[readings], decays[heads[of_pair]]))  # (readings, heads)
                    law = left @ start / start.sum()
                if np.isfinite(law).all():
                    found["law"] = law
            means[pair, layer] = found
    return {"steps": table["step"][readings], "means": means, "readings": len(table["step"])}


def decay_of(run: RunRecords, pair: str, path: str) -> float:
    """λ of a layer's product where both of its factors have it, and decay is a term of the update; else NaN.

    `decay_groups.csv` has paths and groups, but no roles: a kernel that a pattern took may be of either product. Where
    there is one, all kernels of the layer must have the same λ.

    Args:
        run: of the layer.
        pair: kind of the product.
        path: of the layer.
    """
    rows = [row for row in run.decay_groups if row["path"].rpartition("/")[0] == path]
    own = [row for row in rows if row["group"] == pair]
    if len(own) < 2:
        own = [row for row in rows if row["group"] != "one-dimensional"]
    decays = {row["decay"] for row in own}
    a_penalty = any(np.isnan(row["time_constant"]) for row in own)
    return decays.pop() if len(decays) == 1 and not a_penalty else np.nan


def _averaged(tables, layers, readings):
    """Mean, lowest and highest over runs, at the steps that all have."""
    if not tables:
        return {"steps": [], "ranks": {}}
    steps = reduce(np.intersect1d, [table["steps"] for table in tables])
    steps = steps[evenly(len(steps), readings)]
    places = [np.searchsorted(table["steps"], steps) for table in tables]
    ranks: dict[str, dict] = {}
    for pair, layer in tables[0]["means"]:
        if layer != ALL_LAYERS and layer not in layers:
            continue
        found = {}
        for chart, (_, column, reference, _) in RANK_CHARTS.items():
            several = [
                table["means"][pair, layer][column][place]
                for table, place in zip(tables, places, strict=True)
                if column in table["means"].get((pair, layer), {})
            ]
            if several:
                expected = [
                    table["means"][pair, layer][reference or "law"][place]
                    for table, place in zip(tables, places, strict=True)
                    if (reference or "law") in table["means"].get((pair, layer), {})
                ]
                # As the curve, the mean over runs: a mean gap stays below its mean bound.
                found[chart] = _band(several) | ({"reference": np.mean(expected, axis=0)} if expected else {})
        ranks.setdefault(pair, {})[str(layer)] = found
    return {"steps": steps, "ranks": ranks}


def _band(several: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    mean = {"mean": np.mean(several, axis=0)}
    return mean if len(several) == 1 else mean | {"low": np.min(several, axis=0), "high": np.max(several, axis=0)}


def _history(runs: Sequence[RunRecords]) -> dict[str, Any]:
    """Of each column that all runs have: its rows that are filled, at the steps that all have."""
    found = {}
    for name in HISTORY_CHARTS:
        if not all(name in run.history for run in runs):
            continue
        filled = [np.isfinite(run.history[name]) for run in runs]
        steps = [run.history["step"][rows] for run, rows in zip(runs, filled, strict=True)]
        common = reduce(np.intersect1d, steps)
        common = common[evenly(len(common), MAX_READINGS)]
        if len(common) == 0:
            continue
        several = [
            run.history[name][rows][np.searchsorted(own, common)]
            for run, rows, own in zip(runs, filled, steps, strict=True)
        ]
        found[name] = {"steps": common.astype(int)} | _band(several)
    return found


def describe_ranks(found: Mapping[str, Any], pair: str, chart: str) -> str:
    """A chart of ranks over steps in words: first and last value of each curve, of the mean over layers.

    Example:
        >>> curve = {"pseudo_rank": {"mean": np.array([0.9, 0.5]), "reference": np.array([0.94, 0.94])}}
        >>> series = {"name": "wd=1", "apart": None, "ranks": {"vo": {"all": curve}}}
        >>> describe_ranks({"series": [series]}, "vo", "pseudo_rank")
        'Pseudo rank of P W_V over steps, mean over all heads. wd=1: from 0.9 to 0.5; null 0.94.'
    """
    title, _, _, reference = RANK_CHARTS[chart]
    parts = []
    for one in found["series"]:
        curve = one["ranks"].get(pair, {}).get(ALL_LAYERS, {}).get(chart)
        if curve is not None and len(curve["mean"]):
            expected = f"; {reference} {format_number(curve['reference'][-1])}" if "reference" in curve else ""
            parts.append(f"{_named(one)}: {_from_to(curve['mean'])}{expected}.")
    return _short([f"{title.format(PRODUCTS[pair].text)} over steps, mean over all heads.", *parts])


def describe_history(found: Mapping[str, Any], column: str) -> str:
    """A chart of the history in words: first and last value of each curve."""
    parts = [
        f"{_named(one)}: {_from_to(one['history'][column]['mean'])}."
        for one in found["series"]
        if column in one["history"]
    ]
    return _short([f"{HISTORY_CHARTS[column]} over steps.", *parts])


def _named(one):
    return f"{one['name']} ({one['apart']})" if one["apart"] else one["name"]


def _from_to(values):
    return f"from {format_number(values[0])} to {format_number(values[-1])}"


def _short(parts, most=9):
    return " ".join(parts if len(parts) <= most else [*parts[:most], f"And {len(parts) - most} more."])
