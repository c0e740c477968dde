"""TensorBoard event files on every backend, without TensorFlow."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from tensorboardX import SummaryWriter


class EventWriter:
    """Writes scalars, histograms and heatmaps of a run; tags read `quantity/pair/layer`.

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
        """An image of `values (layers, heads)` in [0, 1], one cell a head: dark purple is 0, yellow is 1."""
        colours = matplotlib.colormaps["viridis"](np.clip(values, 0.0, 1.0), bytes=True)[..., :3]  # (layers, heads, 3)
        self.writer.add_image(tag, colours.repeat(24, axis=0).repeat(24, axis=1), step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the event file."""
        self.writer.close()
