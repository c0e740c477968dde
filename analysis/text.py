"""Analyses as CSV and JSON, for other programs."""

import csv
import io
import json
from collections.abc import Sequence

import numpy as np

from rankscope.analysis.analysis import COLUMNS, NULLED, Analysis
from rankscope.analysis.means import means_of_layers, pairs_of


def as_csv(analyses: Sequence[Analysis]) -> str:
    """One row a head, pair and checkpoint: `checkpoint`, COLUMNS, and `<name>_excess` for each quantity with a null.

    Args:
        analyses: of one checkpoint or several.

    Returns:
        str: CSV with a header; numbers are written so that reading them back gives the same.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["checkpoint", *COLUMNS, *(f"{name}_excess" for name in NULLED)])
    for analysis in analyses:
        columns = [*_with_excess(analysis).values()]
        writer.writerows([analysis.path, *row] for row in zip(*columns, strict=True))
    return lines.getvalue()


def as_json(analyses: Sequence[Analysis]) -> str:
    """Everything but the spectra: `{"version": 1, "checkpoints": [{path, family, notes, …, pairs, layers, heads}]}`.

    `pairs` has the means over all heads of a kind of pair, `layers` those of each layer, `heads` the rows of `as_csv`.
    """
    return json.dumps({"version": 1, "checkpoints": [_as_object(analysis) for analysis in analyses]}, indent=1)


def _as_object(analysis):
    columns = _with_excess(analysis)
    return {
        "path": analysis.path,
        "name": analysis.name,
        "family": analysis.family,
        "notes": list(analysis.notes),
        "looks_initialised": analysis.looks_initialised,
        "pairs": dict(pairs_of(analysis)),
        "layers": [place | means for place, means in means_of_layers(analysis)],
        "heads": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    }


def _with_excess(analysis) -> dict[str, list]:
    columns: dict[str, np.ndarray] = {name: analysis.columns[name] for name in COLUMNS}
    columns |= {f"{name}_excess": columns[name] - columns[f"{name}_null"] for name in NULLED}
    return {name: column.tolist() for name, column in columns.items()}
