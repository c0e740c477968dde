"""TensorBoard event files on every backend, without TensorFlow."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib
import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

CELL = 24  # pixels of a heatmap


class EventWriter:
    """Writes what TensorBoard shows of a run; tags read `quantity/pair/layer`.

    `keras.callbacks.TensorBoard` needs TensorFlow whatever the backend (Keras issue 19121); tensorboardX writes the
    same files.

    Args:
        directory: where the event file goes.
        resume_step: int or None; TensorBoard then forgets what a broken run wrote after this step.
    """

    def __init__(self, directory: Path, resume_step: int | None = None):
        purge_step = None if resume_step is None else resume_step + 1
        self.writer = SummaryWriter(
            str(directory),
            purge_step=purge_step,
            flush_secs=5,
            max_queue=1000,  # a reading's events fit in: with the default of 10 training waits for the writer
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point in each named curve."""
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def histogram(self, step: int, tag: str, values: np.ndarray) -> None:
        """The distribution of an array's entries."""
        self.writer.add_histogram(tag, values.ravel(), step)

    def heatmap(self, step: int, tag: str, values: np.ndarray) -> None:
        """An image of `values (layers, heads)` in [0, 1], one cell a head: dark purple is 0, yellow is 1.

        Of few heads and many layers cells are wide: TensorBoard makes all images as wide as each other.
        """
        layers, heads = values.shape
        width = max(CELL, -(-2 * CELL * layers // heads))
        colours = matplotlib.colormaps["viridis"](np.clip(values, 0.0, 1.0), bytes=True)[..., :3]  # (layers, heads, 3)
        pixels = colours.repeat(CELL, axis=0).repeat(width, axis=1)
        pixels[CELL - 1 : -1 : CELL] = pixels[:, width - 1 : -1 : width] = 255  # white lines between cells
        self.picture(step, tag, pixels)

    def picture(self, step: int, tag: str, pixels: np.ndarray) -> None:
        """An image, uint8 `(height, width, 3)`."""
        self.writer.add_image(tag, pixels, step, dataformats="HWC")

    def text(self, step: int, tag: str, markdown: str) -> None:
        """A text in Markdown."""
        self.writer.add_text(tag, markdown, step)

    def layout(self, charts: Mapping[str, Mapping[str, Iterable[str]]]) -> None:
        """What the Custom Scalars tab shows: category → title of a chart → patterns of its curves' tags."""
        self.writer.add_custom_scalars(
            {
                category: {title: ["Multiline", list(patterns)] for title, patterns in titles.items()}
                for category, titles in charts.items()
            }
        )

    def hyperparameters(self, values: Mapping[str, float | str], metrics: Iterable[str]) -> None:
        """The run's line in the HParams tab: its settings, beside the last points of the curves `metrics`."""
        experiment, start, self._end = hparams(dict(values), dict.fromkeys(metrics))
        # Into the run's own file: add_hparams would make a run of its own within the run.
        for summary in (experiment, start):
            self.writer.file_writer.add_summary(summary)

    def succeeded(self) -> None:
        """Tell the HParams tab that the run has ended well."""
        self.writer.file_writer.add_summary(self._end)

    def close(self) -> None:
        """Flush and close the event file."""
        self.writer.close()
