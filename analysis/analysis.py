"""Analysis: all heads of one checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankscope.analysis.columns import COLUMNS, NULLED
from rankscope.analysis.measurements import Measurements, measure_pairs
from rankscope.frames import html_of


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Analysis(Measurements):
    """What was measured of a checkpoint.

    Args:
        name: short name of the checkpoint, such as its file's.
        path: where it lies.
        family: of architectures, as `checkpoints` calls it.
        notes: what loses its meaning for this architecture, and warnings, one sentence each.
        columns: COLUMNS → as of `Measurements`, and tower, the path of the layer without its number.
        spectra, row_norms: as of `Measurements`.
        looks_initialised: nothing tells its heads from Gaussian factors.
    """

    path: str
    family: str
    notes: tuple[str, ...]
    looks_initialised: bool

    def table(self) -> dict[str, np.ndarray]:
        """One row a head: `checkpoint` (its path), COLUMNS, and `<name>_excess` for each quantity with a null."""
        excess = {f"{name}_excess": self.columns[name] - self.columns[f"{name}_null"] for name in NULLED}
        return {"checkpoint": np.repeat([self.path], len(self.columns["head"])), **self.columns, **excess}

    def _repr_html_(self) -> str:
        from rankscope.analysis.tables import print_analyses

        return html_of(lambda console: print_analyses([self], console))


def analyze_checkpoint(
    checkpoint: Any, jobs: int | None = None, progress: Callable[[int, int, str], None] | None = None
) -> Analysis:
    """Measure every head of a checkpoint.

    Args:
        checkpoint: a `checkpoints.Checkpoint`; its pairs are read one after the other, the next one while the threads
            are busy with one.
        jobs: threads; all cores of this process if None.
        progress: told `(pairs measured, pairs in all, path of the last)` after each.

    Returns:
        Analysis.

    Raises:
        ValueError: for weights that are not finite, naming where; what the checkpoint's reader raises.

    Example:

    >>> from types import SimpleNamespace
    >>> from rankscope.factors import FactorPair
    >>> factor = np.eye(4, 2)[np.newaxis]
    >>> site = SimpleNamespace(layer=0, tower="block_*")
    >>> family = SimpleNamespace(name="toy")
    >>> toy = SimpleNamespace(name="toy", path="toy", family=family, notes=(), sites=(site,), num_pairs=1)
    >>> toy.pairs = lambda: iter([FactorPair("qk", 0, "block_0", factor, factor)])
    >>> analyze_checkpoint(toy).columns["pseudo_rank"].tolist()
    [1.0]
    """
    total = checkpoint.num_pairs
    measured = measure_pairs(
        checkpoint.pairs(),
        checkpoint.name,
        jobs,
        None if progress is None else lambda done, path: progress(done, total, path),
    )
    towers = {site.layer: site.tower for site in checkpoint.sites}
    tower = np.array([towers[layer] for layer in measured.columns["layer"].tolist()])
    columns = {name: tower if name == "tower" else measured.columns[name] for name in COLUMNS}
    return Analysis(
        name=checkpoint.name,
        path=str(checkpoint.path),
        family=checkpoint.family.name,
        notes=tuple(checkpoint.notes),
        columns=columns,
        spectra=measured.spectra,
        row_norms=measured.row_norms,
        looks_initialised=_looks_initialised(columns),
    )


def _looks_initialised(columns: Mapping[str, np.ndarray]) -> bool:
    """Whether the means of ranks, ratio and balance of each layer's products are those of Gaussian factors.

    Each null is a mean of sixteen draws, off by up to 0.3 % (balance: 2 %). Whatever has entries that are independent
    and of one variance looks so, uniform ones, too; training changes at least one of the four by more.
    """
    margins = {"effective_rank": 0.01, "nuclear_ratio": 0.01, "stable_rank": 0.05, "balance_relative": 0.05}
    for pair, layer in set(zip(columns["pair"].tolist(), columns["layer"].tolist(), strict=True)):
        here = (columns["pair"] == pair) & (columns["layer"] == layer)
        for name, margin in margins.items():
            excess, null = columns[name][here] - columns[f"{name}_null"][here], columns[f"{name}_null"][here].mean()
            chance = 2 * excess.std() / np.sqrt(len(excess))  # of few small heads; no more than doubles the margin
            if abs(excess.mean()) > margin * null + min(chance, margin * null):
                return False
    return True
