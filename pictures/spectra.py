"""Singular values over training: a figure, or pixels for dashboards that show images."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rankscope.records import evenly

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = 6  # layers
CURVES = 16  # singular values of a layer
DECADES = 4  # shown below the largest singular value, at most


def spectra_figure(steps: np.ndarray, spectra: Mapping[int, np.ndarray]) -> "Figure":
    """Draw one panel a layer, one curve a singular value: σ over steps, means over heads, the largest dark.

    Of many layers and singular values some are shown, evenly chosen, the first and the last among them.

    Args:
        steps: `(readings,)`.
        spectra: layer → `(readings, heads, key_dim)`, descending along the last axis.

    Example:

    >>> figure = spectra_figure(np.array([0, 10]), {0: np.ones((2, 3, 4)), 1: np.ones((2, 3, 4))})
    >>> [axis.get_title() for axis in figure.axes]
    ['layer 0', 'layer 1']
    """
    import matplotlib
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import NullLocator

    from rankscope.pictures.figure import NotebookFigure

    layers = [sorted(spectra)[place] for place in evenly(len(spectra), PANELS)]
    columns = min(3, math.ceil(math.sqrt(len(layers))))
    rows = -(-len(layers) // columns)
    figure = NotebookFigure(figsize=(3 * columns + 0.6, 2.4 * rows + 0.4), dpi=100)
    panels = figure.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False, subplot_kw={"yscale": "log"}
    ).ravel()
    means = {layer: spectra[layer].mean(axis=1) for layer in layers}  # (readings, key_dim)
    top = max(mean.max() for mean in means.values()) or 1.0
    for panel, layer in zip(panels, layers, strict=False):
        shown = evenly(means[layer].shape[1], CURVES)
        curves = [np.column_stack([steps, means[layer][:, place]]) for place in shown]
        colours = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.95, len(shown)))
        panel.add_collection(LineCollection(curves, colors=colours, linewidths=1))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.set_title(f"layer {layer}", fontsize="small", pad=3)
        panel.tick_params(labelsize="x-small")
    for panel in panels[len(layers) :]:
        panel.set_axis_off()
    floor = top * 10.0**-DECADES  # smaller ones are zero but for rounding
    least = max(floor, min(mean.min() for mean in means.values()) / 1.5)
    panels[0].set(xlim=(steps[0], max(steps[-1], steps[0] + 1)), ylim=(least, top * 1.5))
    figure.supxlabel("step", fontsize="small")
    figure.supylabel("singular values", fontsize="small")
    figure.subplots_adjust(left=0.02 + 0.2 / columns, right=0.98, top=1 - 0.1 / rows, bottom=0.2 / rows, wspace=0.1)
    return figure


def spectra_picture(steps: np.ndarray, spectra: Mapping[int, np.ndarray]) -> np.ndarray:
    """The same as pixels, uint8 `(height, width, 3)`.

    Example:

    >>> picture = spectra_picture(np.array([0, 10]), {0: np.ones((2, 3, 4))})
    >>> picture.dtype, picture.shape[2]
    (dtype('uint8'), 3)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(spectra_figure(steps, spectra))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
