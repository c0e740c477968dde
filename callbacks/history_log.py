"""Writes `history.csv`: the training's own numbers, a row every few steps."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras

from rankscope.callbacks.step_callback import StepCallback
from rankscope.callbacks.tensorboard import EventWriter
from rankscope.records import StepTable


@dataclass(frozen=True)
class Validation:
    """When and on what a model is validated, and what is measured there as in training.

    Args:
        every: int ≥ 1, steps between validations, a multiple of those between rows; the last step is validated, too.
        batches: a `keras.utils.PyDataset`, gone through once a validation.
        metrics: names of the compiled metrics, the loss apart.
        of_loss: name → function of the mean loss, of what is written beside it, such as perplexity.
    """

    every: int
    batches: keras.utils.PyDataset
    metrics: Iterable[str] = ()
    of_loss: Mapping[str, Callable[[float], float]] = field(default_factory=dict)


class HistoryLog(StepCallback):
    """Logs means of loss and metrics over the last `every` steps, and validates now and then.

    Args:
        every: int ≥ 1, steps between rows.
        validation: when, on what, and what is measured.
        directory: where `history.csv` goes.
        events: `EventWriter` for the same numbers.
        resume_step: as in `StepCallback`.
        report: function called with `(step, row)` after each row; there the row has the speed, too.
        speed_of: function of steps a second that names the speed in units that people compare.

    Attributes:
        step: int, of the last row.
        latest: dict, the last row's numbers; `val_*` are those of the last validation.
        speed: dict, since the row before: with all that is done beside the steps but validations. Empty at the first
            row of a call of `fit`, whose steps wait for the compiler.

    Raises:
        FloatingPointError: where the loss is not finite any more.
    """

    def __init__(
        self,
        every: int,
        validation: Validation,
        directory: Path,
        events: EventWriter,
        resume_step: int | None = None,
        report: Callable[[int, Mapping[str, float]], None] | None = None,
        speed_of: Callable[[float], dict[str, float]] = lambda rate: {"steps_per_second": rate},
    ):
        super().__init__(every, resume_step)
        self.validation = validation
        names = ["loss", *validation.metrics, *validation.of_loss]
        columns = [*names, *(f"val_{name}" for name in names), "learning_rate"]
        self.table = StepTable(Path(directory) / "history.csv", columns, keep_until=resume_step)
        self.events = events
        self.report = report
        self.step = resume_step or 0
        self.latest: dict[str, float] = {}
        self.speed_of = speed_of
        self.speed: dict[str, float] = {}
        self._timed_steps, self._timed_seconds = 0, 0.0
        self._clock: tuple[int, float] | None = None  # the last row's step, and when it was done

    def at_step(self, step: int) -> None:
        """Write a row, then start the means afresh."""
        if step == 0:
            return
        model = self.model
        row = self._with_derived(model.get_metrics_result())  # waits for the device
        self._time(step)
        if not math.isfinite(row["loss"]):
            raise FloatingPointError(f"the loss is {row['loss']} at step {step}")
        if step % self.validation.every == 0 or self.at_end:
            results = self._with_derived(model.evaluate(self.validation.batches, verbose=0, return_dict=True))
            row |= {f"val_{name}": value for name, value in results.items()}
        model.reset_metrics()
        self.step = step
        self.latest = {**self.latest, **row}  # a new dict: another thread may be reading the old one
        row["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.last_learning_rate.value))
        self.table.append([{"step": step, **row}])
        row |= self.speed  # not in the table, which a resumed run has to write again to the digit
        self.events.scalars(step, {f"training/{name}": value for name, value in row.items()})
        if self.report is not None:
            self.report(step, row)
        self._clock = step, time.perf_counter()

    def _with_derived(self, results):
        row = {name: float(value) for name, value in results.items()}
        return row | {name: function(row["loss"]) for name, function in self.validation.of_loss.items()}

    def _time(self, step):
        self.speed = {}
        if self._clock is not None:
            steps, seconds = step - self._clock[0], time.perf_counter() - self._clock[1]
            self._timed_steps += steps
            self._timed_seconds += seconds
            self.speed = self.speed_of(steps / seconds)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Time this call of `fit` alone: another one may have had images of another size."""
        super().on_train_begin(logs)
        self._timed_steps, self._timed_seconds, self._clock = 0, 0.0, None

    def mean_speed(self) -> dict[str, float]:
        """The speed in the last call of `fit`, over all of its rows but the first; empty before the second."""
        return self.speed_of(self._timed_steps / self._timed_seconds) if self._timed_steps else {}

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Show the last validation and the speed in the progress bar."""
        if logs is not None:
            logs.update({name: value for name, value in self.latest.items() if name.startswith("val_")} | self.speed)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Count, and put the last row into the epoch's logs."""
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs.update(self.latest)
