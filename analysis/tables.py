"""Tables for people's eyes: a checkpoint layer by layer, several side by side, the differences of two."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rankscope.analysis.analysis import Analysis
from rankscope.analysis.compare import Comparison
from rankscope.analysis.means import means_of_layers, pairs_of
from rankscope.analysis.measurements import Measurements
from rankscope.analysis.run import Run
from rankscope.factors import PRODUCTS, Shown, quantities_in

_SHOWN = tuple(quantities_in(Shown.CHECKPOINTS))
_FOOT = "in brackets: the same for Gaussian factors of the same shapes and norms"


def print_measurements(measurements: Measurements, console: Console) -> None:
    """Print what was measured layer by layer, every number with its null in brackets."""
    _print_layers(console, measurements)
    console.print(_FOOT, soft_wrap=True)


def print_analyses(analyses: Sequence[Analysis], console: Console | None = None) -> None:
    """Print one checkpoint layer by layer, or several with a line each, every number with its null in brackets."""
    console = console or _console()
    _print_heads(console, analyses)
    if len(analyses) == 1:
        _print_layers(console, analyses[0])
    else:
        _print_checkpoints(console, analyses)
    console.print(_FOOT, soft_wrap=True)


def print_comparison(differences: Comparison, console: Console | None = None, shown: int = 10) -> None:
    """Print the differences of two checkpoints: means over each layer, and the heads whose pseudo rank moved most.

    Args:
        differences: as `compare` gives them.
        console: where to; standard output if None.
        shown: number of heads.
    """
    console = console or _console()
    before, after = differences.before, differences.after
    _print_heads(console, (before, after))
    layers = _table("product", "layer")
    for (pair, layer), spectra in before.spectra.items():
        where = (differences["pair"] == pair) & (differences["layer"] == layer)
        cells = [f"{differences[shown.name][where].mean():+{shown.form}}" for shown in _SHOWN]
        layers.add_row(PRODUCTS[pair].symbol, f"{layer} ({len(spectra)} heads)", *cells)
    console.print(layers)
    heads = _table("product", "layer", "head")
    order = np.argsort(-np.abs(differences["pseudo_rank"]), kind="stable")
    for row in order[:shown]:
        place = (
            PRODUCTS[differences["pair"][row]].symbol,
            str(differences["layer"][row]),
            str(differences["head"][row]),
        )
        heads.add_row(*place, *(f"{differences[one.name][row]:+{one.form}}" for one in _SHOWN))
    console.print(f"the {min(shown, len(order))} heads whose pseudo rank differs most:")
    console.print(heads)
    console.print(f"differences: {escape(after.name)} minus {escape(before.name)}", soft_wrap=True)


def print_run(run: Run, console: Console) -> None:
    """Print a run's first and last reading: means over all heads of each kind of pair, nulls in brackets."""
    console.print(f"[bold]{escape(run.name)}[/bold]  {escape(repr(run))}", soft_wrap=True)
    ranks = run.ranks
    if not ranks.rows:
        console.print("no reading yet")
        return
    shown = [quantity for quantity in _SHOWN if quantity.name in ranks]
    table = _table("product", "step", shown=shown)
    for pair in ranks.kinds:
        means = {name: ranks.of_kind(pair, name).mean(axis=0) for name in ranks if ranks[name].dtype == float}
        for reading in (0, -1):
            at = {name: values[reading] for name, values in means.items()}
            step = np.unique(ranks["step"])[reading]
            table.add_row(PRODUCTS[pair].symbol, f"{step:,}", *_cells(at, shown))
        table.add_section()
    console.print(table)
    console.print(_FOOT, soft_wrap=True)


def _console():
    console = Console()
    return console if console.is_terminal else Console(width=150)  # a file has no width of its own


def _print_heads(console, analyses):
    """What was read, and what to keep in mind; what several checkpoints have in common is said once."""
    for analysis in analyses:
        console.print(f"[bold]{escape(analysis.name)}[/bold]  {escape(analysis.path)}", soft_wrap=True, highlight=False)
        if analysis.looks_initialised:
            line = "[bold]Nothing tells these heads from Gaussian factors: it looks like its initialisation.[/bold]"
            console.print(line, soft_wrap=True)
    for family, layers, products in dict.fromkeys(
        (analysis.family, len({layer for _, layer in analysis.spectra}), len(analysis.columns["head"]))
        for analysis in analyses
    ):
        console.print(f"{escape(family)}: {layers} attention layers, {products:,} products of heads", highlight=False)
    for note in dict.fromkeys(note for analysis in analyses for note in analysis.notes):
        console.print(f"note: {escape(note)}", soft_wrap=True, highlight=False)


def _print_layers(console, analysis):
    table = _table("product", "layer", "heads")
    layers = list(means_of_layers(analysis))
    towers = dict.fromkeys(place.get("tower") for place, _ in layers)
    for tower in towers:
        for pair, product in PRODUCTS.items():
            rows = [(place, means) for place, means in layers if (place.get("tower"), place["pair"]) == (tower, pair)]
            for place, means in rows:
                where = place["path"] if len(towers) > 1 else str(place["layer"])
                table.add_row(product.symbol, escape(where), str(place["heads"]), *_cells(means))
            if rows:
                table.add_section()
    for pair, means in pairs_of(analysis):
        table.add_row(PRODUCTS[pair].symbol, "all", str(int((analysis.columns["pair"] == pair).sum())), *_cells(means))
    console.print(table)


def _print_checkpoints(console, analyses):
    table = _table("product", "checkpoint")
    for pair, product in PRODUCTS.items():
        for analysis in analyses:
            for kind, means in pairs_of(analysis):
                if kind == pair:
                    table.add_row(product.symbol, escape(analysis.name), *_cells(means))
        table.add_section()
    console.print(table)


def _table(*places, shown=_SHOWN):
    table = Table()
    for place in places:
        table.add_column(place, overflow="fold")
    for quantity in shown:
        table.add_column(quantity.label, justify="right", overflow="fold")
    return table


def _cells(means, shown=_SHOWN):
    return [f"{means[one.name]:{one.form}}{_null(means, one)}" for one in shown]


def _null(means, quantity):
    null = f"{quantity.name}_null"
    return f" ({means[null]:{quantity.form}})" if null in means else ""
