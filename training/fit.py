"""One training run: settings in, run directory out, whole or resumable."""

import csv
import sys
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import keras

from rankscope.callbacks import EventWriter, HistoryLog, RankMonitor, TimeBudget
from rankscope.data.image_sources import BadImageError
from rankscope.data.images import ImageData
from rankscope.errors import UserError
from rankscope.factors import NonFiniteError
from rankscope.program import quiet_start_up, typed
from rankscope.training.build import build_data, build_model
from rankscope.training.checkpoint import Checkpointer, checkpoint_files, load_checkpoint
from rankscope.training.device import device_name
from rankscope.training.run_directory import VERSION, check_backend, create_run_directory, read_json, read_settings
from rankscope.training.run_events import describe_run
from rankscope.training.settings import Settings
from rankscope.training.signals import stop_signals
from rankscope.training.speed import speed_of
from rankscope.training.stages import build_stages, fit_stages
from rankscope.training.summary import write_summary
from rankscope.training.tables import print_decay_groups

RECORDS = ("history.csv", "ranks.csv", "spectra.part", "spectra.npz")


class DivergedError(Exception):
    """Loss or weights are not finite any more; the last good state is kept."""


def fit(
    settings: Settings, run_dir: Path | None = None, echo: Callable[[str], None] = print, verbose: bool = False
) -> Path:
    """Train a model into a new run directory.

    Args:
        settings: of the run.
        run_dir: a path that does not exist yet, or None for one named after model and time.
        echo: function that shows a line to the user.
        verbose: whether to show the table of decay groups.

    Returns:
        Path of the run directory, complete.

    Raises:
        UserError: for what the user can mend; nothing has been written then.
        InterruptedRunError: after SIGINT or SIGTERM, with the state saved.
        DivergedError: where the loss is not finite any more.
    """
    data = build_data(settings)
    model = build_model(settings, data)
    stages = build_stages(settings, data)
    with stop_signals() as stop_signal:
        run = create_run_directory(settings, keras.backend.backend(), device_name(), run_dir)
        _write_decay_groups(run / "decay_groups.csv", model.optimizer)
        echo(f"{settings.model.name}: {model.count_params():,} parameters on {keras.backend.backend()}; {data.origin}")
        if verbose:
            print_decay_groups(model.optimizer.decay_table())
        return _train(settings, run, data, model, stages, echo, stop_signal)


def resume(run: Path, echo: Callable[[str], None] = print) -> Path:
    """Go on with a broken run from its newest whole state, to the end that the unbroken run would have reached.

    Args and Raises as in `fit`.

    Returns:
        `run`, complete.
    """
    settings = read_settings(run)
    environment = read_json(run / "environment.json")
    if (run / "summary.json").exists():
        status = read_json(run / "summary.json").get("status")
        raise UserError(f"{run} has ended already (status {status}): there is nothing to resume")
    check_backend(run, keras.backend.backend())
    if environment.get("version") != VERSION:
        raise UserError(
            f"{run} has the format of another version of Rankscope and can only go on there. "
            f"Received: version {environment.get('version')}, this is {VERSION}"
        )
    data = build_data(settings)
    model = build_model(settings, data)
    with stop_signals() as stop_signal:
        if not checkpoint_files(run / "checkpoints"):
            echo(f"{run}: no state was saved before it broke; starting over")
            for path in [*run.glob("events.out.tfevents.*"), *(run / name for name in RECORDS)]:
                path.unlink(missing_ok=True)
            return _train(settings, run, data, model, build_stages(settings, data), echo, stop_signal)
        step, metric_values, spent = load_checkpoint(run / "checkpoints", model, settings, echo)
        if spent.get("data", data.origin) != data.origin:  # another split would mix what is held out with the rest
            raise UserError(f"The data are not those that {run} was begun with: {spent['data']}. Now: {data.origin}")
        if isinstance(data, ImageData):
            data.bad_images.update(spent.get("bad_images", {}))
        # Keras makes the metrics' variables at the first batch, on TensorFlow later than they have to be restored.
        with closing(data.validation_batches(_part_size(settings.training))) as batches, _bad_image_reported(run):
            model.test_on_batch(*batches[0])
        echo(f"{run}: resuming at step {step} of {settings.training.steps}")
        stages = build_stages(settings, data, step)
        return _train(settings, run, data, model, stages, echo, stop_signal, step, metric_values, spent)


def _train(settings, run, data, model, stages, echo, stop_signal, resume_step=None, metric_values=None, spent=None):
    training = settings.training
    spent = spent or {"wall_seconds": 0.0, "monitor_seconds": 0.0}
    bad_images = data.bad_images if isinstance(data, ImageData) else {}
    started = time.perf_counter() - spent["wall_seconds"]

    def wall_seconds():
        return time.perf_counter() - started

    interactive = sys.stdout.isatty()
    validation = data.validation_batches(_part_size(training))
    events = EventWriter(run, resume_step)
    try:
        monitor = RankMonitor(settings.monitor.every, run, resume_step, events)
        history = HistoryLog(
            training.log_every,
            training.validate_every,
            validation,
            run,
            events,
            data.metrics,
            resume_step,
            # Keras' progress bar is for a terminal; a log file gets a line a row.
            report=None if interactive else lambda step, row: echo(_progress_line(step, training.steps, row, monitor)),
            of_loss=data.of_loss,
            speed_of=partial(speed_of, settings=settings, model=model, data=data),
        )
    except ValueError as error:  # records that somebody has damaged since the run broke
        raise UserError(str(error)) from error
    monitor.seconds = spent["monitor_seconds"]
    with closing(events), closing(validation):
        describe_run(events, settings, model, [*data.metrics, *data.of_loss])
        checkpointer = Checkpointer(
            training.checkpoint_every,
            run / "checkpoints",
            saves_end=False,
            resume_step=resume_step,
            metric_values=metric_values,
            settings=settings.model_dump(mode="json"),
            extra=lambda: {
                "wall_seconds": wall_seconds(),
                "monitor_seconds": monitor.seconds,
                "bad_images": dict(bad_images),
                "data": data.origin,
            },
            stop_signal=stop_signal,
        )
        # In this order: the log's line shows the monitor's reading; a state is saved after both have written.
        callbacks = [monitor, history, checkpointer]
        if training.time_budget is not None:
            callbacks.append(TimeBudget(training.time_budget, wall_seconds))
        try:
            with _bad_image_reported(run):
                speed = fit_stages(stages, settings, data, model, callbacks, echo, verbose=1 if interactive else 0)
        except (FloatingPointError, NonFiniteError) as error:
            write_summary(run, settings, data, model, wall_seconds(), history, monitor, "failed")
            kept = checkpoint_files(run / "checkpoints")
            state = f"the last good state is kept: {kept[-1]}" if kept else "no state had been saved before"
            raise DivergedError(f"{error}; {state}. A lower learning rate or decay may help.") from error
        except OSError as error:
            reason = f"{error.strerror}; once that is mended go on with: {typed('fit', '--resume', str(run))}"
            raise OSError(error.errno, reason, error.filename) from error
        events.succeeded()
    for reason in bad_images.values():
        echo(f"replaced by another: {reason}")
    _save_model(model, run)
    learned = data.learned(history.latest)
    status = "complete" if learned else "did_not_learn"
    write_summary(run, settings, data, model, wall_seconds(), history, monitor, status, speed)
    return run


@contextmanager
def _bad_image_reported(run):
    """Say what can be done about a picture that cannot be read."""
    try:
        yield
    except BadImageError as error:
        raise UserError(f"{error}. Once it is mended go on with: {typed('fit', '--resume', str(run))}") from error


def _part_size(training):
    """Samples that are computed at a time."""
    return training.batch_size // training.gradient_accumulation_steps


def _save_model(model, run):
    draft = run / ".model.tmp.keras"
    with quiet_start_up():  # Keras imports TensorFlow here, on every backend, where it is installed
        model.save(draft)
    draft.replace(run / "model.keras")


def _progress_line(step, steps, row, monitor):
    numbers = {**row, **monitor.logs}
    return f"step {step}/{steps} " + " ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def _write_decay_groups(path, optimizer):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "shape", "group", "decay", "time_constant"])
        for row in optimizer.decay_table():
            shape = "×".join(str(size) for size in row.shape)
            writer.writerow([row.path, shape, row.group, row.decay, row.time_constant])
