"""Figure 5 of the paper for any checkpoint: row norms of the factors, and nuclear norms beside their bound."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rankscope.factors import PRODUCTS
from rankscope.files import replace_file
from rankscope.pictures.symbols import SYMBOLS, mathtext_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")


def draw_figure_5(analyses: Sequence, path: Path) -> None:
    """Draw one row a checkpoint: squared row norms of its pairs, then nuclear norm over Frobenius bound of each pair.

    Row norms are those of the first head of each layer. The grey diagonal is balance; the dashed line is where the
    nuclear norms of Gaussian factors of the same shapes and norms lie, on average.

    Args:
        analyses: one `Analysis` or more.
        path: of the picture, which appears whole or not at all; its suffix says which kind.

    Raises:
        ValueError: for another suffix than .png, .svg or .pdf, or without an analysis.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a picture is a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    if not analyses:
        raise ValueError("figure 5 needs at least one checkpoint")
    import matplotlib  # heavy: not before something is drawn

    figure = figure_5(analyses)
    kind = path.suffix.lower()[1:]
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)  # the same picture is the same file
    with matplotlib.rc_context({"svg.hashsalt": "figure-5"}):
        replace_file(path, lambda file: figure.savefig(file, format=kind, dpi=200, metadata=metadata))


def figure_5(analyses: Sequence) -> "Figure":
    """The figure that `draw_figure_5` saves."""
    from rankscope.pictures.figure import NotebookFigure

    pairs = [pair for pair in PRODUCTS if any(pair in analysis.columns["pair"] for analysis in analyses)]
    figure = NotebookFigure(figsize=(1.2 + 6.4 * len(pairs), 0.6 + 3.4 * len(analyses)), layout="constrained")
    # Names stand above the panels as annotations, for which the layout leaves no room by itself.
    margin = 0.25 / figure.get_figheight()
    figure.get_layout_engine().set(h_pad=0.2, rect=(0, margin / 2, 1, 1 - 1.5 * margin))
    rows = figure.subplots(len(analyses), 2 * len(pairs), squeeze=False)
    for axes, analysis in zip(rows, analyses, strict=True):
        layers = analysis.columns["layer"]
        limits = layers.min(), max(layers.max(), layers.min() + 1)
        points = None
        for place, pair in enumerate(pairs):
            if pair in analysis.columns["pair"]:
                points = _draw_norms(axes[place], analysis, pair, limits)
                _draw_tightness(axes[len(pairs) + place], analysis, pair, limits)
            else:
                axes[place].set_axis_off()
                axes[len(pairs) + place].set_axis_off()
        name = analysis.name if len(analysis.name) <= 32 else analysis.name[:31] + "…"
        # parse_math: a name with two dollar signs is no formula
        axes[0].annotate(
            name,
            (0, 1),
            (0, 22),
            "axes fraction",
            "offset points",
            weight="bold",
            parse_math=False,
            annotation_clip=False,
        )
        figure.colorbar(points, ax=axes, label="layer", shrink=0.8, aspect=25, pad=0.01)
    return figure


def _draw_norms(axis, analysis, pair, limits):
    keys = sorted(key for key in analysis.row_norms if key[0] == pair)
    x, y = (np.concatenate([analysis.row_norms[key][side][0] for key in keys]) for side in (0, 1))
    layers = np.concatenate([np.full(len(analysis.row_norms[key][0][0]), key[1]) for key in keys])
    points = _scatter(axis, x, y, layers, limits)
    product = PRODUCTS[pair]
    axis.set(xlabel=f"squared norms, {_of(product.a_rows)}", ylabel=f"squared norms, {_of(product.b_rows)}")
    axis.set_title(f"{SYMBOLS[pair]}, first head of each layer", fontsize="medium")
    return points


def _of(rows):
    """`rows of W_K` with the matrix as a formula."""
    words, _, matrix = rows.rpartition(" ")
    return f"{words} {mathtext_of(matrix)}"


def _draw_tightness(axis, analysis, pair, limits):
    columns, chosen = analysis.columns, analysis.columns["pair"] == pair
    bound, nuclear, layers, null = (
        columns[name][chosen] for name in ("frobenius_bound", "nuclear_norm", "layer", "nuclear_ratio_null")
    )
    _scatter(axis, bound, nuclear, layers, limits)
    null = null[np.isfinite(null)]
    if len(null):
        axis.axline((0, 0), slope=null.mean(), color="k", linestyle=(0, (4, 2)), linewidth=1, label="Gaussian null")
        axis.legend(fontsize="small", frameon=False, loc="upper left")
    axis.set(xlabel=r"Frobenius bound $\frac{1}{2}(\|A\|^2+\|B\|^2)$", ylabel="nuclear norm")
    axis.set_title(f"{SYMBOLS[pair]}, all heads", fontsize="medium")


def _scatter(axis, x, y, layers, limits):
    """Points coloured by layer over the diagonal, on two equal axes from 0."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y, layers = x[finite], y[finite], layers[finite]
    most = 1.04 * max(x.max(initial=0.0), y.max(initial=0.0)) or 1.0
    axis.axline((0, 0), slope=1, color="0.65", linewidth=1)
    points = axis.scatter(
        x,
        y,
        c=layers,
        s=6,
        alpha=0.8,
        cmap="viridis",
        vmin=limits[0],
        vmax=limits[1],
        linewidths=0,
        rasterized=len(x) > 2000,
        zorder=2,
    )
    axis.set(xlim=(0, most), ylim=(0, most), box_aspect=1)
    axis.ticklabel_format(axis="both", style="sci", scilimits=(-3, 4))
    return points
