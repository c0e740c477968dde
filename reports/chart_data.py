"""The numbers behind a page's charts, as JSON that reports/page.js draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rankscope.factors import ATTENTION_KINDS, Shown, quantities_in, singular_values
from rankscope.records import evenly
from rankscope.reports.words import NULLED, PRODUCTS, SIZES

MAX_POINTS = 6000  # of a scatter: more are slow as SVG, and cover each other
MAX_CURVE = 256  # points of a spectrum
NULL_ENTRIES = 2**22  # of a Gaussian factor that is drawn for the null's spectrum


def products_of(analysis: Any) -> list[str]:
    """Its kinds of product, in the paper's order."""
    present = set(analysis.columns["pair"].tolist())
    return [pair for pair in PRODUCTS if pair in present]


def groups_of(analysis: Any) -> list[dict[str, Any]]:
    """The kinds of product of each tower.

    Returns:
        A dict for each: `id` (for HTML), `pair`, `tower`, `label` (HTML; the tower is in it where there are several),
        `text` (its form without markup) and `rows` (indices into the columns).
    """
    columns = analysis.columns
    towers = list(dict.fromkeys(columns["tower"].tolist()))
    groups = []
    for number, tower in enumerate(towers):
        for pair in products_of(analysis):
            rows = np.flatnonzero((columns["pair"] == pair) & (columns["tower"] == tower))
            if len(rows) == 0:
                continue
            product, where = PRODUCTS[pair], f" · {tower}" if len(towers) > 1 else ""
            label = product.html + where  # Markup escapes the tower
            groups.append(
                {
                    "id": f"{pair}-{number}",
                    "pair": pair,
                    "tower": tower,
                    "label": label,
                    "text": product.text + where,
                    "rows": rows,
                }
            )
    return groups


def table(analysis: Any) -> dict[str, Any]:
    """Every head: columns of numbers, and texts as indices into their distinct values."""
    columns = analysis.columns
    names = [*NULLED, *(f"{name}_null" for name in NULLED), *SIZES]
    texts = {}
    for name in ("pair", "tower", "path"):
        distinct, codes = np.unique(columns[name].astype(str), return_inverse=True)
        shown = [PRODUCTS[value].text if name == "pair" else value for value in distinct.tolist()]
        texts[name] = {"values": shown, "codes": codes.reshape(-1)}
    return {
        "rows": len(columns["layer"]),
        "texts": texts,
        "numbers": {name: columns[name] for name in ["layer", "head", *names] if name in columns},
    }


def heatmap(analysis: Any, group: Mapping[str, Any]) -> dict[str, Any]:
    """Which row of the table each cell of layer × head shows; null where a layer has fewer heads."""
    rows, columns = group["rows"], analysis.columns
    layers = np.unique(columns["layer"][rows])
    cells = np.full((len(layers), int(columns["head"][rows].max()) + 1), -1)
    cells[np.searchsorted(layers, columns["layer"][rows]), columns["head"][rows]] = rows
    return {
        "id": group["id"],
        "label": group["label"],
        "layers": layers,
        "cells": [[None if cell < 0 else cell for cell in line] for line in cells.tolist()],
    }


def spectra(analysis: Any, group: Mapping[str, Any]) -> dict[str, Any]:
    """Mean spectrum over the heads of each layer, over σ₁ and over Σσ, with that of Gaussian factors."""
    columns, first = analysis.columns, group["rows"][0]
    layers = [
        layer
        for layer in np.unique(columns["layer"][group["rows"]]).tolist()
        if (group["pair"], layer) in analysis.spectra
    ]
    curves = []
    for layer in layers:
        curves.append({"layer": layer, **_curve(analysis.spectra[group["pair"], layer])})
    hidden_dim, key_dim = int(columns["hidden_dim"][first]), int(columns["key_dim"][first])
    same_shape = (
        len(set(columns["hidden_dim"][group["rows"]].tolist()))
        == len(set(columns["key_dim"][group["rows"]].tolist()))
        == 1
    )
    null = None
    if group["pair"] in ATTENTION_KINDS and same_shape and hidden_dim * key_dim <= NULL_ENTRIES:
        a, b = np.random.default_rng(0).standard_normal((2, 2, hidden_dim, key_dim))
        null = _curve(singular_values(a, b))
    return {"id": group["id"], "label": group["label"], "curves": curves, "null": null}


def _curve(sigma):
    """Of (heads, key_dim) singular values: at most MAX_CURVE of their positions, and the two means there."""
    chosen = evenly(sigma.shape[1], MAX_CURVE)
    with np.errstate(all="ignore"):  # a zero head has no shape
        top = np.nanmean(np.where(sigma[:, :1] > 0, sigma / sigma[:, :1], 0.0), axis=0)
        total = sigma.sum(axis=1, keepdims=True)
        share = np.nanmean(np.where(total > 0, sigma / total, 0.0), axis=0)
    return {"index": (chosen + 1), "top": top[chosen], "share": share[chosen]}


def row_norms(analysis: Any, group: Mapping[str, Any]) -> dict[str, Any]:
    """Squared row norms of the first head of each layer, as in figure 5; of every few layers where there are many."""
    product = PRODUCTS[group["pair"]]
    keys = [(group["pair"], layer) for layer in np.unique(analysis.columns["layer"][group["rows"]]).tolist()]
    keys = [key for key in keys if key in analysis.row_norms]
    points = sum(analysis.row_norms[key][0].shape[1] for key in keys)
    every = -(-points // MAX_POINTS) or 1
    heads = [
        {"layer": key[1], "a": analysis.row_norms[key][0][0], "b": analysis.row_norms[key][1][0]}
        for key in keys[::every]
    ]
    return {
        "id": group["id"],
        "label": group["label"],
        "a": product.rows_a,
        "b": product.rows_b,
        "every": every,
        "heads": heads,
    }


def tightness(analysis: Any, group: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the table whose nuclear norms are drawn over their bounds, and the slope of the null's line."""
    ratios = analysis.columns["nuclear_ratio_null"][group["rows"]]
    finite = ratios[np.isfinite(ratios) & (ratios > 0)]
    every = -(-len(group["rows"]) // MAX_POINTS) or 1
    return {
        "id": group["id"],
        "label": group["label"],
        "rows": group["rows"][::every],
        "every": every,
        "null": finite.mean() if len(finite) else None,
    }


def progress(analyses: Sequence) -> list[dict[str, Any]]:
    """Means over all heads of each checkpoint, one chart a quantity."""
    charts = []
    for name in (quantity.name for quantity in quantities_in(Shown.CURVES) if quantity.expected is not None):
        curves = []
        for pair in PRODUCTS:
            measured, null = (
                np.array([mean(analysis, pair, column) for analysis in analyses]) for column in (name, f"{name}_null")
            )
            if np.isfinite(measured).any():
                curves.append({"pair": pair, "label": PRODUCTS[pair].html, "measured": measured, "null": null})
        charts.append({"id": name, "label": NULLED[name].label, "curves": curves})
    return charts


def mean(analysis: Any, pair: str, name: str) -> float:
    """Mean of a column over the finite values of a kind of product; NaN where there are none."""
    values = analysis.columns.get(name)
    if values is None:
        return float("nan")
    values = values[(analysis.columns["pair"] == pair) & np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def differences(before: Any, after: Any) -> list[dict[str, Any]]:
    """Second checkpoint less the first, for the heads that both have.

    Returns:
        One dict for each kind of product and tower of the second: `id`, `label`, `layers`, and `values`: quantity →
        (layers, heads), null for heads that only one of them has. Groups without a common head are left out.
    """
    ids = [
        list(zip(*(one.columns[name].tolist() for name in ("pair", "layer", "head")), strict=True))
        for one in (before, after)
    ]
    row_before = {head: row for row, head in enumerate(ids[0])}
    common = np.array([row_before.get(head, -1) for head in ids[1]], dtype=int)
    charts = []
    for group in groups_of(after):
        if (common[group["rows"]] < 0).all():
            continue
        chart = heatmap(after, group)
        cells = np.array([[-1 if cell is None else cell for cell in line] for line in chart.pop("cells")])
        both = (cells >= 0) & (common[cells] >= 0)
        values = {}
        for name in NULLED:
            if name in after.columns and name in before.columns:
                with np.errstate(invalid="ignore"):
                    difference = after.columns[name][cells] - before.columns[name][common[cells]]
                values[name] = np.where(both, difference, np.nan)
        charts.append({**chart, "text": group["text"], "values": values})
    return charts
