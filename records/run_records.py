"""What a run directory says, read back for whoever reports on it, ended or not; no Keras, and no settings' classes."""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankscope.errors import UserError
from rankscope.files import read_array_header
from rankscope.records.columns import read_columns
from rankscope.records.mapping import in_one_line, read_mapping


class DamagedRunError(UserError):
    """Records that cannot be read; the message names the file.

    Args:
        run: the run directory.
        message: one line.
    """

    def __init__(self, run: Path, message: str):
        super().__init__(message)
        self.run = run


@contextmanager
def _of_run(run: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise DamagedRunError(run, str(error)) from error


@dataclass(frozen=True, eq=False)
class RunRecords:
    """The small files of a run; the large ones are read when they are asked for.

    Args:
        path: of the run directory.
        settings: `settings.yaml`.
        environment: `environment.json`, empty where there is none.
        summary: `summary.json`, or the status `unfinished` alone where there is none.
        history: column of `history.csv` → `(rows,)` float64; empty before the first row.
        decay_groups: rows of `decay_groups.csv`: `path`, `shape`, `group`, `decay`, `time_constant` (NaN: none).
    """

    path: Path
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    summary: Mapping[str, Any]
    history: Mapping[str, np.ndarray]
    decay_groups: list[Mapping[str, Any]]

    @property
    def status(self) -> str:
        """`complete`, `did_not_learn`, `failed` or `unfinished`."""
        return self.summary["status"]

    @property
    def learned(self) -> bool:
        """Whether it is complete and has learned its task: no other run is averaged."""
        return self.status == "complete"

    @property
    def seed(self) -> int | None:
        """Of the run."""
        return self.settings.get("seed")

    @property
    def has_readings(self) -> bool:
        """Whether `ranks.csv` has more than its header."""
        path = self.path / "ranks.csv"
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return [file.readline(2**16).endswith(b"\n") for _ in range(2)] == [True, True]

    @property
    def rank_columns(self) -> list[str]:
        """Names of the columns of `ranks.csv`; empty before its header is written."""
        return _header(self.path / "ranks.csv")

    def ranks(self, quantities: Iterable[str]) -> dict[str, np.ndarray]:
        """Some columns of `ranks.csv`, as far as whole readings go.

        Args:
            quantities: names of columns; those that an older run lacks are left out.

        Returns:
            `step` and `cumulative_learning_rate` `(readings,)`, the latter NaN where the optimizer did not count it;
            `pair`, `layer`, `path`, `head` `(heads,)`; every quantity `(readings, heads)`. Empty before the first
            reading.

        Raises:
            DamagedRunError: in one line, where the file is damaged.
        """
        with _of_run(self.path):
            return self._ranks(list(quantities))

    def _ranks(self, quantities):
        path = self.path / "ranks.csv"
        header = _header(path)
        if not header:
            return {}
        numbers = {"step", "layer", "head", "cumulative_learning_rate"}
        numbers |= {name for name in quantities if name in header}
        table = self._columns(path, numbers, ["pair", "path"])
        rows = len(table["step"])
        heads = int(np.argmax(table["step"] != table["step"][0])) or rows if rows else 1
        readings, rest = divmod(rows, heads)
        if rest and self.status != "unfinished":  # in one that is, the last reading may be on its way
            raise ValueError(f"{path} is damaged: its {rows} rows are no readings of {heads} heads each")
        if readings == 0:
            return {}
        table = {name: values[: heads * readings].reshape(readings, heads) for name, values in table.items()}
        places = {name: table.pop(name) for name in ("pair", "layer", "path", "head")}
        steps = table.pop("step")
        if any((values != values[0]).any() for values in places.values()) or (steps != steps[:, :1]).any():
            raise ValueError(f"{path} is damaged: its readings are not all of the same heads in the same order")
        _check_order(path, steps[:, 0])
        return {
            "step": steps[:, 0].astype(int),
            "cumulative_learning_rate": table.pop("cumulative_learning_rate")[:, 0],
            "pair": places["pair"][0],
            "layer": places["layer"][0].astype(int),
            "path": places["path"][0],
            "head": places["head"][0].astype(int),
            **table,
        }

    def spectra(self) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
        """`spectra.npz`, one product at a time; nothing while the run is unfinished.

        Yields:
            pair, layer, steps `(readings,)` and singular values `(readings, heads, key_dim)`, descending.

        Raises:
            DamagedRunError: in one line, where the file is damaged.
        """
        with _of_run(self.path):
            yield from self._spectra()

    def _spectra(self):
        path = self.path / "spectra.npz"
        if not path.is_file():
            return
        try:
            with zipfile.ZipFile(path) as archive:
                infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                for name, info in infos.items():  # as they are stored: nothing unpacks to more than the file has
                    if info.compress_type != zipfile.ZIP_STORED or info.file_size > path.stat().st_size:
                        raise ValueError(f"{name} is not stored as it is")
                steps = _array(archive, infos.pop("steps"), axes=1)
                for name, info in infos.items():
                    pair, _, layer = name.rpartition("/")
                    sigma = _array(archive, info, axes=3)
                    if len(sigma) != len(steps) or not layer.isdecimal():
                        raise ValueError(f"{name} has {len(sigma)} readings, and there are {len(steps)} steps")
                    yield pair, int(layer), steps.astype(int), sigma
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def _columns(self, path, numbers, texts=()):
        return in_one_line(path, lambda: read_columns(path, numbers, texts, growing=self.status == "unfinished"))


def read_run_records(path: Path) -> RunRecords:
    """Read the small files of a run.

    Args:
        path: of the run directory.

    Raises:
        DamagedRunError: in one line, naming the file that is missing or damaged, and what is wrong with it.
    """
    with _of_run(path):
        return _read_run_records(path)


def _read_run_records(path):
    settings = read_mapping(path / "settings.yaml")
    environment = read_mapping(path / "environment.json") if (path / "environment.json").exists() else {}
    summary = {"status": "unfinished"}
    if (path / "summary.json").exists():
        summary = read_mapping(path / "summary.json")
        if not isinstance(summary.get("status"), str):
            raise ValueError(f"{path / 'summary.json'} is damaged: it has no status")
    run = RunRecords(path, settings, environment, summary, {}, [])
    header = _header(path / "history.csv")
    history = run._columns(path / "history.csv", dict.fromkeys(["step", *header])) if header else {}
    _check_order(path / "history.csv", history.get("step", np.empty(0)))
    groups = []
    if _header(path / "decay_groups.csv"):
        columns = run._columns(path / "decay_groups.csv", ("decay", "time_constant"), ("path", "shape", "group"))
        cells = zip(*(values.tolist() for values in columns.values()), strict=True)
        groups = [dict(zip(columns, row, strict=True)) for row in cells]
    return RunRecords(path, settings, environment, summary, history, groups)


def _check_order(path, steps):
    if not (np.diff(steps) > 0).all():
        raise ValueError(f"{path} is damaged: its steps are not in order")


def _header(path):
    """Names of a CSV file's columns; none where there is no file, or no whole line in it yet."""
    if not path.is_file():
        return []
    with open(path, "rb") as file:
        line = file.readline(2**16)
    return line.decode(errors="replace").strip().split(",") if line.endswith(b"\n") else []


def _array(archive, info, axes):
    """A float or integer array, whose header must agree with the size of its member before memory is taken for it."""
    with archive.open(info) as file:
        header = read_array_header(file)
        if len(header.shape) != axes or header.dtype.kind not in "fi" or header.fortran_order:
            raise ValueError(
                f"{info.filename} must be numbers of {axes} axes. Received: {header.dtype} of shape {header.shape}"
            )
        if header.begin + header.size != info.file_size:
            raise ValueError(f"{info.filename} declares {header.size} bytes and has {info.file_size - header.begin}")
        return np.frombuffer(file.read(header.size), header.dtype).reshape(header.shape)
