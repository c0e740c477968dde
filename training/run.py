"""One run while it is trained: what belongs to it, what happens beside its steps, and how it ends."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import keras

from rankscope.callbacks import EventWriter, HistoryLog, RankMonitor, TimeBudget, Validation
from rankscope.callbacks.tensorboard import describe_run
from rankscope.data.dataset import Dataset
from rankscope.data.image_sources import BadImageError
from rankscope.errors import UserError
from rankscope.factors import NonFiniteError
from rankscope.program import typed
from rankscope.training.resume_state import ResumeState, StateSaver, state_files
from rankscope.training.saving import save_model
from rankscope.training.settings import Settings, TrainingSettings
from rankscope.training.speed import speed_of
from rankscope.training.stages import Stage, fit_stages
from rankscope.training.summary import write_summary


class DivergedError(Exception):
    """Loss or weights are not finite any more; the last good state is kept."""


class TrainingRun:
    """A run in its directory, about to be trained from its beginning or from a state.

    Args:
        directory: of the run, with its settings and environment.
        settings: of the run.
        data: what the settings name.
        model: compiled; of a run that is resumed, with the weights of its state.
        echo: function that shows a line to the user.
        stop_signal: as in `StateSaver`.
        state: what to go on from, or None.

    Raises:
        UserError: where the records of a run that is resumed are damaged.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        data: Dataset,
        model: keras.Model,
        echo: Callable[[str], None],
        stop_signal: Callable[[], int | None],
        state: ResumeState | None = None,
    ):
        self.directory, self.settings, self.data, self.model, self.echo = directory, settings, data, model, echo
        spent = {"wall_seconds": 0.0, "monitor_seconds": 0.0} if state is None else state.extra
        self._started = time.perf_counter() - spent["wall_seconds"]
        self._resume_step = None if state is None else state.step
        self._interactive = sys.stdout.isatty()
        self.validation = data.validation_batches(part_size(settings.training))
        self.events = EventWriter(directory, self._resume_step)
        self.monitor = RankMonitor(settings.monitor.every, directory, self._resume_step, self.events)
        self.monitor.seconds = spent["monitor_seconds"]
        self.history = self._history_log()
        self.saver = StateSaver(
            settings.training.checkpoint_every,
            directory / "checkpoints",
            saves_end=False,
            resume_step=self._resume_step,
            metric_values=None if state is None else state.metric_values,
            settings=settings.model_dump(mode="json"),
            extra=self._beside_the_variables,
            stop_signal=stop_signal,
        )

    def wall_seconds(self) -> float:
        """Seconds since the run began, those between a break and its resume left out."""
        return time.perf_counter() - self._started

    def train(self, stages: Sequence[Stage]) -> None:
        """Train to the end, save the model and write the summary.

        Args:
            stages: of `build_stages`, what is left of the run.

        Raises:
            UserError: for a picture that cannot be read.
            InterruptedRunError: after a signal, with the state saved.
            DivergedError: where the loss or a weight is not finite any more.
            OSError: such as a full disk, naming the command that goes on.
        """
        with closing(self.events), closing(self.validation):
            self._describe()
            with self._failures_reported():
                verbose = 1 if self._interactive else 0
                speed = fit_stages(stages, self.settings, self.data, self.model, self._callbacks(), self.echo, verbose)
            self.events.succeeded()
        for reason in self.data.bad_samples.values():
            self.echo(f"replaced by another: {reason}")
        save_model(self.model, self.directory / "model.keras")
        learned = self.data.learned(self.history.latest)
        self._summarize("complete" if learned else "did_not_learn", speed)

    def _history_log(self):
        training = self.settings.training
        return HistoryLog(
            training.log_every,
            Validation(training.validate_every, self.validation, self.data.metrics, self.data.of_loss),
            self.directory,
            self.events,
            self._resume_step,
            # Keras' progress bar is for a terminal; a log file gets a line a row.
            report=None if self._interactive else self._echo_row,
            speed_of=partial(speed_of, settings=self.settings, model=self.model, data=self.data),
        )

    def _callbacks(self):
        """In this order: the log's line shows the monitor's reading; a state is saved after both have written."""
        callbacks = [self.monitor, self.history, self.saver]
        if self.settings.training.time_budget is not None:
            callbacks.append(TimeBudget(self.settings.training.time_budget, self.wall_seconds))
        return callbacks

    def _describe(self):
        optimizer = self.settings.optimizer
        values = {"wd": optimizer.weight_decay, "lr": optimizer.learning_rate, "seed": self.settings.seed}
        metrics = [*self.data.metrics, *self.data.of_loss]
        describe_run(self.events, self.settings.to_yaml(), values, self.model, metrics)

    def _beside_the_variables(self):
        return {
            "wall_seconds": self.wall_seconds(),
            "monitor_seconds": self.monitor.seconds,
            "bad_images": dict(self.data.bad_samples),
            "data": self.data.origin,
        }

    def _echo_row(self, step, row):
        numbers = {**row, **self.monitor.logs}
        told = " ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self.echo(f"step {step}/{self.settings.training.steps} {told}")

    @contextmanager
    def _failures_reported(self):
        """Say what can be done about a loss that diverged, a picture that cannot be read, a full disk."""
        try:
            with bad_image_reported(self.directory):
                yield
        except (FloatingPointError, NonFiniteError) as error:
            self._summarize("failed")
            kept = state_files(self.directory / "checkpoints")
            state = f"the last good state is kept: {kept[-1]}" if kept else "no state had been saved before"
            raise DivergedError(f"{error}; {state}. A lower learning rate or decay may help.") from error
        except OSError as error:
            reason = f"{error.strerror}; once that is mended go on with: {_resume_command(self.directory)}"
            raise OSError(error.errno, reason, error.filename) from error

    def _summarize(self, status, speed=None):
        write_summary(
            self.directory,
            self.settings,
            self.data,
            self.model,
            self.wall_seconds(),
            self.history,
            self.monitor,
            status,
            speed,
        )


@contextmanager
def bad_image_reported(run: Path) -> Iterator[None]:
    """Say what can be done about a picture that cannot be read."""
    try:
        yield
    except BadImageError as error:
        raise UserError(f"{error}. Once it is mended go on with: {_resume_command(run)}") from error


def part_size(training: TrainingSettings) -> int:
    """Samples that are computed at a time."""
    return training.batch_size // training.gradient_accumulation_steps


def _resume_command(run):
    return typed("fit", "--resume", str(run))
