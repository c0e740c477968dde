"""Run: the records of a training as tables and pictures."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rankscope.analysis.analyses import naming
from rankscope.errors import UserError
from rankscope.frames import Frame, Tabular, html_of
from rankscope.records import RunRecords, read_run_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns of `ranks.csv` that are one value a reading, one text a head, whole numbers.
_OF_READING = ("step", "cumulative_learning_rate")
_OF_HEAD = ("pair", "layer", "path", "head")
_WHOLE = ("hidden_dim", "key_dim")


class Ranks(Frame):
    """`ranks.csv`, one row a reading and head.

    Args:
        columns: of the file, in its order.
        name: of the run.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], name: str):
        super().__init__(columns)
        self.name = name

    @property
    def kinds(self) -> list[str]:
        """Kinds of pairs, in the order of the model."""
        return list(dict.fromkeys(self["pair"].tolist()))

    def of_kind(self, pair: str, quantity: str) -> np.ndarray:
        """A quantity of all pairs of one kind, `(heads, readings)`."""
        readings = len(np.unique(self["step"]))
        return self[quantity][self["pair"] == pair].reshape(readings, -1).T

    def plot(self, *others: "Ranks") -> "Figure":
        """Draw the mean pseudo rank of each kind of pair over steps, with its null and a band over all heads.

        Args:
            others: of other runs, to be drawn beside it.

        Raises:
            UserError: before the first reading.
        """
        from rankscope.pictures.curves import Curve, ranks_figure, run_colours

        runs = [run for run in (self, *others) if run.rows]
        if not runs:
            raise UserError(f"There is nothing to draw: {self.name} has no reading in ranks.csv yet")
        coloured = list(zip(runs, run_colours(len(runs)), strict=True))
        curves, nulls = {}, {}
        for pair in dict.fromkeys(pair for run in runs for pair in run.kinds):
            having = [(run, colour) for run, colour in coloured if pair in run.kinds]
            curves[pair] = [
                Curve(run.name, colour, np.unique(run["step"]), run.of_kind(pair, "pseudo_rank"))
                for run, colour in having
            ]
            first, _ = having[0]
            nulls[pair] = np.unique(first["step"]), first.of_kind(pair, "pseudo_rank_null").mean(axis=0)
        return ranks_figure(curves, nulls)


class History(Frame):
    """`history.csv`: loss, metrics and learning rate, a row every few steps; NaN where a row has none."""

    def plot(self) -> "Figure":
        """Draw a panel a quantity, training and validation together.

        Raises:
            UserError: before the first row.
        """
        from rankscope.pictures.curves import history_figure

        if not self.rows:
            raise UserError("There is nothing to draw: the run has no history.csv, or no row in it yet")
        return history_figure(self)


class Spectra(Tabular, Mapping[tuple[str, int], np.ndarray]):
    """Singular values over time: (pair, layer) → `(readings, heads, key_dim)`, descending; empty until a run has ended.

    Args:
        steps: `(readings,)`.
        spectra: (pair, layer) → as above.
    """

    def __init__(self, steps: np.ndarray, spectra: Mapping[tuple[str, int], np.ndarray]):
        self.steps = steps
        self._spectra = dict(spectra)

    def __getitem__(self, product: tuple[str, int]) -> np.ndarray:
        return self._spectra[product]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._spectra)

    def __len__(self) -> int:
        return len(self._spectra)

    def table(self) -> Frame:
        """One row a singular value: step, pair, layer, head, index (0 for the largest), singular_value."""
        names = ("step", "pair", "layer", "head", "index", "singular_value")
        parts: list[tuple[np.ndarray, ...]] = []
        for (pair, layer), sigma in self.items():
            reading, head, index = (axis.ravel() for axis in np.indices(sigma.shape))
            count = sigma.size
            parts.append(
                (self.steps[reading], np.repeat([pair], count), np.full(count, layer), head, index, sigma.ravel())
            )
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] or [np.empty(0)] * len(names)
        return Frame(dict(zip(names, columns, strict=True)))

    def plot(self, pair: str | None = None) -> "Figure":
        """Draw a panel a layer: means over heads of singular values over steps.

        Args:
            pair: kind of pair; the first that there is if None.

        Raises:
            UserError: where there is no such pair.
        """
        from rankscope.pictures.spectra import spectra_figure

        kinds = list(dict.fromkeys(kind for kind, _ in self))
        chosen = pair if pair is not None or not kinds else kinds[0]
        if chosen not in kinds:
            raise UserError(
                f"There are singular values of {', '.join(kinds)}. Received: {chosen}"
                if kinds
                else "There is nothing to draw: spectra.npz is written when a run has ended"
            )
        return spectra_figure(self.steps, {layer: sigma for (kind, layer), sigma in self.items() if kind == chosen})

    def __repr__(self) -> str:
        products = ", ".join(f"{pair}/{layer}" for pair, layer in self)
        return f"Spectra of {len(self.steps)} readings: {products}"

    def _repr_html_(self) -> str:
        return html_of(lambda console: console.print(repr(self), markup=False))


class Run:
    """A training's records; each file is read once, when it is first asked for.

    Args:
        records: of its run directory.
        name: short name, that of the directory.

    Attributes:
        path: of the run directory.
        settings: of the run, as nested mappings; empty where RankMonitor alone wrote the directory.
        summary: `summary.json`; the status `unfinished` alone until a run has ended; empty as for `settings`.
        history: a table of `history.csv`.
    """

    def __init__(self, records: RunRecords, name: str):
        self._records = records
        self.name = name
        self.path = records.path
        self.settings: Mapping[str, Any] = records.settings
        self.summary: Mapping[str, Any] = records.summary if records.settings else {}
        self.history = History(records.history)

    @cached_property
    def ranks(self) -> Ranks:
        """A table of `ranks.csv`: one row a reading and head, all quantities and nulls; empty before the first reading.

        Raises:
            UserError: in one line, where the file is damaged.
        """
        with naming(self.path):
            header = self._records.rank_columns
            wide = self._records.ranks([name for name in header if name not in (*_OF_READING, *_OF_HEAD)])
        if not wide:
            return Ranks({name: np.empty(0) for name in header}, self.name)
        readings, heads = len(wide["step"]), len(wide["head"])
        columns = {name: np.repeat(wide[name], heads) for name in _OF_READING}
        columns |= {name: np.tile(wide[name], readings) for name in _OF_HEAD}
        columns |= {name: wide[name].ravel() for name in header if name not in columns}
        columns |= {name: columns[name].astype(int) for name in _WHOLE if name in columns}
        return Ranks({name: columns[name] for name in header}, self.name)

    @cached_property
    def spectra(self) -> Spectra:
        """Singular values over time, from `spectra.npz`.

        Raises:
            UserError: in one line, where the file is damaged.
        """
        with naming(self.path):
            products = list(self._records.spectra())
        steps = products[0][2] if products else np.empty(0, int)
        return Spectra(steps, {(pair, layer): sigma for pair, layer, _, sigma in products})

    def plot(self, *others: "Run") -> "Figure":
        """Draw the mean pseudo rank of each kind of pair over steps, with its null and a band over all heads.

        Args:
            others: runs to be drawn beside it.
        """
        return self.ranks.plot(*(run.ranks for run in others))

    def __repr__(self) -> str:
        if not self.settings:
            return f"Run at {self.path}: readings of RankMonitor"
        model = self.settings.get("model")
        kind = f" of {model['name']}" if isinstance(model, Mapping) and "name" in model else ""
        steps = f", {self.summary['steps']:,} steps" if isinstance(self.summary.get("steps"), int) else ""
        return f"Run{kind} at {self.path}: {self.summary['status']}{steps}"

    def _repr_html_(self) -> str:
        from rankscope.analysis.tables import print_run

        return html_of(lambda console: print_run(self, console))


def load_run(path: Path | str) -> Run:
    """The records of a run, as tables: of a directory that `fit` made, or that RankMonitor wrote in your own training.

    Args:
        path: of the directory, whether its run has ended or not.

    Raises:
        UserError: in one line, for a path that is no such directory, or a file in it that is damaged.

    Example:
        >>> load_run("saved_models")
        Traceback (most recent call last):
        rankscope.errors.UserError: saved_models is not a run directory: it has neither settings.yaml nor ranks.csv
    """
    path = Path(path)
    name = path.name or path.absolute().name
    if (path / "settings.yaml").is_file():
        with naming(path):
            return Run(read_run_records(path), name)
    if (path / "ranks.csv").is_file():
        return Run(RunRecords(path, {}, {}, {"status": "unfinished"}, {}, []), name)
    raise UserError(f"{path} is not a run directory: it has neither settings.yaml nor ranks.csv")
