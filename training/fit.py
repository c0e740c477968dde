"""A run is begun, or resumed: settings in, a run directory out, complete or resumable."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import keras

from rankscope.errors import UserError
from rankscope.records import VERSION, check_backend, create_run_directory, read_mapping
from rankscope.training.build import build_data, build_model
from rankscope.training.decay_groups import print_decay_groups, write_decay_groups
from rankscope.training.device import device_name
from rankscope.training.resume_state import load_state, state_files
from rankscope.training.run import DivergedError, TrainingRun, bad_image_reported, part_size
from rankscope.training.settings import Settings, read_settings
from rankscope.training.signals import stop_signals
from rankscope.training.stages import build_stages

RECORDS = ("history.csv", "ranks.csv", "spectra.part", "spectra.npz")


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
    name, backend = settings.model.name, keras.backend.backend()
    with stop_signals() as stop_signal:
        directory = create_run_directory(name, settings.to_yaml(), settings.seed, backend, device_name(), run_dir)
        decay_groups = model.optimizer.decay_table()
        write_decay_groups(directory / "decay_groups.csv", decay_groups)
        echo(f"{name}: {model.count_params():,} parameters on {backend}; {data.origin}")
        if verbose:
            print_decay_groups(decay_groups)
        TrainingRun(directory, settings, data, model, echo, stop_signal).train(stages)
    return directory


def resume(run: Path, echo: Callable[[str], None] = print) -> Path:
    """Go on with a broken run from its newest whole state, to the end that the unbroken run would have reached.

    Of a run that has ended, nothing is left to do, and a notice says so.

    Args and Raises as in `fit`; `DivergedError`, too, of a run that has failed.

    Returns:
        `run`, complete.
    """
    settings = read_settings(run)
    if (run / "summary.json").exists():
        _say_how_it_ended(run, echo)
        return run
    check_backend(run, keras.backend.backend())
    _check_version(run)
    data = build_data(settings)
    model = build_model(settings, data)
    with stop_signals() as stop_signal:
        state = _last_state(run, settings, data, model, echo)
        stages = build_stages(settings, data, 0 if state is None else state.step)
        TrainingRun(run, settings, data, model, echo, stop_signal, state).train(stages)
    return run


def _say_how_it_ended(run, echo):
    status = read_mapping(run / "summary.json").get("status")
    ended = f"{run} has ended already (status {status}): there is nothing to resume"
    if status == "failed":  # it ended so, too, when it was trained
        raise DivergedError(ended)
    echo(ended)


def _check_version(run):
    version = read_mapping(run / "environment.json").get("version")
    if version != VERSION:
        raise UserError(
            f"{run} has the format of another version of Rankscope and can only go on there. "
            f"Received: version {version}, this is {VERSION}"
        )


def _last_state(run, settings, data, model, echo):
    """The state that a run goes on from, put into its model; None where it broke before there was one."""
    if not state_files(run / "checkpoints"):
        echo(f"{run}: no state was saved before it broke; starting over")
        for path in [*run.glob("events.out.tfevents.*"), *(run / name for name in RECORDS)]:
            path.unlink(missing_ok=True)
        return None
    state = load_state(run / "checkpoints", model, settings, echo)
    origin = state.extra.get("data", data.origin)
    if origin != data.origin:  # another split would mix what is held out with the rest
        raise UserError(f"The data are not those that {run} was begun with: {origin}. Now: {data.origin}")
    data.bad_samples.update(state.extra.get("bad_images", {}))
    # Keras makes the metrics' variables at the first batch, on TensorFlow later than they have to be restored.
    with closing(data.validation_batches(part_size(settings.training))) as batches, bad_image_reported(run):
        model.test_on_batch(*batches[0])
    echo(f"{run}: resuming at step {state.step} of {settings.training.steps}")
    return state
