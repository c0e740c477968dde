"""Differences between two checkpoints, head by head."""

import numpy as np

from rankscope.analysis.analysis import COLUMNS, NULLED, Analysis

#: What is subtracted: all that is measured, and the excess over the null.
DIFFERENCES = (
    *(name for name in COLUMNS[COLUMNS.index("key_dim") + 1 :] if not name.endswith("_null")),
    *(f"{name}_excess" for name in NULLED),
)


def compare(before: Analysis, after: Analysis) -> dict[str, np.ndarray]:
    """What changed from one checkpoint to another of the same architecture.

    Args:
        before: of one checkpoint.
        after: of the other; the same pairs, layers, heads and key dims, wherever they lie.

    Returns:
        dict of columns, one value per head and pair: pair, tower, path, layer, head of `before`, then DIFFERENCES,
        float64, after − before.

    Raises:
        ValueError: where a head of one is missing in the other, or has another size.
    """
    places = [_places(analysis) for analysis in (before, after)]
    if places[0] != places[1]:
        only = sorted(set(places[0]) ^ set(places[1]))
        pair, layer, head, key_dim, hidden_dim = only[0]
        holder, lacking = (before, after) if only[0] in places[0] else (after, before)
        raise ValueError(
            f"{before.path} and {after.path} cannot be compared: {pair} of layer {layer}, head {head} with key_dim "
            f"{key_dim} and hidden_dim {hidden_dim} is in {holder.name} and not in {lacking.name}"
        )
    columns = {name: before.columns[name] for name in ("pair", "tower", "path", "layer", "head")}
    for name in DIFFERENCES:
        columns[name] = _value(after, name) - _value(before, name)
    return columns


def _places(analysis) -> list[tuple]:
    return list(
        zip(
            *(analysis.columns[name].tolist() for name in ("pair", "layer", "head", "key_dim", "hidden_dim")),
            strict=True,
        )
    )


def _value(analysis, name):
    if name.endswith("_excess"):
        quantity = name.removesuffix("_excess")
        return analysis.columns[quantity] - analysis.columns[f"{quantity}_null"]
    return analysis.columns[name]
