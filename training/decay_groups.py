"""Who decays how fast, in the terminal and as `decay_groups.csv`."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rankscope.files import write_csv
from rankscope.optimizers.decay import DecayRow


def print_decay_groups(rows: Iterable[DecayRow]) -> None:
    """Print a table of the variables of a model: who decays how fast."""
    table = Table(caption="time constant 1/(ηλ) in steps, at the peak learning rate", caption_justify="left")
    for column in ("variable", "shape", "group", "decay", "time constant"):
        table.add_column(column, justify="left" if column in ("variable", "group") else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row.cells))
    Console().print(table)


def write_decay_groups(path: Path, rows: Iterable[DecayRow]) -> None:
    """Write `decay_groups.csv`: `path`, `shape`, `group`, `decay`, `time_constant`, a row a variable."""
    columns = ["path", "shape", "group", "decay", "time_constant"]
    cells = [
        (row.path, "×".join(str(size) for size in row.shape), row.group, row.decay, row.time_constant) for row in rows
    ]
    write_csv(path, columns, [dict(zip(columns, row, strict=True)) for row in cells])
