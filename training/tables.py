"""Tables for people's eyes."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

_ROWS = (  # label, key in summary.json, format
    ("status", "status", "{}"),
    ("backend", "backend", "{}"),
    ("seed", "seed", "{}"),
    ("steps", "steps", "{:,}"),
    ("decay", "weight_decay", "{:g}"),
    ("decay of qk", "qk_weight_decay", "{:g}"),
    ("decay of vo", "vo_weight_decay", "{:g}"),
    ("seconds", "wall_seconds", "{:.1f}"),
    ("of which the monitor", "monitor_share", "{:.2%}"),
    ("loss", "loss", "{:.4g}"),
    ("validation loss", "val_loss", "{:.4g}"),
    ("validation accuracy", "val_accuracy", "{:.4f}"),
)
_PAIRS = {"qk": "W_KᵀW_Q", "vo": "P W_V", "product": "A Bᵀ"}
_RANKS = (
    ("pseudo rank", "pseudo_rank", "{:.3f}"),
    ("effective rank", "effective_rank", "{:.2f}"),
    ("nuclear / Frobenius", "nuclear_ratio", "{:.3f}"),
    ("imbalance", "balance_relative", "{:.3f}"),
)


def print_runs(runs: Mapping[Path, Mapping]) -> None:
    """Print the summaries of runs side by side; each rank with its Gaussian null in brackets.

    Args:
        runs: run directory → the content of its `summary.json`, `{"status": "unfinished"}` where there is none.
    """
    table = Table()
    table.add_column("")
    for run in runs:
        table.add_column(run.name, justify="right", overflow="fold")
    has_attention = any("pseudo_rank_qk" in summary for summary in runs.values())
    for label, key, form in _ROWS:
        if has_attention or key not in ("qk_weight_decay", "vo_weight_decay"):
            _add_row(table, label, [summary.get(key) for summary in runs.values()], form)
    for pair, product in _PAIRS.items():
        for label, quantity, form in _RANKS:
            cells = [_beside_null(summary, f"{quantity}_{pair}", form) for summary in runs.values()]
            _add_row(table, f"{label} of {product}", cells, "{}")
    console = Console()
    console.print(table)
    console.print("in brackets: the same for Gaussian factors of the same shapes and norms", soft_wrap=True)
    for run in runs:
        console.print(f"[bold]{run.name}[/bold]  {run}", soft_wrap=True, highlight=False)


def print_models(rows: Iterable[tuple[str, str, int, list[str]]]) -> None:
    """Print the zoo: config, model, number of parameters, its factor pairs in words."""
    table = Table()
    for column in ("config", "model", "parameters", "factor pairs"):
        table.add_column(column, justify="right" if column == "parameters" else "left")
    for config, model, parameters, pairs in rows:
        table.add_row(config, model, f"{parameters:,}", "\n".join(pairs))
    Console().print(table)


def print_decay_groups(rows: Iterable) -> None:
    """Print a table of `optimizers.DecayRow`: who decays how fast."""
    table = Table(caption="time constant 1/(ηλ) in steps, at the peak learning rate", caption_justify="left")
    for column in ("variable", "shape", "group", "decay", "time constant"):
        table.add_column(column, justify="left" if column in ("variable", "group") else "right")
    for row in rows:
        constant = "never" if math.isinf(row.time_constant) else f"{row.time_constant:,.0f}"
        table.add_row(row.path, "×".join(map(str, row.shape)), row.group, f"{row.decay:g}", constant)
    Console().print(table)


def _beside_null(summary, key, form):
    if key not in summary:
        return None
    null = f"{key}_null"
    return form.format(summary[key]) + (f" ({form.format(summary[null])})" if null in summary else "")


def _add_row(table, label, values, form):
    if any(value is not None for value in values):
        table.add_row(label, *("–" if value is None else form.format(value) for value in values))
