"""The numbers of one run at a time, head by head and singular value by singular value."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rankscope.factors import Shown, quantities_in
from rankscope.records import RunRecords, evenly
from rankscope.reports.points import Point
from rankscope.reports.rendering import chart_label, format_number
from rankscope.reports.words import PRODUCTS

MAX_RUNS = 12
MAX_HEATMAP_NUMBERS = 200_000
MAX_SPECTRUM_NUMBERS = 120_000
MAX_LINES = 24  # singular values of a chart
MAX_READINGS = 60
MAX_LAYERS = 24  # of spectra
HEATMAPS = tuple(quantity.name for quantity in quantities_in(Shown.HEATMAPS))


def chosen_runs(points: Sequence[Point], names: Mapping[Any, str]) -> list[tuple[str, RunRecords]]:
    """Name and records of the runs that are shown one by one: all where they are few, else one a point.

    Args:
        points: all.
        names: path of a run → its name.
    """
    runs = [run for point in points for run in point.runs if run.has_readings]
    if len(runs) > MAX_RUNS:
        firsts = [next((run for run in (*point.learned, *point.runs) if run in runs), None) for point in points]
        firsts = [run for run in firsts if run is not None]
        runs = [firsts[place] for place in evenly(len(firsts), MAX_RUNS)]
    return [(names[run.path], run) for run in runs]


def heatmaps(chosen: Sequence[tuple[str, RunRecords]]) -> list[dict[str, Any]]:
    """Every head of the runs that are shown one by one.

    Returns:
        A dict a run: `label`, `steps`, `all` (number of its readings), and `products`: pair → `layers` and `values`:
        quantity → `(readings, layers, heads)`, null where a layer has fewer heads; a null quantity that is the same
        everywhere is one number.
    """
    columns = [*HEATMAPS, *(f"{name}_null" for name in HEATMAPS)]
    found: list[dict[str, Any]] = []
    room = MAX_HEATMAP_NUMBERS
    for left, (name, run) in zip(range(len(chosen), 0, -1), chosen, strict=True):
        table = run.ranks(columns)
        if not table:
            continue
        a_reading = len(table["layer"]) * sum(column in table for column in columns)
        most = room // left // a_reading
        if most < 2 and found:
            continue
        readings = evenly(len(table["step"]), min(MAX_READINGS, max(most, 2)))
        room = max(0, room - a_reading * len(readings))
        products = {}
        for pair in (pair for pair in PRODUCTS if pair in table["pair"]):
            heads = np.flatnonzero(table["pair"] == pair)
            layers, place = np.unique(table["layer"][heads], return_inverse=True)
            values = {}
            for column in columns:
                if column in table:
                    cells = np.full((len(readings), len(layers), int(table["head"][heads].max()) + 1), np.nan)
                    cells[:, place.reshape(-1), table["head"][heads]] = table[column][np.ix_(readings, heads)]
                    same = column.endswith("_null") and np.ptp(cells) == 0
                    values[column] = cells.flat[0] if same else cells
            products[pair] = {"layers": layers, "values": values}
        steps = table["step"][readings]
        found.append(
            {
                "label": chart_label(name, 80),
                "name": name,
                "steps": steps,
                "all": len(table["step"]),
                "products": products,
            }
        )
    return found


def describe_heatmap(shown: Mapping[str, Any], pair: str) -> str:
    """A run's heatmap in words: its size, and the range of pseudo ranks at the last reading."""
    product = shown["products"].get(pair)
    if product is None:
        return f"{shown['name']} has no {PRODUCTS[pair].text}."
    rank = product["values"]["pseudo_rank"][-1]
    finite = rank[np.isfinite(rank)]
    told = f"{format_number(finite.min())} to {format_number(finite.max())}" if len(finite) else "not finite"
    layers, heads = rank.shape
    return (
        f"Heatmap of {PRODUCTS[pair].text}, {layers} layers by {heads} heads, of {shown['name']}. "
        f"Pseudo rank at step {shown['steps'][-1]}: {told}."
    )


def spectra(chosen: Sequence[tuple[str, RunRecords]]) -> list[dict[str, Any]]:
    """Singular values over time of the runs that are shown one by one and have ended.

    Returns:
        A dict a run: `label`, `products`: pair → layer → `steps`, `numbers` (which singular values, from 1), `of` (how
        many there are), `lines` `(numbers, steps)`, the mean over heads.
    """
    found = []
    for name, run in chosen:
        products: dict[str, dict] = {}
        for pair, layer, steps, sigma in run.spectra():
            numbers, readings = evenly(sigma.shape[2], MAX_LINES), evenly(len(steps), MAX_READINGS)
            lines = sigma[readings][:, :, numbers].mean(axis=1).T
            chart = {"steps": steps[readings], "numbers": numbers + 1, "of": sigma.shape[2], "lines": lines}
            products.setdefault(pair, {})[layer] = chart
        if products:
            found.append({"label": chart_label(name, 80), "name": name, "products": products})
    charts = 0
    for run in found:
        for pair, layers in run["products"].items():
            kept = np.array(sorted(layers))[evenly(len(layers), MAX_LAYERS)].tolist()
            run["products"][pair] = {str(layer): layers[layer] for layer in kept}
            charts += len(kept)
    for chart in (chart for run in found for layers in run["products"].values() for chart in layers.values()):
        few = evenly(len(chart["steps"]), max(8, MAX_SPECTRUM_NUMBERS // (charts * len(chart["numbers"]))))
        chart |= {"steps": chart["steps"][few], "lines": chart["lines"][:, few]}
    return found


def describe_spectra(shown: Mapping[str, Any], pair: str) -> str:
    """Singular values of a run's first layer in words: the largest and the smallest, at both ends."""
    layers = shown["products"].get(pair)
    if not layers:
        return f"{shown['name']} has no {PRODUCTS[pair].text}."
    layer, chart = next(iter(layers.items()))
    first, last = (
        f"from {format_number(line[0])} to {format_number(line[-1])}"
        for line in (chart["lines"][0], chart["lines"][-1])
    )
    return (
        f"Curves of {len(chart['numbers'])} of {chart['of']} singular values of {PRODUCTS[pair].text} over steps, "
        f"layer {layer} of {shown['name']}. The largest {first}, the smallest {last}."
    )
