"""Tables for the terminal: runs side by side, and the zoo."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rankscope.factors import ATTENTION_KINDS, PRODUCTS, QUANTITIES, Shown, quantities_in

SIDE_BY_SIDE = 4  # runs; more do not fit into a terminal

_DECAYS = tuple((f"decay of {kind}", f"{kind}_weight_decay", "{:g}") for kind in ATTENTION_KINDS)
_ROWS = (  # label, key in summary.json, format
    ("status", "status", "{}"),
    ("backend", "backend", "{}"),
    ("seed", "seed", "{}"),
    ("steps", "steps", "{:,}"),
    ("optimizer", "optimizer", "{}"),
    ("decay", "weight_decay", "{:g}"),
    *_DECAYS,
    ("seconds", "wall_seconds", "{:.1f}"),
    ("of which the monitor", "monitor_share", "{:.2%}"),
    ("loss", "loss", "{:.4g}"),
    ("validation loss", "val_loss", "{:.4g}"),
    ("validation accuracy", "val_accuracy", "{:.4f}"),
    ("validation perplexity", "val_perplexity", "{:.4g}"),
    ("tokens a second", "tokens_per_second", "{:,.0f}"),
    ("images a second", "images_per_second", "{:,.0f}"),
    ("images a second, pipeline alone", "pipeline_images_per_second", "{:,.0f}"),
    ("model FLOPs use", "model_flops_utilization", "{:.1%}"),
    ("learned at step", "learned_step", "{:,}"),
)
_IN_A_LIST = (
    *("status", "backend", "seed", "optimizer", "decay"),
    *(label for label, *_ in _DECAYS),
    *("validation accuracy", "validation loss", "validation perplexity"),
)
_RANK = QUANTITIES["pseudo_rank"]  # the one that a list of many runs has room for


def print_runs(runs: Mapping[Path, Mapping]) -> None:
    """Print the summaries of runs, each rank with its Gaussian null in brackets: a few side by side, many as a list.

    A list that is too wide for the terminal becomes several tables, of a few runs each.

    Args:
        runs: run directory → the content of its `summary.json`.
    """
    console = Console()
    names = [escape(run.name) for run in runs]
    summaries = list(runs.values())
    table = _list_of(names, summaries)
    width = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    if len(runs) > SIDE_BY_SIDE and width <= console.width:
        console.print(table)
    else:
        for first in range(0, len(runs), SIDE_BY_SIDE):
            some = slice(first, first + SIDE_BY_SIDE)
            console.print(_side_by_side(names[some], summaries[some]))
    console.print("in brackets: the same for Gaussian factors of the same shapes and norms", soft_wrap=True)
    for run in runs:
        console.print(Text.assemble((run.name, "bold"), f"  {run}"), soft_wrap=True)


def _side_by_side(names, summaries):
    table = Table("")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for label, cells in _rows(summaries):
        table.add_row(label, *cells)
    return table


def _list_of(names, summaries):
    """A row a run; what is the same in all of them stands below."""
    wanted = {*_IN_A_LIST, *(f"{_RANK.label} of {product.symbol}" for product in PRODUCTS.values())}
    rows = [(label, cells) for label, cells in _rows(summaries) if label in wanted]
    alike = [f"{label} {cells[0]}" for label, cells in rows if len(set(cells)) == 1]
    table = Table(caption=f"in all: {', '.join(alike)}" if alike else None, caption_justify="left")
    columns = {"run": names} | {label: cells for label, cells in rows if len(set(cells)) > 1}
    widths = [max(map(len, [*label.split(), *cells])) for label, cells in columns.items()]
    for label, width in zip(columns, widths, strict=True):
        heading = textwrap.fill(label, width)
        table.add_column(heading, justify="left" if label == "run" else "right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table


def _rows(summaries):
    """Label and one cell a run of all that any of the runs has."""
    summaries = list(summaries)
    for label, key, form in _ROWS:
        cells = [_cell(summary.get(key), form) for summary in summaries]
        if any(key in summary for summary in summaries):
            yield label, cells
    for product in PRODUCTS.values():
        for quantity in quantities_in(Shown.RUNS):
            key = f"{quantity.name}_{product.kind}"
            if any(key in summary for summary in summaries):
                cells = [_beside_null(summary, key, f"{{:{quantity.form}}}") for summary in summaries]
                yield f"{quantity.label} of {product.symbol}", cells


def _cell(value, form):
    try:
        return "–" if value is None else escape(form.format(value))
    except (ValueError, TypeError):  # somebody has edited the file
        return escape(str(value))


def _beside_null(summary, key, form):
    value, null = (_cell(summary.get(name), form) for name in (key, f"{key}_null"))
    return value if null == "–" else f"{value} ({null})"


def print_configs(configs: Mapping[str, Mapping[str, str]]) -> None:
    """Print the configs: name, model, what is trained, how long it takes, from what their files say."""
    table = Table("config", "model", "what it is", "time")
    for name, facts in configs.items():
        what, time = (re.split(r"[.:;] ", facts.get(key, ""))[0].rstrip(".") for key in ("title", "time"))
        table.add_row(*map(escape, (name, facts["model"], what, time)))
    Console().print(table)


def print_models(rows: Iterable[tuple[str, str, int, list[str]]]) -> None:
    """Print the zoo: config, model, number of parameters, its factor pairs in words."""
    table = Table()
    for column in ("config", "model", "parameters", "factor pairs"):
        table.add_column(column, justify="right" if column == "parameters" else "left")
    for config, model, parameters, pairs in rows:
        table.add_row(config, model, f"{parameters:,}", "\n".join(pairs))
    Console().print(table)
