"""`spectra.npz`: singular values over time, from a file that only grows while the run goes on."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rankscope.files import replace_file
from rankscope.records.evenly import evenly


class SpectraFile:
    """Singular values over time: one line of float64 a reading in an append-only file, an `.npz` at the end.

    A line is the step and then every pair's singular values, so that its length never changes in a run and a line that
    was cut off is seen by the file's size.

    Args:
        path: of the final `spectra.npz`; the growing file is `spectra.part` beside it.
        keep_until: int or None, as in `StepTable`.

    Raises:
        FileExistsError: if either file exists and `keep_until` is None.
    """

    def __init__(self, path: Path, keep_until: int | None = None):
        self.path = Path(path)
        self.growing = self.path.with_suffix(".part")
        self.keep_until = keep_until
        self.shapes = None
        for file in (self.growing, self.path):
            if keep_until is None and file.exists():
                raise FileExistsError(f"{file} exists already")

    def append(self, step: int, spectra: Mapping[str, np.ndarray]) -> None:
        """Add a reading: name → singular values `(heads, key_dim)`, the same names and shapes each time."""
        line = np.concatenate([[step], *(values.ravel() for values in spectra.values())])
        if not self.growing.exists() and self.path.exists():
            self._reopen()
        if self.keep_until is not None and self.growing.exists():
            lines = self._lines(line.size)
            kept = lines[lines[:, 0] <= self.keep_until]
            replace_file(self.growing, lambda file: file.write(kept.tobytes()))
        self.keep_until = None
        self.shapes = {name: values.shape for name, values in spectra.items()}
        with open(self.growing, "ab") as file:
            file.write(line.astype(np.float64).tobytes())

    @property
    def count(self) -> int:
        """Readings so far; 0 before one since the file was opened."""
        if self.shapes is None:
            return 0
        line = 8 * (1 + sum(int(np.prod(shape)) for shape in self.shapes.values()))
        return self.growing.stat().st_size // line

    def read(self, most: int | None = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The readings so far, after one since the file was opened: `steps (readings,)`, and what `close` saves.

        Args:
            most: readings to take, evenly chosen with the first and the last; None for all.
        """
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        count = self.count
        chosen = evenly(count, most or count)
        lines = np.memmap(self.growing, dtype=np.float64, mode="r", shape=(count, 1 + sum(sizes)))[chosen]
        steps, *columns = np.split(lines, np.cumsum([1, *sizes])[:-1], axis=1)
        arrays = {name: c.reshape(-1, *shape) for c, (name, shape) in zip(columns, self.shapes.items(), strict=True)}
        return steps[:, 0].astype(np.int64), arrays

    def close(self) -> None:
        """Write `spectra.npz`: `steps (readings,)` and one array `(readings, heads, key_dim)` a pair.

        Without a reading since the file was opened, all stays as it is.
        """
        if self.shapes is None:
            return
        steps, spectra = self.read()
        replace_file(self.path, lambda file: np.savez(file, steps=steps, **spectra))
        self.growing.unlink()
        self.shapes = None

    def _reopen(self):
        """Go back from the final file, of a run that broke after `close`, to the growing one."""
        with np.load(self.path) as file:
            lines = np.concatenate([file[name].reshape(len(file["steps"]), -1) for name in file.files], axis=1)
        replace_file(self.growing, lambda file: file.write(lines.astype(np.float64).tobytes()))

    def _lines(self, size):
        values = np.fromfile(self.growing, dtype=np.float64)
        return values[: values.size // size * size].reshape(-1, size)
