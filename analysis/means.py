"""Means over heads, of a checkpoint's layers and of all of it."""

from collections.abc import Iterator

import numpy as np

from rankscope.analysis.columns import COLUMNS, NULLED
from rankscope.analysis.measurements import Measurements

#: Columns whose means are taken: all numbers that are measured.
MEASURED = tuple(name for name in COLUMNS if name not in ("pair", "tower", "path", "layer", "head"))


def mean_over(analysis: Measurements, where: np.ndarray) -> dict[str, float]:
    """Means over some rows of an analysis, with the excess over its null beside each quantity that has one.

    Args:
        analysis: of a checkpoint, or of other factor pairs.
        where: mask of its rows, bool, (rows,), with at least one true.

    Returns:
        dict: MEASURED → mean, then `<name>_excess` = mean − mean of the null for each of NULLED.
    """
    means = {name: float(analysis.columns[name][where].mean()) for name in MEASURED}
    return means | {f"{name}_excess": means[name] - means[f"{name}_null"] for name in NULLED}


def means_of_layers(analysis: Measurements) -> Iterator[tuple[dict, dict[str, float]]]:
    """Means over the heads of each pair of each layer, in model order.

    Yields:
        tuple: the place, `{"pair", "tower", "path", "layer", "heads"}` (tower of a checkpoint only), and what
            `mean_over` gives.
    """
    columns = analysis.columns
    for pair, layer in analysis.spectra:
        where = (columns["pair"] == pair) & (columns["layer"] == layer)
        row = int(np.argmax(where))
        place = {name: columns[name][row].item() for name in ("pair", "tower", "path", "layer") if name in columns}
        yield place | {"heads": int(where.sum())}, mean_over(analysis, where)


def pairs_of(analysis: Measurements) -> Iterator[tuple[str, dict[str, float]]]:
    """Means over all heads of each kind of pair: kind, and what `mean_over` gives."""
    for pair in dict.fromkeys(analysis.columns["pair"].tolist()):
        yield pair, mean_over(analysis, analysis.columns["pair"] == pair)
