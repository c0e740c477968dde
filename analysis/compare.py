"""Differences between two checkpoints, head by head."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rankscope.analysis.analyses import Analyses, analyze
from rankscope.analysis.analysis import Analysis
from rankscope.analysis.columns import MEASURED, NULLED
from rankscope.errors import UserError
from rankscope.factors import PRODUCTS
from rankscope.frames import Frame, html_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What is subtracted: all that is measured, and the excess over the null.
DIFFERENCES = (
    *(name for name in MEASURED if not name.endswith("_null")),
    *(f"{name}_excess" for name in NULLED),
)


class Comparison(Frame):
    """What changed from one checkpoint to another, a table of one row a head.

    Args:
        columns: pair, tower, path, layer, head of `before`, then DIFFERENCES, float64, after − before.
        before: of one checkpoint.
        after: of the other.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], before: Analysis, after: Analysis):
        super().__init__(columns)
        self.before, self.after = before, after

    def plot(self) -> "Figure":
        """Draw figure 5 of the paper for both, one above the other."""
        from rankscope.pictures.figure_5 import figure_5

        return figure_5([self.before, self.after])

    def __repr__(self) -> str:
        ranks = {
            pair: self["pseudo_rank"][self["pair"] == pair].mean() for pair in dict.fromkeys(self["pair"].tolist())
        }
        means = "; ".join(f"{PRODUCTS[pair].symbol} {mean:+.3f}" for pair, mean in ranks.items())
        return (
            f"Comparison of {self.rows:,} products of heads, {self.after.name} minus {self.before.name}; "
            f"mean pseudo rank: {means}"
        )

    def _repr_html_(self) -> str:
        from rankscope.analysis.tables import print_comparison

        return html_of(lambda console: print_comparison(self, console))


def compare(before: Analysis | Analyses | Path | str, after: Analysis | Analyses | Path | str) -> Comparison:
    """What changed from one checkpoint to another of the same architecture.

    Args:
        before: one checkpoint: what `analyze` gave, or a path, which is analysed as it stands.
        after: the other; the same pairs, layers, heads and key dims, wherever they lie.

    Returns:
        Comparison, a table of one row a head: after − before.

    Raises:
        UserError: where a head of one is missing in the other, or has another size; for a path that holds several
            checkpoints, and as of `analyze`.
    """
    before, after = _only(before), _only(after)
    places = [_places(analysis) for analysis in (before, after)]
    if places[0] != places[1]:
        only = sorted(set(places[0]) ^ set(places[1]))
        pair, layer, head, key_dim, hidden_dim = only[0]
        holder, lacking = (before, after) if only[0] in places[0] else (after, before)
        raise UserError(
            f"{before.path} and {after.path} cannot be compared: {pair} of layer {layer}, head {head} with key_dim "
            f"{key_dim} and hidden_dim {hidden_dim} is in {holder.name} and not in {lacking.name}"
        )
    columns = {name: before.columns[name] for name in ("pair", "tower", "path", "layer", "head")}
    for name in DIFFERENCES:
        columns[name] = _value(after, name) - _value(before, name)
    return Comparison(columns, before, after)


def _only(source: Analysis | Analyses | Path | str) -> Analysis:
    """The one checkpoint that is meant."""
    analyses = analyze(source) if isinstance(source, str | Path) else source
    if isinstance(analyses, Analysis):
        return analyses
    if len(analyses) != 1:
        raise UserError(f"Two checkpoints can be compared. Received for one of them: {analyses!r}")
    return analyses[0]


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
