"""All that a run can be told, typed and checked before anything is built or written."""

import contextlib
import re
from collections.abc import Iterable
from functools import reduce
from itertools import takewhile
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from rankscope.errors import UserError
from rankscope.program import PACKAGE
from rankscope.settings import (
    Count,
    Decay,
    Duration,
    Fraction,
    NonNegative,
    Positive,
    Section,
    Whole,
    check_settings,
    nearest,
    read_tree,
)
from rankscope.training.data_settings import AnyDataSettings
from rankscope.zoo.registry import MODELS

if TYPE_CHECKING:
    from rankscope.zoo.listed_model import ModelSettings as AnyModelSettings
else:
    _union = reduce(or_, (row.settings for row in MODELS.values()))
    AnyModelSettings = Annotated[_union, Field(discriminator="name")]

CONFIGS = PACKAGE / "configs"


class GradedDecay(Section):
    """Decay of each kind of attention pair; null means `weight_decay`."""

    qk: Decay | None = Field(None, description="Weight decay λ of W_Q and W_K; null: weight_decay.")
    vo: Decay | None = Field(None, description="Weight decay λ of W_V and P; null: weight_decay.")


class OptimizerSettings(Section):
    """`optimizers.AdamW`, `AdamL2` or `SGD`, and its schedule; defaults are table 2's where the paper gives them."""

    name: Literal["adamw", "adam_l2", "sgd"] = Field(
        "adamw", description="Whether decay is decoupled (AdamW) or a penalty (λ/2)‖·‖² of the loss; or SGD."
    )
    learning_rate: Positive = Field(3e-4, description="Learning rate η at its peak.")
    initial_learning_rate: NonNegative = Field(1e-6, description="η where the linear warm-up starts.")
    warmup_steps: Whole = Field(0, description="Steps of linear warm-up.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="What follows the warm-up.")
    final_learning_rate: NonNegative = Field(0.0, description="η where the cosine ends.")
    schedule_steps: Count | None = Field(
        None, description="Steps at whose end the cosine ends; null: the run's. Table 2 stops after a third of them."
    )
    weight_decay: Decay = Field(
        0.1,
        description="Weight decay λ of all weights but attention's kernels; biases and norm gains have none.",
    )
    attention_weight_decay: Decay | GradedDecay | None = Field(
        None, description="Weight decay λ of W_Q, W_K, W_V, P: a number or {qk: λ, vo: λ}; null: weight_decay."
    )
    decay_groups: dict[str, Decay] = Field(
        {}, description="Regular expression of a variable's path → its λ; it goes before all other rules."
    )
    decay_one_dimensional: bool = Field(False, description="Whether biases, gains and other 1-D variables decay.")
    beta_1: Fraction = Field(0.9, description="β₁, the momentum.")
    beta_2: Fraction = Field(0.95, description="β₂; SGD has none.")
    epsilon: Positive = Field(1e-8, description="ε, added to √B̂; SGD has none.")
    global_clipnorm: Positive | None = Field(1.0, description="Norm of all gradients together; null: no clipping.")


class ImageSizeSchedule(Section):
    """Square images that grow while a model learns, up to the size of `data`, at which it is evaluated throughout."""

    first: Count = Field(32, description="Side in pixels of the first epochs; a multiple of model.patch_size.")
    increment: Count = Field(32, description="Pixels by which the side grows; a multiple of model.patch_size.")
    every_epochs: Count = Field(5, description="Epochs that are trained at each size.")


class TrainingSettings(Section):
    """How long, and how often something happens beside the steps."""

    steps: Count = Field(1000, description="Optimizer steps.")
    time_budget: Duration | None = Field(
        None, description="Wall-clock time, such as 24h, after which the run ends whatever its steps; null: no limit."
    )
    image_size_schedule: ImageSizeSchedule | None = Field(
        None, description="Smaller images first; null: all at the data's size."
    )
    batch_size: Count = Field(128, description="Samples in a step (an update of the weights).")
    gradient_accumulation_steps: Count = Field(
        1, description="Parts, of equal size, that a batch is computed in: the same numbers from less memory."
    )
    mixed_precision: Literal["bfloat16"] | None = Field(
        None, description="Type to compute in; weights and optimizer stay float32. null: all in float32."
    )
    log_every: Count = Field(50, description="Steps between rows of history.csv, each a mean over those steps.")
    validate_every: Count = Field(500, description="Steps between validations, a multiple of log_every.")
    checkpoint_every: Count = Field(500, description="Steps between resume states.")
    jit_compile: bool | None = Field(
        None,
        description="Compile the step by XLA, or torch.compile; null: on JAX, and on TensorFlow but for depthwise "
        "convolutions on a CPU, not on torch.",
    )


class MonitorSettings(Section):
    """`callbacks.RankMonitor`."""

    every: Count = Field(50, description="Steps between readings of all factor pairs.")


class Settings(Section):
    """A whole run."""

    model: AnyModelSettings
    data: AnyDataSettings
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = TrainingSettings()
    monitor: MonitorSettings = MonitorSettings()
    seed: Whole = Field(0, description="Seed of initial weights, dropout and the order of the data.")


def config_names() -> list[str]:
    """Names of the configs in configs/."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def config_path(name: str) -> Path:
    """The file of a config's name or path.

    Raises:
        UserError: naming the known configs, where there is no such file.
    """
    known = config_names()
    if name in known:
        return CONFIGS / f"{name}.yaml"
    with contextlib.suppress(OSError):  # a name too long for a file
        if Path(name).is_file():
            return Path(name)
    raise UserError(
        f"There is no config of this name in configs/ and no file at this path{nearest(name, known)}. "
        f"Known configs: {', '.join(known)}. Received: {name}"
    )


def config_facts(name: str) -> dict[str, str]:
    """What the comment at the head of a config says: `title`, `command`, `time`, `reaches`; and its `model`.

    Example:
        >>> config_facts("linear")["command"]
        'python cli.py fit linear'
    """
    path = config_path(name)
    comments = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    facts, key = {"model": str(read_tree(path)["model"]["name"])}, "title"
    for line in comments:
        labelled = re.fullmatch(r"# ([a-z]+(?: \d)?) {2,}(\S.*)", line)
        key, text = labelled.groups() if labelled else (key, line.removeprefix("#").strip())
        facts[key] = f"{facts.get(key, '')} {text}".strip()
    return facts


def load_settings(path: Path, overrides: Iterable[tuple[str, Any]] = ()) -> Settings:
    """Read a config file, put overrides over it and check the whole.

    Args:
        path: of a YAML file.
        overrides: `(dotted key, value)` in order, the last one counting, as from `--set` and the flags.

    Raises:
        UserError: in one line, with the file or `--set`, the key, the nearest known key, its range, what was received.
    """
    return settings_from(read_tree(path), str(path), overrides)


def settings_from(tree: dict[str, Any], source: str, overrides: Iterable[tuple[str, Any]] = ()) -> Settings:
    """Put overrides into a tree of settings and check the whole; arguments and errors as of `check_settings`."""
    settings = check_settings(Settings, tree, source, overrides)
    training = settings.training
    if training.validate_every % training.log_every:
        raise UserError(
            f"{source}: training.validate_every must be a multiple of training.log_every. "
            f"Received: validate_every {training.validate_every}, log_every {training.log_every}"
        )
    if training.batch_size % training.gradient_accumulation_steps:
        raise UserError(
            f"{source}: training.batch_size must be a multiple of training.gradient_accumulation_steps. "
            f"Received: batch_size {training.batch_size}, gradient_accumulation_steps "
            f"{training.gradient_accumulation_steps}"
        )
    return settings


def read_settings(run: Path) -> Settings:
    """The settings of a run.

    Raises:
        UserError: where `run` is no run directory, or its settings do not fit this version.
    """
    if not (run / "settings.yaml").is_file():
        raise UserError(f"{run} is not a run directory: it has no settings.yaml")
    return load_settings(run / "settings.yaml")
