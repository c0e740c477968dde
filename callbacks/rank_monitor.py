"""Reads every factor pair of a model while it learns."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rankscope.callbacks.step_callback import StepCallback
from rankscope.callbacks.tensorboard import EventWriter, RankEvents
from rankscope.callbacks.tensorboard.rank_events import due_for_picture
from rankscope.factors import PRODUCTS, FactorPair, Measurement, columns_of, measure
from rankscope.records import SpectraFile, StepTable, read_columns
from rankscope.zoo import factor_pairs

PICTURE_READINGS = 256  # more than a picture's curves can show
RANK_COLUMNS = [
    "cumulative_learning_rate",
    "pair",
    "layer",
    "path",
    "head",
    "hidden_dim",
    "key_dim",
    *columns_of(),
]


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
        seconds: float, by which readings have delayed training so far. The picture that is drawn when training has
            ended (half a second) delays no step and does not count.

    Raises:
        ValueError: at the first reading, where the model has no tagged kernels.

    Example:

    >>> import keras
    >>> from rankscope.zoo import LinearNetwork
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
        self._began: float | None = None
        self.means: dict[str, float] = {}
        self.ranks = self.spectra = None
        self._own_events = directory is not None and events is None
        start = None
        if directory is not None:
            directory = Path(directory)
            directory.mkdir(parents=True, exist_ok=True)
            self.ranks = StepTable(directory / "ranks.csv", RANK_COLUMNS, keep_until=resume_step)
            self.spectra = SpectraFile(directory / "spectra.npz", keep_until=resume_step)
            if self._own_events:
                events = EventWriter(directory, resume_step=resume_step)
            if resume_step is not None:
                start = _imbalance_at_start(directory / "ranks.csv")
        self.events = None if events is None else RankEvents(events, start)

    @property
    def logs(self) -> dict[str, float]:
        """What goes into the Keras logs: `rank_qk`, `rank_vo`, `rank_product`, as far as there are such pairs."""
        ranks = {f"rank_{kind}": self.means.get(f"pseudo_rank_{kind}") for kind in PRODUCTS}
        return {name: rank for name, rank in ranks.items() if rank is not None}

    def at_step(self, step: int) -> None:
        """Take a reading."""
        model = self.model
        if hasattr(model.optimizer, "decay_table") and not model.optimizer.built:
            # As Keras does within the first step on TensorFlow; the first reading comes before that.
            model.optimizer.build(model.trainable_variables)
        cumulative_learning_rate = _cumulative_learning_rate(model)  # waits for the device: that is not our time
        started = time.perf_counter()
        pairs = factor_pairs(model)
        if not pairs:
            raise ValueError(
                f"RankMonitor finds no factor pairs: no kernel of {model.name} is tagged. Tag kernels in the layers' "
                f"build with rankscope.tag(kernel, role)."
            )
        readings = [(pair, measure(pair)) for pair in pairs]
        self.means = mean_quantities(readings)
        if self.ranks is not None:
            self.ranks.append(rank_rows(step, cumulative_learning_rate, readings))
            self.spectra.append(step, {f"{pair.pair}/{pair.layer}": read.singular_values for pair, read in readings})
        if self.events is not None:
            self.events.begin(model, pairs)
            self.events.write(step, readings, self.means, cumulative_learning_rate)
            if self.spectra is not None and due_for_picture(self.spectra.count):
                self.events.draw_spectra(*self.spectra.read(most=PICTURE_READINGS))
        self.seconds += time.perf_counter() - started
        if self.events is not None and step > self._first_step:
            wall_seconds = time.perf_counter() - self._began
            self.events.events.scalars(step, {"monitor/share": (self.seconds - self._seconds_before) / wall_seconds})

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Start the clock against which our share is told, once for all calls of `fit`."""
        if self._began is None:
            self._began, self._seconds_before = time.perf_counter(), self.seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Put the last reading into the logs."""
        if logs is not None:
            logs.update(self.logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Count, and put the last reading into the epoch's logs."""
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs.update(self.logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Read the final weights and close the files."""
        super().on_train_end(logs)
        if not self.at_end:
            return
        if self.spectra is not None:
            if self.events is not None and self.spectra.count:
                self.events.draw_spectra(*self.spectra.read(most=PICTURE_READINGS))
            self.spectra.close()
        if self._own_events:
            self.events.events.close()


def rank_rows(
    step: int, cumulative_learning_rate: float | str, readings: Iterable[tuple[FactorPair, Measurement]]
) -> Iterator[dict[str, Any]]:
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


def _imbalance_at_start(ranks):
    """‖AᵀA − BᵀB‖_F at step 0 of each product, the mean over its heads; None where the file has no such rows."""
    if not ranks.exists():
        return None
    table = read_columns(ranks, numbers=("step", "layer", "balance_discrepancy"), texts=("pair",))
    values: dict[tuple[str, int], list[float]] = {}
    for row in np.flatnonzero(table["step"] == 0).tolist():
        product = str(table["pair"][row]), int(table["layer"][row])
        values.setdefault(product, []).append(float(table["balance_discrepancy"][row]))
    return {product: float(np.mean(heads)) for product, heads in values.items()} or None
