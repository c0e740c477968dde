"""Tables of results: columns of one length by name, which become DataFrames and, in a notebook, HTML."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas
    import polars
    from rich.console import Console

#: What a table shows of itself: rows, half of them from its end, and columns.
SHOWN_ROWS = 10
SHOWN_COLUMNS = 12


class Tabular(ABC):
    """A result whose numbers are a table."""

    @abstractmethod
    def table(self) -> Mapping[str, np.ndarray]:
        """The table: name of a column → one value per row, `(rows,)`, text or numbers."""

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as a DataFrame of pandas.

        Raises:
            ModuleNotFoundError: in one line, where pandas is not installed.
        """
        return _library("pandas").DataFrame(dict(self.table()))

    def to_polars(self) -> "polars.DataFrame":
        """The table as a DataFrame of polars.

        Raises:
            ModuleNotFoundError: in one line, where polars is not installed.
        """
        return _library("polars").DataFrame(dict(self.table()))


class Frame(Tabular, Mapping[str, np.ndarray]):
    """A table that is also a mapping of its columns.

    Args:
        columns: name → one value per row, `(rows,)`, text or numbers; all of one length.

    Raises:
        ValueError: for columns of different lengths.

    Example:
        >>> frame = Frame({"layer": np.array([0, 1]), "pseudo_rank": np.array([0.9, 0.5])})
        >>> frame
        Frame of 2 rows: layer, pseudo_rank
        >>> frame["pseudo_rank"].tolist()
        [0.9, 0.5]
    """

    def __init__(self, columns: Mapping[str, np.ndarray]):
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The columns of a table must be of one length. Received: {lengths}")
        self._columns = dict(columns)
        #: Number of rows.
        self.rows: int = next(iter(lengths.values()), 0)

    def table(self) -> Mapping[str, np.ndarray]:
        """The table itself."""
        return self

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        names = list(self)
        more = f", … ({len(names)} columns)" if len(names) > SHOWN_COLUMNS else ""
        return f"{type(self).__name__} of {self.rows:,} rows: {', '.join(names[:SHOWN_COLUMNS])}{more}"

    def _repr_html_(self) -> str:
        return html_of(self._print, width=1000)  # which a notebook scrolls

    def _print(self, console: "Console") -> None:
        from rich.markup import escape
        from rich.table import Table

        names = list(self)[:SHOWN_COLUMNS]
        table = Table()
        for name in names:
            is_text = self[name].dtype.kind not in "biuf"
            table.add_column(escape(name), justify="left" if is_text else "right", overflow="fold")
        rows: list[int | None] = list(range(self.rows))
        if self.rows > SHOWN_ROWS:
            rows = [*rows[: SHOWN_ROWS // 2], None, *rows[-SHOWN_ROWS // 2 :]]
        for row in rows:
            table.add_row(*("…" if row is None else escape(_cell(self[name][row])) for name in names))
        console.print(table)
        left_out = f", {len(names)} of them shown" if len(names) < len(self) else ""
        console.print(f"{self.rows:,} rows, {len(self)} columns{left_out}", highlight=False)


def html_of(print_to: Callable[["Console"], None], width: int = 150) -> str:
    """What would be printed to a terminal, as HTML for a notebook; all text is escaped.

    Args:
        print_to: function that prints to a console.
        width: of the console in characters.

    Example:
        >>> html_of(lambda console: console.print("<b>"))
        '<pre style="...">&lt;b&gt;\\n</pre>'
    """
    from rich.console import Console

    console = Console(
        file=io.StringIO(), record=True, force_jupyter=False, width=width, highlight=False, color_system=None
    )
    print_to(console)
    style = "white-space:pre;overflow-x:auto;line-height:normal;font-family:Menlo,'DejaVu Sans Mono',consolas,monospace"
    return console.export_html(code_format=f'<pre style="{style}">{{code}}</pre>', inline_styles=True)


def _cell(value) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        message = f"to_{name}() needs {name}, which is not installed: pip install 'rankscope[frames]'"
        raise ModuleNotFoundError(message, name=name) from error
