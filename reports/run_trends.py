"""Final numbers of many runs over the setting that varies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from rankscope.reports.points import ATTENTION, Point, is_number, text_of
from rankscope.reports.rendering import chart_label, format_number
from rankscope.reports.words import PRODUCTS

MAX_LINES = 12
FEWEST_TICKS, MOST_TICKS = 3, 50


def trends(points: Sequence[Point], varied: Mapping[str, str], metrics: Mapping[str, str]) -> dict[str, Any] | None:
    """Final numbers over the one setting that varies; over attention's decay where others vary, too.

    Args:
        points: all.
        varied: key → short name of the settings that vary.
        metrics: key of the summaries → label, of what is drawn beside the pseudo ranks.

    Returns:
        None where no such setting has three values. Else `name`, `label` (the same for plotly), `ticks` (its values),
        `missing` (those at which no run learned), `lines` (what else varies, for plotly), and `charts`: `id`, `label`,
        `rank` (of a rank, or not), `means` and `halves` `(lines, ticks)`, `null` `(ticks,)`, None of a metric.
    """
    numeric = [key for key in varied if all(is_number(point.values[key]) for point in points)]
    key = numeric[0] if len(varied) == 1 and numeric else ATTENTION if ATTENTION in numeric else None
    if key is None or not FEWEST_TICKS <= len({point.values[key] for point in points}) <= MOST_TICKS:
        return None
    grid = _Grid(points, key, varied)
    ranks = {f"pseudo_rank_{pair}": Markup("Pseudo rank of ") + product.html for pair, product in PRODUCTS.items()}
    charts = [grid.chart(number, label, rank=True) for number, label in ranks.items()]
    charts += [grid.chart(number, label, rank=False) for number, label in metrics.items()]
    charts = [chart for chart in charts if np.isfinite(chart["means"]).any()]
    if not charts:
        return None
    return {
        "name": varied[key],
        "label": chart_label(varied[key]),
        "missing": [f"{tick:g}" for tick in grid.ticks if tick not in grid.learned],
        "ticks": grid.ticks,
        "lines": [chart_label(line, 60) for line in grid.lines],
        "charts": charts,
    }


class _Grid:
    """Points by the setting that is drawn along the axis, and by the others, one line each.

    Attributes:
        lines: what else varies, of those with three points or more.
        ticks: values along the axis.
        learned: those at which a run learned.
    """

    def __init__(self, points, key, varied):
        self.points, self.key = points, key
        line_of = {
            point.number: ", ".join(f"{varied[k]}={text_of(v)}" for k, v in point.values.items() if k != key)
            for point in points
        }
        counts = Counter(line_of.values())
        self.lines = [line for line, count in counts.items() if count >= FEWEST_TICKS][:MAX_LINES]
        drawn = [point for point in points if line_of[point.number] in self.lines]
        self.ticks = sorted({point.values[key] for point in drawn})
        self.learned = {point.values[key] for point in drawn if point.learned}
        self._found = {(line_of[point.number], point.values[key]): point for point in drawn}

    def chart(self, number, label, rank):
        """Of one number of the summaries: means and half widths of all lines, and the null of a rank."""
        spreads = np.full((len(self.lines), len(self.ticks), 2), np.nan)
        for row, line in enumerate(self.lines):
            for column, tick in enumerate(self.ticks):
                if (line, tick) in self._found:
                    spreads[row, column] = self._found[line, tick].spread(number)
        null = np.array([self._null(number, tick) for tick in self.ticks]) if rank else None
        return {
            "id": number,
            "label": label,
            "rank": rank,
            "means": spreads[..., 0],
            "halves": spreads[..., 1],
            "null": null,
        }

    def _null(self, number, tick):
        at = [point.spread(f"{number}_null")[0] for point in self.points if point.values[self.key] == tick]
        finite = [value for value in at if np.isfinite(value)]
        return np.mean(finite) if finite else np.nan


def describe_trend(trend: Mapping[str, Any], chart: Mapping[str, Any]) -> str:
    """A chart of final numbers in words: every value of the first line."""
    told = ", ".join(
        f"{format_number(mean)} at {tick:g}" for tick, mean in zip(trend["ticks"], chart["means"][0], strict=True)
    )
    label = f"Pseudo rank of {PRODUCTS[chart['id'].rpartition('_')[2]].text}" if chart["rank"] else chart["label"]
    null = (
        f"; null {format_number(np.nanmean(chart['null']))}"
        if chart["rank"] and np.isfinite(chart["null"]).any()
        else ""
    )
    return f"{label} at the last step over {trend['name']}: {told}{null}."
