"""CSV files read back by columns."""

import csv
import sys
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rankscope.errors import UserError


def read_columns(
    path: Path, numbers: Iterable[str], texts: Iterable[str] = (), growing: bool = False
) -> dict[str, np.ndarray]:
    """Some columns of a CSV file with a header line, such as a run's `ranks.csv`; the others take no memory.

    Args:
        path: of the file.
        numbers: names of columns of numbers; an empty cell is NaN.
        texts: names of columns of text.
        growing: whether the file may still be written to: a last line without its end is left out.

    Returns:
        Name → `(rows,)`, float64 or str.

    Raises:
        UserError: naming the file and the line, where a column is missing, a line is cut off or a cell is no number.
    """
    numbers, texts = list(numbers), list(texts)
    with open(path, newline="", encoding="utf-8") as file:
        lines = csv.reader(line for line in file if not growing or line.endswith("\n"))
        header = next(lines, [])
        missing = [name for name in (*numbers, *texts) if name not in header]
        if missing:
            raise UserError(f"{path} lacks the columns {', '.join(missing)}. Received: {', '.join(header)}")
        values = [(array("d"), header.index(name)) for name in numbers]
        words = [([], header.index(name)) for name in texts]
        for line in lines:
            try:
                for column, place in values:
                    column.append(float(line[place] or "nan"))
                for column, place in words:
                    column.append(sys.intern(line[place]))  # few different ones, in many rows
            except (IndexError, ValueError) as error:
                raise UserError(f"{path}, line {lines.line_num}: {error}. Received: {','.join(line)}") from error
    columns = (np.asarray(column) for column, _ in (*values, *words))
    return dict(zip((*numbers, *texts), columns, strict=True))
