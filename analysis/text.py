"""Analyses as CSV and JSON, for other programs."""

import csv
import io
import json
from collections.abc import Sequence

from rankscope.analysis.analysis import Analysis
from rankscope.analysis.means import means_of_layers, pairs_of


def as_csv(analyses: Sequence[Analysis]) -> str:
    """One row a head, pair and checkpoint: the columns of `Analysis.table`.

    Args:
        analyses: of one checkpoint or several.

    Returns:
        str: CSV with a header; numbers are written so that reading them back gives the same.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for number, analysis in enumerate(analyses):
        table = analysis.table()
        if number == 0:
            writer.writerow(table)
        writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    return lines.getvalue()


def as_json(analyses: Sequence[Analysis]) -> str:
    """Everything but the spectra: `{"version": 1, "checkpoints": [{path, family, notes, …, pairs, layers, heads}]}`.

    `pairs` has the means over all heads of a kind of pair, `layers` those of each layer, `heads` the rows of `as_csv`.
    """
    return json.dumps({"version": 1, "checkpoints": [_as_object(analysis) for analysis in analyses]}, indent=1)


def _as_object(analysis):
    columns = {name: column.tolist() for name, column in analysis.table().items() if name != "checkpoint"}
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
