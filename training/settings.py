"""All that a run can be told, typed and checked before anything is built or written."""

import contextlib
import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

CONFIGS = Path(__file__).parent.parent / "configs"


def _no_boolean(value: Any) -> Any:
    """`--wd true` is a mistake, and no 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "input should be a number")
    return value


_NUMBER = BeforeValidator(_no_boolean)
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _NUMBER]
Decay = NonNegative
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), _NUMBER]
Fraction = Annotated[float, Field(ge=0, lt=1), _NUMBER]
Count = Annotated[int, Field(ge=1), _NUMBER]
Whole = Annotated[int, Field(ge=0, lt=2**31), _NUMBER]


class _StrictLoader(yaml.SafeLoader):
    """YAML without its trap: of two equal keys it takes the last and says nothing."""

    def construct_mapping(self, node, deep=False):
        """Refuse a key that stands twice in one mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for index, key in enumerate(keys) if key in keys[:index]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


class UserError(Exception):
    """A mistake in what the user asked for. Its message is one line: the thing, what was received, what is right."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LinearSettings(_Section):
    """`zoo.LinearNetwork`; sizes of input and output come with the data."""

    name: Literal["linear"]
    key_dim: Count = Field(5, description="Inner size of the product A Bᵀ.")
    stddev: NonNegative = Field(0.3, description="Standard deviation of the initial A and B.")


class VitSettings(_Section):
    """`zoo.VisionTransformer`; image shape and number of classes come with the data."""

    name: Literal["vit"]
    patch_size: Count = Field(7, description="Side of a patch in pixels; divides the image.")
    hidden_dim: Count = Field(64, description="Width of a token.")
    num_layers: Count = Field(4, description="Number of blocks.")
    num_heads: Count = Field(4, description="Attention heads of a block.")
    key_dim: Count | None = Field(None, description="Size of a head; null for hidden_dim / num_heads.")
    mlp_dim: Count | None = Field(None, description="Inner size of the MLP; null for 4 · hidden_dim.")
    pooling: Literal["token", "mean"] = Field(
        "token", description="What the head reads: class token, or patches' mean."
    )
    dropout: Fraction = Field(0.0, description="Dropout of the embedding and of both residual branches.")
    use_bias: bool = Field(False, description="Biases of query, key and value.")


class ImageSettings(_Section):
    """`data.images.load_images`."""

    source: Literal["mnist_5k", "fashion_mnist"]
    validation_fraction: Fraction = Field(0.2, description="Part of the images that is held out.")
    split_seed: Whole = Field(0, description="Seed of the split, apart from `seed`: runs share their validation part.")
    max_shift: Whole = Field(2, description="Training images move by up to so many pixels each way.")


class DiagonalSettings(_Section):
    """`data.regression.WhitenedRegression`."""

    source: Literal["diagonal"]
    singular_values: list[Decay] = Field(
        [0.2, 0.4, 0.6, 0.8, 1.0], min_length=1, description="Of the target, figure 1's by default."
    )


class GradedDecay(_Section):
    """Decay of each kind of attention pair; null means `weight_decay`."""

    qk: Decay | None = None
    vo: Decay | None = None


class OptimizerSettings(_Section):
    """`optimizers.AdamW` and its learning-rate schedule; defaults are table 2's where the paper gives them."""

    learning_rate: Positive = Field(3e-4, description="Peak η.")
    initial_learning_rate: NonNegative = Field(1e-6, description="η where the linear warm-up starts.")
    warmup_steps: Whole = Field(0, description="Steps of linear warm-up.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="What follows the warm-up.")
    final_learning_rate: NonNegative = Field(0.0, description="η where the cosine ends.")
    weight_decay: Decay = Field(0.1, description="λ of everything that no other rule governs.")
    attention_weight_decay: Decay | GradedDecay | None = Field(
        None, description="λ of attention's kernels: a number, {qk: …, vo: …}, or null for weight_decay."
    )
    decay_groups: dict[str, Decay] = Field({}, description="Path pattern → λ, before all other rules.")
    decay_one_dimensional: bool = Field(False, description="Whether biases, gains and other 1-D variables decay.")
    beta_1: Fraction = Field(0.9, description="β₁.")
    beta_2: Fraction = Field(0.95, description="β₂.")
    epsilon: Positive = Field(1e-8, description="ε, added to √B̂.")
    global_clipnorm: Positive | None = Field(1.0, description="Norm of all gradients together; null: no clipping.")


class TrainingSettings(_Section):
    """How long, and how often something happens beside the steps."""

    steps: Count = Field(1000, description="Optimizer steps.")
    batch_size: Count = Field(128, description="Samples a step.")
    log_every: Count = Field(50, description="Steps between rows of history.csv, each a mean over those steps.")
    validate_every: Count = Field(500, description="Steps between validations, a multiple of log_every.")
    checkpoint_every: Count = Field(500, description="Steps between resume states.")
    jit_compile: bool | None = Field(
        None, description="Compile the step by XLA, or torch.compile; null: on TensorFlow and JAX, not on torch."
    )


class MonitorSettings(_Section):
    """`callbacks.RankMonitor`."""

    every: Count = Field(50, description="Steps between readings of all factor pairs.")


class Settings(_Section):
    """A whole run."""

    model: Annotated[LinearSettings | VitSettings, Field(discriminator="name")]
    data: Annotated[ImageSettings | DiagonalSettings, Field(discriminator="source")]
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = TrainingSettings()
    monitor: MonitorSettings = MonitorSettings()
    seed: Whole = Field(0, description="Of initial weights, dropout and the order of the data.")

    def to_yaml(self) -> str:
        """All settings, defaults included, as YAML that `load_settings` reads back to the same settings.

        >>> settings = Settings(model={"name": "vit"}, data={"source": "mnist_5k"})
        >>> Settings(**yaml.safe_load(settings.to_yaml())) == settings
        True
        """
        # Escaped beyond ASCII: PyYAML writes a bare U+0085 that it reads back as a line break.
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


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
        f"There is no config of this name in configs/ and no file at this path{_nearest(name, known)}. "
        f"Known configs: {', '.join(known)}. Received: {name}"
    )


def load_settings(path: Path, overrides: Iterable[tuple[str, Any]] = ()) -> Settings:
    """Read a config file, put overrides over it and check the whole.

    Args:
        path: of a YAML file.
        overrides: `(dotted key, value)` in order, the last one counting, as from `--set` and the flags.

    Raises:
        UserError: in one line, with the file or `--set`, the key, the nearest known key, its range, what was received.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold sections such as model: and data:. Received: {type(tree).__name__}")
    overridden = set()
    for key, value in overrides:
        _set(tree, key, value)
        overridden.add(key)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise UserError(_one_line(error, path, overridden)) from error
    training = settings.training
    if training.validate_every % training.log_every:
        raise UserError(
            f"{path}: training.validate_every must be a multiple of training.log_every. "
            f"Received: validate_every {training.validate_every}, log_every {training.log_every}"
        )
    return settings


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `a.b=c`; c is read as YAML, so numbers, true, null, lists and mappings come as such.

    >>> parse_assignment("optimizer.learning_rate=1e-3")
    ('optimizer.learning_rate', 0.001)

    Raises:
        UserError: for a text of another form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise UserError(f"--set takes KEY=VALUE such as optimizer.learning_rate=1e-3. Received: {text}")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {key}: the value is not YAML. Received: {value}") from error
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-3 as text
        with contextlib.suppress(ValueError):
            parsed = float(parsed)
    return key.strip(), parsed


def _set(tree, key, value):
    """Put a value at a dotted key. A decay that is one number becomes {qk, vo} where only one of them is set."""
    before, group, pattern = key.partition("decay_groups.")  # a pattern may have dots of its own
    *sections, last = [*before.split(".")[:-1], "decay_groups", pattern] if group else key.split(".")
    for section in sections:
        inner = tree.get(section)
        if section == "attention_weight_decay" and not isinstance(inner, dict):
            inner = {"qk": inner, "vo": inner}
        tree[section] = inner if isinstance(inner, dict) else {}
        tree = tree[section]
    tree[last] = value


# Tags that pydantic puts into an error's place for the member of a union; they are no keys.
_UNION_TAGS = {
    *("linear", "vit", "mnist_5k", "fashion_mnist", "diagonal", "GradedDecay"),
    "function-before[_no_boolean(), constrained-float]",
}


def _one_line(error: ValidationError, path: Path, overridden: set[str]) -> str:
    # Of a union's several complaints the deepest is about what the user meant.
    def meant(e):
        return len([part for part in e["loc"] if part not in _UNION_TAGS]), e["type"] == "extra_forbidden"

    worst = max(error.errors(), key=meant)
    key = ".".join(str(part) for part in worst["loc"] if part not in _UNION_TAGS)
    given = any(key == k or key.startswith(f"{k}.") or k.startswith(f"{key}.") for k in overridden)
    where = "--set or a flag" if given else str(path)
    if worst["type"] == "extra_forbidden":
        known = _known_keys(worst["loc"])
        return f"{where}: unknown key {key}{_nearest(key.rpartition('.')[2], known)}. Known here: {', '.join(known)}"
    if worst["type"] == "missing":
        return f"{path}: {key} is missing"
    if worst["type"].startswith("union_tag"):
        key = f"{key}.{worst['ctx']['discriminator'].strip(chr(39))}"
        if "tag" not in worst["ctx"]:
            return f"{where}: {key} is missing"
        received = worst["ctx"]["tag"]
        known = [tag.strip(" '") for tag in worst["ctx"].get("expected_tags", "").split(",")]
        return (
            f"{where}: unknown {key}{_nearest(str(received), known)}. Known: {', '.join(known)}. Received: {received}"
        )
    complaint = re.sub(" or (instance of|object to extract fields from).*", "", worst["msg"]).replace(
        "dictionary", "mapping"
    )
    return f"{where}: {key}: {complaint[0].lower()}{complaint[1:]}. Received: {worst['input']!r}"


def _known_keys(location) -> list[str]:
    """Keys that are allowed beside the unknown one at `location`."""
    schema = TypeAdapter(Settings).json_schema()
    node = schema
    for part in location[:-1]:
        while "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][part]}
        elif "anyOf" in node:
            node = next(option for option in node["anyOf"] if "$ref" in option)
        else:
            node = node["properties"][part]
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return list(node.get("properties", {}))


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
