"""Reads every factor pair of a model while it learns."""

import time
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from callbacks.events import EventWriter
from callbacks.step_callback import StepCallback
from factors import NULL_QUANTITIES, QUANTITIES, FactorPair, Measurement, measure
from factors.pair import PAIR_KINDS
from records import SpectraFile, StepTable
from zoo import factor_pairs

RANK_COLUMNS = [
    "cumulative_learning_rate",
    "pair",
    "layer",
    "path",
    "head",
    "hidden_dim",
    "key_dim",
    *QUANTITIES,
    *(f"{name}_null" for name in NULL_QUANTITIES),
]

# Quantities with curves of their own in TensorBoard; ranks.csv has them all.
CURVES = ("pseudo_rank", "effective_rank", "nuclear_gap", "nuclear_gap_bound", "balance_relative", "nuclear_ratio")


class RankMonitor(StepCallback):
    """Measures the factor pairs of any model with tagged kernels at step 0, every `every` steps and at the last step.

    Mean pseudo ranks go into the Keras logs as `rank_qk`, `rank_vo`, `rank_product`, so that the progress bar and other
    callbacks see them. With a directory, each reading also goes to `ranks.csv` (one row a head), `spectra.npz` and
    TensorBoard events.

    Args:
        every: int ≥ 1, steps between readings. A reading costs a copy of the tagged kernels to the host (about 10 ms a
            million numbers) and their QR and SVD.
        directory: a path, or None for logs only.
        resume_step: as in `StepCallback`; later rows of the directory's files are dropped.
        events: an `EventWriter` to share, or None for one of its own where there is a directory.

    Attributes:
        means: dict, the last reading's mean over layers and heads: `<quantity>_<pair>` and `<quantity>_<pair>_null`.
        seconds: float, time spent in readings so far.

    Raises:
        ValueError: at the first reading, where the model has no tagged kernels.

    Example:

    >>> import keras
    >>> from zoo import LinearNetwork
    >>> model = LinearNetwork(3, 3, key_dim=3)
    >>> model.compile("sgd", "mse")
    >>> monitor = RankMonitor(every=1)
    >>> history = model.fit(keras.ops.eye(3), keras.ops.eye(3), batch_size=3, verbose=0, callbacks=[monitor])
    >>> 0 < history.history["rank_product"][-1] <= 1
    True
    """

    def __init__(
        self,
        every: int,
        directory: str | Path | None = None,
        resume_step: int | None = None,
        events: EventWriter | None = None,
    ):
        super().__init__(every, resume_step)
        self.seconds = 0.0
        self.means: dict[str, float] = {}
        self.ranks = self.spectra = None
        self.events = events
        self._own_events = directory is not None and events is None
        if directory is not None:
            directory = Path(directory)
            directory.mkdir(parents=True, exist_ok=True)
            self.ranks = StepTable(directory / "ranks.csv", RANK_COLUMNS, keep_until=resume_step)
            self.spectra = SpectraFile(directory / "spectra.npz", keep_until=resume_step)
            if self._own_events:
                self.events = EventWriter(directory, resume_step=resume_step)

    @property
    def logs(self) -> dict[str, float]:
        """What goes into the Keras logs: `rank_qk`, `rank_vo`, `rank_product`, as far as there are such pairs."""
        ranks = {f"rank_{kind}": self.means.get(f"pseudo_rank_{kind}") for kind in PAIR_KINDS}
        return {name: rank for name, rank in ranks.items() if rank is not None}

    def at_step(self, step):
        """Take a reading."""
        model = self.model
        cumulative_learning_rate = _cumulative_learning_rate(model)  # waits for the device: that is not our time
        started = time.perf_counter()
        pairs = factor_pairs(model)
        if not pairs:
            raise ValueError(
                f"RankMonitor finds no factor pairs: no kernel of {model.name} is tagged. Tag kernels in the layers' "
                f"build with zoo.tag(kernel, role)."
            )
        readings = [(pair, measure(pair)) for pair in pairs]
        self.means = mean_quantities(readings)
        if self.ranks is not None:
            self.ranks.append(rank_rows(step, cumulative_learning_rate, readings))
            self.spectra.append(step, {f"{pair.pair}/{pair.layer}": read.singular_values for pair, read in readings})
        if self.events is not None:
            self._write_events(step, readings)
        self.seconds += time.perf_counter() - started

    def on_train_batch_end(self, batch, logs=None):
        """Put the last reading into the logs."""
        if logs is not None:
            logs.update(self.logs)

    def on_epoch_end(self, epoch, logs=None):
        """Count, and put the last reading into the epoch's logs."""
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs.update(self.logs)

    def on_train_end(self, logs=None):
        """Read the final weights and close the files."""
        super().on_train_end(logs)
        started = time.perf_counter()
        if self.spectra is not None:
            self.spectra.close()
        if self._own_events:
            self.events.close()
        self.seconds += time.perf_counter() - started

    def _write_events(self, step, readings):
        curves = {}
        for name in CURVES:
            for pair, measurement in readings:
                curves[f"{name}/{pair.pair}/layer_{pair.layer}"] = measurement.quantities[name].mean()
        for kind in dict.fromkeys(pair.pair for pair, _ in readings):
            for name in CURVES:
                curves[f"{name}/{kind}/mean"] = self.means[f"{name}_{kind}"]
            for name in NULL_QUANTITIES:
                curves[f"{name}/{kind}/null"] = self.means[f"{name}_{kind}_null"]
            of_kind = [measurement for pair, measurement in readings if pair.pair == kind]
            heads = {len(measurement.singular_values) for measurement in of_kind}
            if len(heads) == 1:
                ranks = np.stack([measurement.quantities["pseudo_rank"] for measurement in of_kind])  # (layers, heads)
                self.events.heatmap(step, f"pseudo_rank/{kind}", ranks)
        self.events.scalars(step, curves)
        for pair, measurement in readings:
            self.events.histogram(step, f"singular_values/{pair.pair}/layer_{pair.layer}", measurement.singular_values)


def rank_rows(step: int, cumulative_learning_rate: float | str, readings: Iterable[tuple[FactorPair, Measurement]]):
    """Rows of `ranks.csv`, one a head.

    Example:

    >>> pair = FactorPair("qk", 0, "attention", np.eye(2)[None], np.eye(2)[None])
    >>> [row["pseudo_rank"] for row in rank_rows(0, 0.0, [(pair, measure(pair))])]
    [1.0]
    """
    for pair, measurement in readings:
        for head in range(pair.heads):
            yield {
                "step": step,
                "cumulative_learning_rate": cumulative_learning_rate,
                "pair": pair.pair,
                "layer": pair.layer,
                "path": pair.path,
                "head": head,
                "hidden_dim": pair.hidden_dim,
                "key_dim": pair.key_dim,
                **{name: float(values[head]) for name, values in measurement.quantities.items()},
            }


def mean_quantities(readings: Iterable[tuple[FactorPair, Measurement]]) -> dict[str, float]:
    """Mean over all heads of all layers, per kind of pair: `<quantity>_<pair>`, nulls as `<quantity>_<pair>_null`.

    Example:

    >>> pair = FactorPair("qk", 0, "attention", np.eye(2)[None], np.eye(2)[None])
    >>> mean_quantities([(pair, measure(pair))])["pseudo_rank_qk"]
    1.0
    """
    values: dict[str, list[np.ndarray]] = {}
    for pair, measurement in readings:
        for name, heads in measurement.quantities.items():
            null = "_null" if name.endswith("_null") else ""
            values.setdefault(f"{name.removesuffix('_null')}_{pair.pair}{null}", []).append(heads)
    return {name: float(np.concatenate(heads).mean()) for name, heads in values.items()}


def _cumulative_learning_rate(model):
    """Σ η_t as the optimizer has counted it; empty where the optimizer is not ours and does not count."""
    variable = getattr(model.optimizer, "cumulative_learning_rate", None)
    return "" if variable is None else float(keras.ops.convert_to_numpy(variable.value))
