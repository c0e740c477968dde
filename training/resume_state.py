"""Resume states: all that the next step depends on, saved between two steps.

Keras' BackupAndRestore is exact only at the end of an epoch: it forgets the state of dropout and of metrics, and its
`.weights.h5` leaves out seed generators. Here every variable of model, optimizer and metrics is kept; the data need no
state, since a batch is a pure function of the step (data/batches.py).
"""

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from pydantic import ValidationError

from rankscope.callbacks import StepCallback
from rankscope.errors import UserError
from rankscope.files import replace_file
from rankscope.settings import Section, first_difference

KEEP = 2  # the newest, and the one before it should the newest turn out corrupt


class InterruptedRunError(Exception):
    """A signal stopped the run, and its state is saved."""

    def __init__(self, signal_number: int, step: int, run: Path):
        super().__init__(f"stopped by signal {signal_number} at step {step}")
        self.signal_number = signal_number
        self.step = step
        self.run = run


class ResumeState(NamedTuple):
    """What a run goes on from, beside the variables of its model and optimizer.

    `step` counts the updates done; `metric_values` are the variables of the metrics, None at step 0; `extra` is what
    `StateSaver.extra` returned.
    """

    step: int
    metric_values: list[np.ndarray] | None
    extra: dict[str, Any]


class StateSaver(StepCallback):
    """Saves resume states, restores metrics after a resume, and stops on a signal.

    Args:
        every: int ≥ 1, steps between states.
        directory: where `step-N.npz` go.
        saves_end: bool, whether there is a state of the last step, too; a run saves the model itself then.
        resume_step: as in `StepCallback`.
        metric_values: arrays of `load_state`, put back once Keras has reset its metrics.
        settings: of the run, as JSON; a resume refuses to go on with others.
        extra: function that returns what else to keep beside the variables, as JSON.
        stop_signal: function that returns the number of a signal that has arrived, or None.
    """

    def __init__(
        self,
        every: int,
        directory: Path,
        saves_end: bool = True,
        resume_step: int | None = None,
        metric_values: list[np.ndarray] | None = None,
        settings: dict | None = None,
        extra: Callable[[], dict] = dict,
        stop_signal: Callable[[], int | None] = lambda: None,
    ):
        super().__init__(every, resume_step)
        self._saved = resume_step
        self.directory = Path(directory)
        self.saves_end = saves_end
        self.metric_values = metric_values
        self.settings = settings
        self.extra = extra
        self.stop_signal = stop_signal

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Put back the running means of a broken epoch: `fit` has just reset them."""
        if self.metric_values is not None:
            _assign(metric_variables(self.model), self.metric_values)
            self.metric_values = None

    def at_step(self, step: int) -> None:
        """Save a state; step 0 is what a fresh run starts from anyhow."""
        if step > 0 and (self.saves_end or not self.at_end):
            self.save(step)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Save where due, or where a signal asks to stop."""
        super().on_train_batch_begin(batch, logs)
        signal_number = self.stop_signal()
        step = self.steps_before(batch)
        # In the midst of an accumulated batch there is nothing to go on from.
        if signal_number is not None and step > self.steps_before(batch - 1):
            if step != self._saved:
                self.save(step)
            raise InterruptedRunError(signal_number, step, self.directory.parent)

    def save(self, step: int) -> None:
        """Write `step-N.npz` and drop all but the last two.

        Raises:
            FloatingPointError: where a variable is not finite; the states before stay.
        """
        model = self.model
        groups = {
            "model": model.variables,
            "optimizer": model.optimizer.variables,
            "metric": metric_variables(model) if step else [],  # no means yet, and on TensorFlow no variables
        }
        arrays, paths = {}, {}
        for group, variables in groups.items():
            paths[group] = [variable.path for variable in variables]
            for index, variable in enumerate(variables):
                value = keras.ops.convert_to_numpy(variable.value)
                if value.dtype.kind not in "biuf":  # bfloat16 and its kin: float32 holds them exactly
                    value = value.astype(np.float32)
                if not np.isfinite(value).all():
                    raise FloatingPointError(f"{variable.path} is not finite at step {step}")
                arrays[f"{group}/{index}"] = value
        header = json.dumps({"step": step, "paths": paths, "settings": self.settings, "extra": self.extra()})
        self.directory.mkdir(exist_ok=True)
        replace_file(self.directory / f"step-{step:09d}.npz", lambda file: np.savez(file, header=header, **arrays))
        self._saved = step
        for old in state_files(self.directory)[:-KEEP]:
            old.unlink()


def metric_variables(model: keras.Model) -> list[keras.Variable]:
    """Variables of all metrics, the running loss among them."""
    return [variable for metric in model.metrics for variable in metric.variables]


def state_files(directory: Path) -> list[Path]:
    """States in a directory, the oldest first."""
    return sorted(Path(directory).glob("step-*.npz"))


def load_state(
    directory: Path, model: keras.Model, settings: Section | None, notice: Callable[[str], None]
) -> ResumeState:
    """Put the newest whole state back into a model and its built optimizer.

    Args:
        directory: where `StateSaver` saved.
        model: built as the broken run built it, compiled, its optimizer built.
        settings: of the run; None if the state has none.
        notice: function that is told, in one line, of a state that is truncated or corrupt.

    Returns:
        What is no variable of the model or the optimizer.

    Raises:
        UserError: where no state is whole, or the state is of another model or of other settings.
    """
    for path in reversed(state_files(directory)):
        try:
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                header = json.loads(str(file["header"]))
                step, paths, extra = header["step"], header["paths"], header["extra"]
                arrays = {name: file[name] for name in file.files if name != "header"}
                metrics = [arrays[f"metric/{index}"] for index in range(len(paths["metric"]))]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            notice(f"{path} is truncated or corrupt; going back to the state before it.")
            continue
        changed = settings and first_difference(_with_defaults(header.get("settings"), settings), _as_json(settings))
        if changed:
            raise UserError(
                f"The run was begun with other settings: {changed} has been changed in its settings.yaml since. "
                f"Change it back, or start a new run"
            )
        for group, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
            if [variable.path for variable in variables] != paths[group]:
                raise UserError(f"{path} is the state of another model: its {group} variables have other names")
            _assign(variables, [arrays[f"{group}/{index}"] for index in range(len(variables))])
        return ResumeState(step, metrics or None, extra)
    raise UserError(f"{directory} holds no whole resume state: start the run anew with fit")


def _with_defaults(old, settings):
    """Settings of a state, those that came in a later version at their defaults."""
    try:
        return _as_json(type(settings).model_validate(old))
    except ValidationError:
        return old


def _as_json(settings):
    return settings.model_dump(mode="json")


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
