"""The table of final numbers: a row a point, means with intervals over the runs that learned, each beside its null."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rankscope.factors import Shown, quantities_in
from rankscope.records import RunRecords
from rankscope.reports.points import Point, spread
from rankscope.reports.rendering import format_number
from rankscope.reports.words import PRODUCTS

METRICS = {
    "val_accuracy": "Validation accuracy",
    "val_perplexity": "Validation perplexity",
    "val_loss": "Validation loss",
}
RANKS = tuple(quantity.name for quantity in quantities_in(Shown.RUNS))
Summary = Mapping[str, Any]


def summary_rows(points: Sequence[Point], alone: Mapping[Path, str]) -> Iterator[tuple[str, str, Sequence[Summary]]]:
    """Rows of the summary table: label, how many learned, and the summaries whose mean is told.

    Where none of a point's runs learned, each has a row of its own.
    """
    for point in points:
        learned = [run.summary for run in point.learned]
        if learned:
            yield point.label, f"{len(learned)} of {len(point.runs)}", learned
        else:
            for run in point.runs:
                label = alone.get(run.path, point.label)
                yield label, f"no: {run.status.replace('_', ' ')}, seed {run.seed}", [_as_far_as_it_got(run)]


def _as_far_as_it_got(run: RunRecords) -> Summary:
    """A run's summary; of one that has none yet, what its last row and its last reading say."""
    if run.status != "unfinished":
        return run.summary
    found = {name: values[np.isfinite(values)] for name, values in run.history.items()}
    summary = {name: float(values[-1]) for name, values in found.items() if len(values)} | run.summary
    quantities = [name + end for name in RANKS for end in ("", "_null")]
    table = run.ranks(quantities)
    for name in (name for name in quantities if name in table):
        quantity, null = name.removesuffix("_null"), "_null" if name.endswith("_null") else ""
        for pair in dict.fromkeys(table["pair"].tolist()):
            summary[f"{quantity}_{pair}{null}"] = float(table[name][-1, table["pair"] == pair].mean())
    return summary


def products_of(summaries: Sequence[Summary]) -> list[str]:
    """The kinds of product that any of these runs has."""
    return [pair for pair in PRODUCTS if any(f"{RANKS[0]}_{pair}" in summary for summary in summaries)]


def summary_cell(summaries: Sequence[Summary], key: str) -> tuple[str, str]:
    """Mean ± half the width of its 95 % interval over runs, and the mean of its null, empty without one.

    Example:
        >>> summary_cell([{"loss": 1.0}, {"loss": 1.2}], "loss"), summary_cell([{"loss": 1.0}], "loss")
        (('1.1 ± 1.3', ''), ('1', ''))
    """
    null, _ = spread(summaries, f"{key}_null")
    return _rounded(*spread(summaries, key)), "" if np.isnan(null) else _rounded(null, np.nan)


def _rounded(value: float, half: float) -> str:
    """As many digits as the interval leaves sure, two of its own."""
    if not np.isfinite(value):
        return "–"
    if half == 0:
        return f"{value:.3g} ± 0"
    if not np.isfinite(half):
        return f"{value:.3g}" if 1e-4 <= abs(value) < 1e3 else format_number(value)
    digits = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{value:.{digits}f} ± {half:.{digits}f}"
