"""A sweep as a table in the terminal."""

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rankscope.factors import PRODUCTS, QUANTITIES
from rankscope.sweeps.sweep import Sweep

_RANK = QUANTITIES["pseudo_rank"]  # the one that a line of several has room for


def print_sweep(sweep: Sweep) -> None:
    """Print a row for each point of a sweep's grid: means over the runs that learned, each rank beside its null."""
    points = sweep.points
    cells = [("validation accuracy", "val_accuracy", "{:.4f}"), ("validation loss", "val_loss", "{:.4g}")]
    cells += [("validation perplexity", "val_perplexity", "{:.4g}")]
    cells += [
        (f"{_RANK.label} of {product.symbol}", f"{_RANK.name}_{product.kind}", f"{{:{_RANK.form}}}")
        for product in PRODUCTS.values()
    ]
    cells = [cell for cell in cells if any(cell[1] in summary for point in points for summary in point.learned)]
    table = Table(
        caption="mean ± half of the 95 % confidence interval (Student's t over seeds) of the runs that learned; "
        "in brackets the mean for Gaussian factors of the same shapes and norms",
        caption_justify="left",
    )
    for label in (*points[0].values, "learned", *(label for label, *_ in cells)):
        table.add_column(escape(label), justify="right", overflow="fold")
    for point in points:
        learned = f"{len(point.learned)} of {len(point.summaries)}"
        table.add_row(*map(escape, point.values.values()), learned, *(_spread(point, *cell[1:]) for cell in cells))
    console = Console()
    console.print(table)
    strayed = [run.name for run in sweep.runs if run.summary["status"] == "did_not_learn"]
    if strayed:
        console.print(f"did not learn, and are in no mean: {'; '.join(strayed)}", markup=False, soft_wrap=True)


def _spread(point, key, form):
    mean, half = point.spread(key)
    if math.isnan(mean):
        return "–"
    null, _ = point.spread(f"{key}_null")
    text = form.format(mean) + ("" if math.isnan(half) else f" ± {form.format(half)}")
    return text if math.isnan(null) else f"{text} ({form.format(null)})"
