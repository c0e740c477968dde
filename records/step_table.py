"""`history.csv` and `ranks.csv`: CSV files that grow by steps and that a resumed run can cut back."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from rankscope.errors import UserError
from rankscope.files import replace_file


class StepTable:
    """A CSV file whose first column is `step`, written a few rows at a time.

    Numbers are written with `repr`, so that reading them back gives the same float.

    Args:
        path: of the file; it is made with the first row.
        columns: names after `step`; a row may leave some out (empty cells).
        keep_until: int or None; rows of a later step that a broken run left are dropped, and the file keeps its
            columns. None: the file must not exist.

    Raises:
        FileExistsError: if the file exists and `keep_until` is None.
        UserError: if a line of the file to cut back does not begin with a step.
    """

    def __init__(self, path: Path, columns: Iterable[str], keep_until: int | None = None):
        self.path = Path(path)
        self.columns = ["step", *columns]
        self._unknown = "raise"
        if keep_until is None:
            if self.path.exists():
                raise FileExistsError(f"{self.path} exists already")
        elif self.path.exists():
            self._drop_after(keep_until)
            self._keep_header()

    def append(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Write rows and hand them to the operating system."""
        new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction=self._unknown, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)

    def _keep_header(self):
        """A file that an earlier version began keeps its columns, and is not given those that have come since."""
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                header = next(csv.reader(file))
            if header != self.columns:
                self.columns, self._unknown = header, "ignore"

    def _drop_after(self, step):
        try:
            header, *lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is damaged: it is not UTF-8 text") from error
        # A line without its end was being written when the run broke.
        if not header.endswith("\n"):
            self.path.unlink()
            return
        lines = [line for line in lines if line.endswith("\n")]
        for number, line in enumerate(lines, start=2):
            if not line.partition(",")[0].isdecimal():
                raise UserError(
                    f"{self.path} is damaged: line {number} does not begin with a step. Received: {line[:40]!r}"
                )
        kept = [line for line in lines if int(line.partition(",")[0]) <= step]
        replace_file(self.path, lambda file: file.write("".join([header, *kept]).encode()))
