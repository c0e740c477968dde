"""From settings to objects: data, model, optimizer."""

from collections import Counter
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from rankscope.data.dataset import Dataset
from rankscope.errors import UserError
from rankscope.optimizers import SGD, AdamL2, AdamW, GradedOptimizer
from rankscope.optimizers.decay import attention_decays_of
from rankscope.training.device import device_kind
from rankscope.training.precision import mixed_precision
from rankscope.training.settings import (
    OptimizerSettings,
    Settings,
    TrainingSettings,
    config_path,
    load_settings,
)
from rankscope.zoo.layers import factor_pairs
from rankscope.zoo.registry import MODELS

_OPTIMIZERS = {"adamw": AdamW, "adam_l2": AdamL2, "sgd": SGD}
_NOT_OF_SGD = {"beta_2", "epsilon"}
# Settings of the optimizer that make its schedule; all others but its name are arguments of the class.
_OF_THE_SCHEDULE = {
    "learning_rate",
    "initial_learning_rate",
    "warmup_steps",
    "schedule",
    "final_learning_rate",
    "schedule_steps",
}


def build_data(settings: Settings) -> Dataset:
    """The data that the settings name.

    Raises:
        UserError: for data that cannot be had or split.
    """
    try:
        return settings.data.load()
    except ValueError as error:
        raise UserError(str(error)) from error


def build_model(settings: Settings, data: Dataset) -> keras.Model:
    """The model, compiled with the loss and metrics of its task and with the optimizer built.

    Raises:
        UserError: where model and data, or sizes, or decay patterns do not fit.
    """
    model = _make_model(settings, data)
    try:
        optimizer = build_optimizer(settings.optimizer, settings.training)
        optimizer.build(model.trainable_variables)
        if settings.optimizer.attention_weight_decay is not None and not attention_decays_of(optimizer.decay_table()):
            raise ValueError(f"model {model.name} has no attention for optimizer.attention_weight_decay to act on")
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error
    loss = MODELS[settings.model.name].loss(data)
    model.compile(optimizer, loss, metrics=list(data.metrics), jit_compile=_jit_compile(settings))
    return model


def _jit_compile(settings):
    """Keras' own "auto" leaves XLA out on TensorFlow on a CPU, where it halves the step of a small model.

    It computes depthwise convolutions on a CPU 40 times slower than TensorFlow itself, a step of DeiT-S with locality 8
    times slower. JAX has nothing else.
    """
    if settings.training.jit_compile is not None:
        return settings.training.jit_compile
    if keras.backend.backend() == "tensorflow" and settings.model.has_depthwise_convolution:
        return device_kind() != "cpu"
    return keras.backend.backend() != "torch"


def _make_model(settings, data):
    name = settings.model.name
    listed = MODELS[name]
    if data.kind != listed.data:
        raise UserError(
            f"model {name} does not learn from data of this kind ({data.kind}): it needs {listed.data}. "
            f"Received: data.source {settings.data.source}"
        )
    arguments = settings.model.model_dump(exclude={"name"})
    arguments |= {argument: getattr(data, argument) for argument in listed.arguments}
    try:
        with mixed_precision(settings.training.mixed_precision):
            return listed.load()(**arguments, seed=settings.seed, name=name)
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error


def build_optimizer(settings: OptimizerSettings, training: TrainingSettings) -> GradedOptimizer:
    """The optimizer that the settings name, with its schedule.

    Args:
        settings: section `optimizer`.
        training: of the same run: its steps, at whose end a cosine ends, and the parts of a batch.
    """
    unused = {"name", *_OF_THE_SCHEDULE, *(_NOT_OF_SGD if settings.name == "sgd" else ())}
    arguments = settings.model_dump(exclude=unused)
    parts = training.gradient_accumulation_steps
    if parts > 1:
        arguments["gradient_accumulation_steps"] = parts
    return _OPTIMIZERS[settings.name](build_schedule(settings, training.steps), **arguments)


def build_schedule(settings: OptimizerSettings, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up, then a cosine to `final_learning_rate` at step `schedule_steps`, or the peak for ever.

    Args:
        settings: section `optimizer`.
        steps: of the whole run; where `schedule_steps` is null, the cosine ends there.
    """
    if settings.schedule == "constant" and not settings.warmup_steps:
        return settings.learning_rate
    final = settings.final_learning_rate if settings.schedule == "cosine" else settings.learning_rate
    warmup = {"warmup_target": settings.learning_rate, "warmup_steps": settings.warmup_steps}
    return keras.optimizers.schedules.CosineDecay(
        settings.initial_learning_rate if settings.warmup_steps else settings.learning_rate,
        # A run shorter than its warm-up never gets to the cosine.
        decay_steps=max(1, (settings.schedule_steps or steps) - settings.warmup_steps),
        alpha=final / settings.learning_rate,
        **(warmup if settings.warmup_steps else {}),
    )


def describe_models(configs: Iterable[str]) -> Iterator[tuple[str, str, int, list[str]]]:
    """Each config's name, its model in words, number of parameters and factor pairs in words; weights get no values."""
    for name in configs:
        settings = load_settings(config_path(name))
        with keras.StatelessScope(initialize_variables=False):
            model = _make_model(settings, settings.data.load_stand_in())
        pairs = Counter(
            f"{pair.pair}: {pair.heads} × {pair.hidden_dim}×{pair.key_dim}" for pair in factor_pairs(model, _zeros)
        )
        yield (
            name,
            MODELS[settings.model.name].in_words,
            model.count_params(),
            [f"{count} layers of {words}" if count > 1 else words for words, count in pairs.items()],
        )
        keras.utils.clear_session(free_memory=False)  # forget the variables that wait for their values


def _zeros(variable):
    return np.broadcast_to(np.float32(0), tuple(variable.shape))
