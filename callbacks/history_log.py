"""Writes `history.csv`: the training's own numbers, a row every few steps."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import keras

from callbacks.events import EventWriter
from callbacks.step_callback import StepCallback
from records import StepTable


class HistoryLog(StepCallback):
    """Logs means of loss and metrics over the last `every` steps, and validates now and then.

    Args:
        every: int ≥ 1, steps between rows.
        validate_every: int ≥ 1, a multiple of `every`.
        last_step: int, updates done when the run ends; validated too.
        validation: a `keras.utils.PyDataset`, gone through once a validation.
        directory: where `history.csv` goes.
        events: `EventWriter` for the same numbers.
        metric_names: names of the compiled metrics, the loss apart.
        resume_step: as in `StepCallback`.
        report: function called with `(step, row)` after each row.

    Attributes:
        latest: dict, the last row's numbers; `val_*` are those of the last validation.

    Raises:
        FloatingPointError: where the loss is not finite any more.
    """

    def __init__(
        self,
        every: int,
        validate_every: int,
        last_step: int,
        validation: keras.utils.PyDataset,
        directory: Path,
        events: EventWriter,
        metric_names: Iterable[str],
        resume_step: int | None = None,
        report: Callable[[int, Mapping[str, float]], None] | None = None,
    ):
        super().__init__(every, resume_step)
        self.validate_every = validate_every
        self.last_step = last_step
        self.validation = validation
        names = ["loss", *metric_names]
        columns = [*names, *(f"val_{name}" for name in names), "learning_rate"]
        self.table = StepTable(Path(directory) / "history.csv", columns, keep_until=resume_step)
        self.events = events
        self.report = report
        self.latest: dict[str, float] = {}

    def at_step(self, step):
        """Write a row, then start the means afresh."""
        if step == 0:
            return
        model = self.model
        row = {name: float(value) for name, value in model.get_metrics_result().items()}
        if not math.isfinite(row["loss"]):
            raise FloatingPointError(f"the loss is {row['loss']} at step {step}")
        if step % self.validate_every == 0 or step == self.last_step:
            results = model.evaluate(self.validation, verbose=0, return_dict=True)
            row |= {f"val_{name}": float(value) for name, value in results.items()}
        model.reset_metrics()
        self.latest = {**self.latest, **row}  # a new dict: another thread may be reading the old one
        row["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.last_learning_rate.value))
        self.table.append([{"step": step, **row}])
        self.events.scalars(step, {f"training/{name}": value for name, value in row.items()})
        if self.report is not None:
            self.report(step, row)

    def on_train_batch_end(self, batch, logs=None):
        """Show the last validation in the progress bar."""
        if logs is not None:
            logs.update({name: value for name, value in self.latest.items() if name.startswith("val_")})

    def on_epoch_end(self, epoch, logs=None):
        """Count, and put the last row into the epoch's logs."""
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs.update(self.latest)
