"""From settings to objects: data, model, optimizer."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np

from rankscope.data.augmentation import Augmentation
from rankscope.data.images import ImageData, load_images
from rankscope.data.recall import RecallTask
from rankscope.data.regression import Regression, diagonal_regression, load_regression
from rankscope.data.text import TextData, load_text
from rankscope.errors import UserError
from rankscope.optimizers import SGD, AdamL2, AdamW, GradedOptimizer
from rankscope.optimizers.decay import attention_decays_of
from rankscope.training.data_settings import (
    DiagonalSettings,
    NpzSettings,
    RecallTaskSettings,
    TextSettings,
    TfdsSettings,
)
from rankscope.training.device import device_kind
from rankscope.training.precision import mixed_precision
from rankscope.training.settings import (
    OptimizerSettings,
    Settings,
    TrainingSettings,
    config_path,
    load_settings,
)
from rankscope.zoo import MODELS, HalfSquaredError, NextTokenLoss, factor_pairs

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

Data = ImageData | Regression | RecallTask | TextData


class Task(NamedTuple):
    """What a model learns from: the kind of data, which of its attributes are arguments of the model, the loss."""

    data: type[Data]
    arguments: tuple[str, ...]
    loss: Callable[[Data], keras.losses.Loss]


def _cross_entropy(data: Data) -> keras.losses.Loss:
    if getattr(data, "soft_labels", False):
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


_TASKS = {  # by the model's name
    "linear": Task(Regression, ("input_dim", "output_dim"), lambda data: HalfSquaredError()),
    "vit": Task(ImageData, ("image_shape", "num_classes"), _cross_entropy),
    "recall": Task(RecallTask, ("vocabulary_size", "sequence_length"), _cross_entropy),
    "gpt": Task(TextData, ("vocabulary_size", "sequence_length"), lambda data: NextTokenLoss()),
}


def build_data(settings: Settings) -> Data:
    """The data that the settings name.

    Raises:
        UserError: for data that cannot be had or split.
    """
    try:
        match settings.data:
            case DiagonalSettings():
                return diagonal_regression(settings.data.singular_values)
            case NpzSettings():
                return load_regression(**settings.data.model_dump(exclude={"source"}))
            case RecallTaskSettings():
                return RecallTask(**settings.data.model_dump(exclude={"source"}))
            case TextSettings():
                return load_text(**settings.data.model_dump(exclude={"source"}))
            case _:
                arguments = settings.data.model_dump()
                arguments["augmentation"] = Augmentation(**arguments["augmentation"])
                return load_images(**arguments)
    except ValueError as error:
        raise UserError(str(error)) from error


def build_model(settings: Settings, data: Data) -> keras.Model:
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
    loss = _TASKS[settings.model.name].loss(data)
    model.compile(optimizer, loss, metrics=list(data.metrics), jit_compile=_jit_compile(settings))
    return model


def _jit_compile(settings):
    """Keras' own "auto" leaves XLA out on TensorFlow on a CPU, where it halves the step of a small model.

    It computes depthwise convolutions on a CPU 40 times slower than TensorFlow itself, a step of DeiT-S with locality 8
    times slower. JAX has nothing else.
    """
    if settings.training.jit_compile is not None:
        return settings.training.jit_compile
    if keras.backend.backend() == "tensorflow" and getattr(settings.model, "locality", False):
        return device_kind() != "cpu"
    return keras.backend.backend() != "torch"


def _make_model(settings, data):
    arguments = settings.model.model_dump(exclude={"name"})
    name = settings.model.name
    task = _TASKS[name]
    if not isinstance(data, task.data):
        raise UserError(
            f"model {name} does not learn from data of this kind. Received: data.source {settings.data.source}"
        )
    arguments |= {argument: getattr(data, argument) for argument in task.arguments}
    try:
        with mixed_precision(settings.training.mixed_precision):
            return MODELS[name](**arguments, seed=settings.seed, name=name)
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
    """Each config's name, model, number of parameters and factor pairs in words; weights get no values."""
    for name in configs:
        settings = load_settings(config_path(name))
        if isinstance(settings.data, TextSettings):  # a text of one's own may not be there yet; sizes are the same
            settings = load_settings(config_path(name), [("data.path", None)])
        data = _imagenet_shaped(settings) if isinstance(settings.data, TfdsSettings) else build_data(settings)
        with keras.StatelessScope(initialize_variables=False):
            model = _make_model(settings, data)
        pairs = Counter(
            f"{pair.pair}: {pair.heads} × {pair.hidden_dim}×{pair.key_dim}" for pair in factor_pairs(model, _zeros)
        )
        yield (
            name,
            settings.model.name,
            model.count_params(),
            [f"{count} layers of {words}" if count > 1 else words for words, count in pairs.items()],
        )
        keras.utils.clear_session(free_memory=False)  # forget the variables that wait for their values


def _imagenet_shaped(settings):
    """Stands for ImageNet, which a zoo is listed without."""
    size = settings.data.image_size
    none = np.empty((0, size, size, 3), np.uint8), np.empty(0, np.int64)
    return ImageData("tfds", settings.data.name, *none, *none, num_classes=1000)


def _zeros(variable):
    return np.broadcast_to(np.float32(0), tuple(variable.shape))
