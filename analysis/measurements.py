"""Measurements: every head of some factor pairs, measured side by side while the next pair is read."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rankscope.analysis.columns import MEASURED, PAIR_COLUMNS
from rankscope.blas import one_blas_thread
from rankscope.data.cores import cores
from rankscope.factors import PRODUCTS, FactorPair, Measurement
from rankscope.factors import measure as measure_pair
from rankscope.frames import Tabular, html_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Product = tuple[str, int]  # pair and layer

#: Values of both factors that one task takes: enough to be worth a task, few enough to share out a layer.
_TASK_SIZE = 1 << 20


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Measurements(Tabular):
    """What was measured of some factor pairs, head by head.

    Args:
        name: short name of what was measured.
        columns: name → one value per head and pair, all of one length. Text: pair, path; int64: layer, head,
            hidden_dim, key_dim; float64 the rest, in the units of `factors.measure`.
        spectra: (pair, layer) → singular values (heads, key_dim), descending.
        row_norms: (pair, layer) → squared row norms of the paper's two matrices as figure 5 plots them, of W_K and W_Q
            (or of P's columns and W_V's rows), each (groups, key_dim).
    """

    name: str
    columns: Mapping[str, np.ndarray]
    spectra: Mapping[Product, np.ndarray]
    row_norms: Mapping[Product, tuple[np.ndarray, np.ndarray]]

    def table(self) -> Mapping[str, np.ndarray]:
        """One row a head: `columns`."""
        return self.columns

    def plot(self) -> "Figure":
        """Draw figure 5 of the paper: row norms of the factors, and nuclear norms beside their bound."""
        from rankscope.pictures.figure_5 import figure_5

        return figure_5([self])

    def __repr__(self) -> str:
        from rankscope.analysis.means import pairs_of

        ranks = "; ".join(
            f"{PRODUCTS[pair].symbol} {means['pseudo_rank']:.3f} ({means['pseudo_rank_null']:.3f})"
            for pair, means in pairs_of(self)
        )
        layers = _count(len({layer for _, layer in self.spectra}), "layer")
        size = f"{layers}, {_count(len(self.columns['head']), 'product')} of heads"
        return f"{type(self).__name__} of {self.name}: {size}; mean pseudo rank (null): {ranks}"

    def _repr_html_(self) -> str:
        from rankscope.analysis.tables import print_measurements

        return html_of(lambda console: print_measurements(self, console))


def _count(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def measure(pairs: FactorPair | Iterable[FactorPair], jobs: int | None = None) -> Measurements:
    """Measure every head of factor pairs, each beside its Gaussian null.

    Args:
        pairs: one FactorPair or several, such as `factor_pairs(model)` gives them, no two of one kind and layer; they
            are taken one after the other, the next one while one is measured.
        jobs: threads; all cores of this process if None.

    Returns:
        Measurements, a table of one row a head: pair, layer, path, head, hidden_dim, key_dim, the quantities and their
        nulls (docs/run-directory.md describes them).

    Raises:
        TypeError: for something else than factor pairs.
        ValueError: without a pair, or for two of one kind and layer; NonFiniteError for weights that are not finite.

    Example:
        A Bᵀ = diag(3, 8): singular values 8 and 3, nuclear norm 11.

        >>> a, b = np.diag([1.0, 2.0])[np.newaxis], np.diag([3.0, 4.0])[np.newaxis]
        >>> result = measure(FactorPair("product", 0, "chain", a, b))
        >>> result.spectra["product", 0].tolist(), result.columns["nuclear_norm"].tolist()
        ([[8.0, 3.0]], [11.0])
    """
    pairs = [pairs] if isinstance(pairs, FactorPair) else pairs
    if not isinstance(pairs, Iterable):
        raise TypeError(
            f"measure takes factor pairs, such as factor_pairs(model) gives them. Received: {type(pairs).__name__}"
        )
    return measure_pairs(pairs, "factor pairs", jobs)


def measure_pairs(
    pairs: Iterable[FactorPair],
    name: str,
    jobs: int | None = None,
    progress: Callable[[int, str], None] | None = None,
) -> Measurements:
    """What `measure` does, told about.

    LAPACK releases Python's lock, so heads are measured in threads, each with a BLAS of one thread.

    Args:
        pairs: as of `measure`.
        name: of the result.
        jobs: as of `measure`.
        progress: told `(pairs measured, path of the last)` after each.

    Raises:
        TypeError, ValueError: as of `measure`.
    """
    rows: dict[str, list[np.ndarray]] = {column: [] for column in PAIR_COLUMNS}
    spectra: dict[Product, np.ndarray] = {}
    row_norms: dict[Product, tuple[np.ndarray, np.ndarray]] = {}

    def collect(pair: FactorPair, readings: list[Measurement]) -> None:
        product = (pair.pair, pair.layer)
        spectra[product] = np.concatenate([reading.singular_values for reading in readings])
        a, b = (np.concatenate([reading.row_norms[side] for reading in readings]) for side in (0, 1))
        row_norms[product] = (a, b)
        for column in MEASURED:
            rows[column] += [reading.quantities[column] for reading in readings]
        for column in ("pair", "layer", "path", "hidden_dim", "key_dim"):
            rows[column].append(np.repeat([getattr(pair, column)], pair.heads))
        rows["head"].append(np.arange(pair.heads))
        if progress is not None:
            progress(len(spectra), pair.path)

    _measure_all(_checked(pairs), jobs or cores(), collect)
    if not spectra:
        raise ValueError("There are no factor pairs to measure: a model has them where its kernels are tagged, by tag")
    columns = {column: np.concatenate(parts) for column, parts in rows.items()}
    return Measurements(name=name, columns=columns, spectra=spectra, row_norms=row_norms)


def _checked(pairs):
    """Refuse what is no pair, and a second one of its kind and layer: there is one place for both's spectra."""
    paths: dict[Product, str] = {}
    for pair in pairs:
        if not isinstance(pair, FactorPair):
            raise TypeError(f"measure takes a FactorPair or an iterable of them. Received one of {type(pair).__name__}")
        product = pair.pair, pair.layer
        if product in paths:
            raise ValueError(
                f"Factor pairs that are measured together must differ in kind or layer. Received twice: {pair.pair} of "
                f"layer {pair.layer}, at {paths[product]!r} and at {pair.path!r}"
            )
        paths[product] = pair.path
        yield pair
        del pair


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
    return measure_pair(FactorPair(pair.pair, pair.layer, pair.path, a, b), premise=True)
