"""Tables that a study prints."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(caption: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of text, numbers to the right; a log, which has no width of its own, gets 120 columns."""
    table = Table(caption=caption, caption_justify="left")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def spread(mean: float, half: float, form: str = ".4f") -> str:
    """Mean ± half the width of its interval, as far as they are known.

    Example:
        >>> spread(0.5, 0.125, "+.3f"), spread(0.5, math.nan), spread(math.nan, math.nan)
        ('+0.500 ± 0.125', '0.5000', '–')
    """
    if math.isnan(mean):
        return "–"
    return f"{mean:{form}}" if math.isnan(half) else f"{mean:{form}} ± {half:{form.lstrip('+')}}"
