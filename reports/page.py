"""The page about one or several checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rankscope.reports import chart_data
from rankscope.reports.rendering import chart_label, format_number, write_html
from rankscope.reports.words import NULLED, PRODUCTS, QUANTITIES, SIZES


def write_page(analyses: Sequence, path: Path, command: str, compare: bool = False) -> None:
    """Write the page, whole or not at all.

    Several checkpoints give curves over them, in the order given, and then the details of the last one. All text of
    an analysis is taken as untrusted: it is escaped, and the page runs no script but its own.

    Args:
        analyses: one `Analysis` or more.
        path: of the page.
        command: what made it, shown at the end of the page.
        compare: whether to show the differences of the second of two checkpoints from the first, head by head.

    Raises:
        ValueError: without an analysis, for one without heads, or to compare other than two.
    """
    _check(analyses, compare)
    last, groups = analyses[-1], chart_data.groups_of(analyses[-1])
    data = _chart_data(analyses, groups, compare)
    quantities = {name: quantity for name, quantity in NULLED.items() if name in last.columns}
    pairs = chart_data.products_of(last)
    write_html(
        path,
        "page.html.j2",
        "page.js",
        data,
        analyses=analyses,
        last=last,
        compare=compare,
        compared=data["differences"],
        command=command,
        facts=_facts(last),
        groups=groups,
        descriptions={group["id"]: _descriptions(last, group) for group in groups},
        products=PRODUCTS,
        pairs=pairs,
        quantities=quantities,
        quantity_options=[(name, quantity.label) for name, quantity in quantities.items()],
        sizes=SIZES,
        table_columns=_table_columns(last),
        table_pairs=[(PRODUCTS[pair].text, PRODUCTS[pair].html) for pair in pairs],
        thinned=max(chart["every"] for chart in data["row_norms"]),
        progress=data["progress"],
        mean=chart_data.mean,
        describe_curves=describe_curves,
    )


def _check(analyses, compare):
    if not analyses:
        raise ValueError("a page needs at least one checkpoint")
    if compare and len(analyses) != 2:
        raise ValueError(f"two checkpoints can be compared, not {len(analyses)}")
    for analysis in analyses:
        if len(analysis.columns["layer"]) == 0:
            raise ValueError(f"{analysis.path}: no heads to show")


def _chart_data(analyses, groups, compare) -> dict[str, Any]:
    """What the script draws."""
    last = analyses[-1]
    return {
        "quantities": {name: quantity._asdict() for name, quantity in QUANTITIES.items()},
        "table": chart_data.table(last),
        "heatmaps": [chart_data.heatmap(last, group) for group in groups],
        "spectra": [chart_data.spectra(last, group) for group in groups],
        "row_norms": [chart_data.row_norms(last, group) for group in groups],
        "tightness": [chart_data.tightness(last, group) for group in groups],
        "names": [chart_label(analysis.name) for analysis in analyses],
        "progress": chart_data.progress(analyses) if len(analyses) > 1 else [],
        "differences": chart_data.differences(*analyses) if compare else [],
    }


def _table_columns(analysis) -> list[tuple[str, str, str]]:
    """Name, label and kind (text, number, null) of each column of the table of heads."""
    several = len(set(analysis.columns["tower"].tolist())) > 1
    columns = [("pair", "Product", "text"), *([("tower", "Tower", "text")] if several else [])]
    columns += [("layer", "Layer", "number"), ("head", "Head", "number")]
    for name, quantity in QUANTITIES.items():
        if name in analysis.columns:
            columns.append((name, quantity.label, "number"))
        if f"{name}_null" in analysis.columns:
            columns.append((f"{name}_null", f"{quantity.label}, null", "null"))
    return [*columns, ("path", "Path", "text")]


def _facts(analysis) -> list[tuple[str, str]]:
    columns = analysis.columns
    layers = columns["layer"]
    heads = [
        int(columns["head"][(layers == layer) & (columns["pair"] == pair)].max()) + 1
        for pair, layer in set(zip(columns["pair"].tolist(), layers.tolist(), strict=True))
    ]
    return [
        ("Family", analysis.family),
        ("Layers", f"{len(np.unique(layers))}"),
        ("Heads a layer", _span(heads)),
        ("key_dim", _span(columns["key_dim"])),
        ("hidden_dim", _span(columns["hidden_dim"])),
        ("Products measured", f"{len(layers):,}"),
    ]


def _span(values) -> str:
    low, high = int(np.min(values)), int(np.max(values))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _descriptions(analysis, group) -> dict[str, str]:
    """What each chart of a group shows, in words and numbers, for whoever cannot see it."""
    columns, rows, text = analysis.columns, group["rows"], group["text"]
    layers, heads = np.unique(columns["layer"][rows]), int(columns["head"][rows].max()) + 1
    rank, effective, effective_null, agreement, ratio, ratio_null = (
        columns[name][rows]
        for name in (
            "pseudo_rank",
            "effective_rank",
            "effective_rank_null",
            "row_norm_agreement",
            "nuclear_ratio",
            "nuclear_ratio_null",
        )
    )
    lowest = rows[np.nanargmin(rank)] if np.isfinite(rank).any() else rows[0]
    return {
        "heatmap": f"Heatmap of {text}, {len(layers)} layers by {heads} heads. Pseudo rank {_range(rank)}; null "
        f"{_range(columns['pseudo_rank_null'][rows])}. Lowest in layer {columns['layer'][lowest]}, head "
        f"{columns['head'][lowest]}.",
        "spectra": f"Curves of the singular values of {text}, descending, one a layer. On average "
        f"{_middle(effective)} of {_span(columns['key_dim'][rows])} count by effective rank; of Gaussian factors "
        f"{_middle(effective_null)}.",
        "row_norms": f"Scatter plot. {PRODUCTS[group['pair']].norms}, first head of each layer ({text}). "
        f"Agreement over all heads {_range(agreement)}.",
        "tightness": f"Scatter plot of the nuclear norm of {text} over its Frobenius bound. Their ratio is "
        f"{_range(ratio)}; of Gaussian factors {_middle(ratio_null)}.",
    }


def _range(values) -> str:
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return "not finite"
    low, high = format_number(finite.min()), format_number(finite.max())
    return low if low == high else f"{low} to {high}, mean {format_number(finite.mean())}"


def _middle(values) -> str:
    finite = values[np.isfinite(values)]
    return format_number(finite.mean()) if len(finite) else "–"


def describe_curves(chart: dict[str, Any]) -> str:
    """A chart over checkpoints in words: first and last value of each curve.

    Example:
        >>> curve = {"pair": "vo", "label": "", "measured": np.array([0.9, 0.5]), "null": np.array([0.94, 0.94])}
        >>> describe_curves({"id": "pseudo_rank", "label": "Pseudo rank", "curves": [curve]})
        'Pseudo rank over checkpoints. P W_V from 0.9 to 0.5; null 0.94.'
    """
    parts = []
    for curve in chart["curves"]:
        first, last = (format_number(curve["measured"][place]) for place in (0, -1))
        parts.append(f"{PRODUCTS[curve['pair']].text} from {first} to {last}; null {format_number(curve['null'][-1])}.")
    return " ".join([f"{chart['label']} over checkpoints.", *parts])
