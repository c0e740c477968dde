"""Analysis: all heads of one checkpoint, measured side by side while the next layer is read."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rankscope.data.cores import cores
from rankscope.factors import QUANTITIES, FactorPair, Measurement, columns_of, measure
from rankscope.factors.linear_algebra import one_blas_thread

#: Quantities that have a column `<name>_null` beside them.
NULLED = tuple(name for name, quantity in QUANTITIES.items() if quantity.expected is not None)
_PLACES = ("pair", "tower", "path", "layer", "head", "hidden_dim", "key_dim")
#: Columns of an analysis, in order; one row a head and pair.
COLUMNS = (*_PLACES, *columns_of(checkpoint=True))

#: Values of both factors that one task takes: enough to be worth a task, few enough to share out a layer.
_TASK_SIZE = 1 << 20


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was measured of a checkpoint.

    Args:
        name: short name of the checkpoint, such as its file's.
        path: where it lies.
        family: of architectures, as `checkpoints` calls it.
        notes: what loses its meaning for this architecture, and warnings, one sentence each.
        columns: COLUMNS → one value per head and pair, all of one length. Text: pair, tower, path; int64: layer, head,
            hidden_dim, key_dim; float64 the rest, in the units of `factors.measure`.
        spectra: (pair, layer) → singular values (heads, key_dim), descending.
        row_norms: (pair, layer) → squared row norms of the paper's two matrices as figure 5 plots them, of W_K and W_Q
            (or of P's columns and W_V's rows), each (groups, key_dim).
        looks_initialised: nothing tells its heads from Gaussian factors.
    """

    name: str
    path: str
    family: str
    notes: tuple[str, ...]
    columns: dict[str, np.ndarray] = field(repr=False)
    spectra: dict[tuple[str, int], np.ndarray] = field(repr=False)
    row_norms: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = field(repr=False)
    looks_initialised: bool


def analyze(
    checkpoint: Any, jobs: int | None = None, progress: Callable[[int, int, str], None] | None = None
) -> Analysis:
    """Measure every head of a checkpoint.

    LAPACK releases Python's lock, so heads are measured in threads, each with a BLAS of one thread.

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
    >>> factor = np.eye(4, 2)[np.newaxis]
    >>> site = SimpleNamespace(layer=0, tower="block_*")
    >>> family = SimpleNamespace(name="toy")
    >>> toy = SimpleNamespace(name="toy", path="toy", family=family, notes=(), sites=(site,), num_pairs=1)
    >>> toy.pairs = lambda: iter([FactorPair("qk", 0, "block_0", factor, factor)])
    >>> analyze(toy).columns["pseudo_rank"].tolist()
    [1.0]
    """
    jobs = jobs or cores()
    towers = {site.layer: site.tower for site in checkpoint.sites}
    total = checkpoint.num_pairs
    rows: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    spectra, row_norms = {}, {}

    def collect(pair_of_place: FactorPair, readings: list[Measurement]) -> None:
        place = (pair_of_place.pair, pair_of_place.layer)
        spectra[place] = np.concatenate([reading.singular_values for reading in readings])
        row_norms[place] = tuple(np.concatenate([r.row_norms[side] for r in readings]) for side in (0, 1))
        for name in COLUMNS[len(_PLACES) :]:
            rows[name] += [reading.quantities[name] for reading in readings]
        heads = pair_of_place.heads
        for name in ("pair", "path", "layer", "hidden_dim", "key_dim"):
            rows[name].append(np.repeat([getattr(pair_of_place, name)], heads))
        rows["tower"].append(np.repeat([towers[pair_of_place.layer]], heads))
        rows["head"].append(np.arange(heads))
        if progress is not None:
            progress(len(spectra), total, pair_of_place.path)

    _measure_all(checkpoint.pairs(), jobs, collect)
    columns = {name: np.concatenate(parts) for name, parts in rows.items()}
    looks = _looks_initialised(columns)
    return Analysis(
        checkpoint.name,
        str(checkpoint.path),
        checkpoint.family.name,
        tuple(checkpoint.notes),
        columns,
        spectra,
        row_norms,
        looks,
    )


def _measure_all(pairs, jobs, collect):
    """Give `collect` each pair and its readings, in order, while the next pair is read."""
    waiting: deque[tuple[FactorPair, list[Future]]] = deque()
    pool = ThreadPoolExecutor(jobs)
    try:
        with one_blas_thread:  # once for all: setting it costs more than a small head
            for pair in pairs:
                waiting.append((pair, [pool.submit(_measure_heads, pair, part) for part in _parts(pair)]))
                del pair  # two at a time are in memory: the one that is measured and the one that is read
                if len(waiting) > 1:
                    _collect_first(waiting, collect)
            while waiting:
                _collect_first(waiting, collect)
    finally:
        pool.shutdown(cancel_futures=True)


def _collect_first(waiting, collect):
    pair, futures = waiting.popleft()
    collect(pair, [future.result() for future in futures])


def _parts(pair: FactorPair) -> Iterator[tuple[int, int]]:
    """Ranges of groups, whole groups of heads that share a factor: (first, end)."""
    groups = min(len(pair.a), len(pair.b))
    step = max(1, _TASK_SIZE * groups // (pair.a.size + pair.b.size))
    for start in range(0, groups, step):
        yield start, min(start + step, groups)


def _measure_heads(pair: FactorPair, part: tuple[int, int]) -> Measurement:
    groups = min(len(pair.a), len(pair.b))
    # Copied in float64 here, a few heads at a time: a whole layer would be four times its bfloat16 size.
    a, b = (
        # In the file's order of axes, transposed as it may be: LAPACK's own.
        factor[part[0] * len(factor) // groups : part[1] * len(factor) // groups].astype(np.float64)
        for factor in (pair.a, pair.b)
    )
    return measure(FactorPair(pair.pair, pair.layer, pair.path, a, b), premise=True)


def _looks_initialised(columns: dict[str, np.ndarray]) -> bool:
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
