"""Image sizes over training: small ones first (arXiv 2211.05187), one call of `fit` and one compiled step each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import keras

from rankscope.callbacks import StepCallback
from rankscope.data.batches import BatchParts
from rankscope.data.dataset import Dataset
from rankscope.errors import UserError
from rankscope.training.resume_state import StateSaver, metric_variables
from rankscope.training.settings import Settings

PROBE_SECONDS = 1.0  # in which the pipeline is timed before each stage; a cheap one takes a tenth


class Stage(NamedTuple):
    """Steps `first_step … last_step − 1` of a run, all on images of one size.

    `image_size` is their side in pixels, None for the data's own.
    """

    first_step: int
    last_step: int
    image_size: int | None


def build_stages(settings: Settings, data: Dataset, resume_step: int = 0) -> list[Stage]:
    """What is left of a run, one stage a size of images; a single one where sizes do not change.

    Args:
        settings: of the run.
        data: of the run.
        resume_step: updates done already.

    Raises:
        UserError: where the schedule does not fit the data or the model's patches.
    """
    schedule, steps = settings.training.image_size_schedule, settings.training.steps
    if schedule is None:
        return [Stage(resume_step, steps, None)]
    try:
        sizes = data.image_sizes(schedule.first, schedule.increment)
    except ValueError as error:
        raise UserError(str(error)) from error
    epoch = data.steps_per_epoch(settings.training.batch_size)
    if sizes is None or epoch is None:
        raise UserError(f"training.image_size_schedule is for images. Received: data.source {settings.data.source}")
    _check_sizes(sizes, settings)
    return stages_of(sizes, schedule.every_epochs * epoch, steps, resume_step)


def _check_sizes(sizes, settings):
    key = settings.model.divides_images
    if key is None:
        raise UserError(
            f"training.image_size_schedule is for models that take images of several sizes. "
            f"Received: model {settings.model.name}"
        )
    divisor = getattr(settings.model, key)
    wrong = next((size for size in sizes if size % divisor), None)
    if wrong is not None:
        raise UserError(
            f"model.{key} must divide each size of training.image_size_schedule. "
            f"Received: {key} {divisor}, size {wrong}"
        )


def stages_of(sizes: Sequence[int], steps_per_size: int, steps: int, resume_step: int = 0) -> list[Stage]:
    """The stages of a run that are left.

    Args:
        sizes: of the images, in pixels; the last one stays.
        steps_per_size: int ≥ 1.
        steps: of the whole run.
        resume_step: updates done already.

    Example:

    >>> [tuple(stage) for stage in stages_of([32, 64, 96], steps_per_size=20, steps=100, resume_step=10)]
    [(10, 20, 32), (20, 40, 64), (40, 100, 96)]
    """
    ends = [min(steps_per_size * (number + 1), steps) for number in range(len(sizes) - 1)] + [steps]
    firsts = [resume_step, *(max(end, resume_step) for end in ends)]
    return [Stage(*stage) for stage in zip(firsts, ends, sizes, strict=False) if stage[0] < stage[1]]


def fit_stages(
    stages: Sequence[Stage],
    settings: Settings,
    data: Dataset,
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    echo: Callable[[str], None],
    verbose: int,
) -> dict[str, float]:
    """Train stage after stage, until the steps are done or a callback stops training.

    The optimizer's state lives on through all; each stage compiles its step once.

    Args:
        stages: of `build_stages`.
        settings: of the run.
        data: of the run.
        model: compiled, its optimizer built.
        callbacks: a `StateSaver` among them.
        echo: function that shows a line to the user.
        verbose: of `model.fit`.

    Returns:
        Of data that measure it, `pipeline_images_per_second` or of another unit: what the input pipeline alone gives,
        at the last stage's size.
    """
    training = settings.training
    speed = {}
    for stage in stages:
        seconds = PROBE_SECONDS if data.costly else PROBE_SECONDS / 10
        rate = data.pipeline_speed(
            training.batch_size, settings.seed, stage.first_step, stage.last_step, stage.image_size, seconds
        )
        if rate is not None:
            speed = {f"pipeline_{data.unit}_per_second": rate}
        if stage.image_size is not None:
            echo(
                f"steps {stage.first_step} to {stage.last_step}: images of {stage.image_size}×{stage.image_size}; "
                f"the pipeline alone gives {rate:,.0f} a second"
            )
        if stage is not stages[0]:
            _carry_over(model, callbacks)
        for callback in callbacks:
            if isinstance(callback, StepCallback):
                callback.goes_on = stage is not stages[-1]
        batches = data.train_batches(
            training.batch_size, settings.seed, stage.first_step, stage.last_step, stage.image_size
        )
        parts = training.gradient_accumulation_steps
        with closing(batches), bad_sample_named(data):
            model.fit(
                BatchParts(batches, parts) if parts > 1 else batches,
                shuffle=False,
                verbose=verbose,
                callbacks=list(callbacks),
            )
        if model.stop_training:
            break
    return speed


@contextmanager
def bad_sample_named(data: Dataset) -> Iterator[None]:
    """Raise the failure of the data itself, which TensorFlow wraps into an error of its own."""
    try:
        yield
    except Exception as error:
        failure = data.failure
        # A batch that was drawn ahead may have failed, too, and has nothing to do with another error.
        if failure is None or error is failure or type(failure).__name__ not in str(error):
            raise
        raise failure from error


def _carry_over(model, callbacks):
    """Running means go on, which `fit` starts afresh; the step is compiled anew.

    By itself TensorFlow would compile it for images of any size, which XLA cannot do.
    """
    values = [keras.ops.convert_to_numpy(variable) for variable in metric_variables(model)]
    for callback in callbacks:
        if isinstance(callback, StateSaver):
            callback.metric_values = values
    model.make_train_function(force=True)
