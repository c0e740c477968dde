"""Settings from text to typed objects: YAML read strictly, `--set` put over it, every mistake in one line."""

import contextlib
import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from rankscope.errors import UserError


def _no_boolean(value: Any) -> Any:
    """`--wd true` is a mistake, and no 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "input should be a number")
    return value


def _seeds(value: Any) -> Any:
    """`--seeds 3` means the seeds 0, 1, 2; `--seeds 4,7` means those two."""
    if isinstance(value, int) and not isinstance(value, bool):
        return list(range(min(value, 10_000)))
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _seconds(value: Any) -> Any:
    """`24h`, `90m`, `1h30m` and `45s` as seconds."""
    if not isinstance(value, str):
        return value
    parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", value.replace(" ", "").lower())
    try:
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    except (AttributeError, ValueError):
        raise PydanticCustomError("duration", "input should be a time such as 24h, 90m, 1h30m or 45s") from None
    return 3600 * hours + 60 * minutes + seconds


_NUMBER = BeforeValidator(_no_boolean)
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _NUMBER]
Decay = NonNegative
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), _NUMBER]
#: A number of seconds, or a text such as 24h.
Duration = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_seconds), _NUMBER]
Fraction = Annotated[float, Field(ge=0, lt=1), _NUMBER]
Count = Annotated[int, Field(ge=1), _NUMBER]
Whole = Annotated[int, Field(ge=0, lt=2**31), _NUMBER]
#: Seeds of a study or a sweep, their number, or a text with commas.
Seeds = Annotated[list[Whole], BeforeValidator(_seeds), Field(min_length=1, max_length=1000)]


class Section(BaseModel):
    """A part of the settings: unknown keys are refused, and nothing changes once it is checked.

    `place` is the key of a source of data that `--data SOURCE:PLACE` fills, if there is one.
    """

    place: ClassVar[str | None] = None
    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_yaml(self) -> str:
        """All settings, defaults included, as YAML that reads back to the same settings.

        >>> class Size(Section):
        ...     width: Count = 3
        >>> Size().to_yaml()
        'width: 3\\n'
        """
        # Escaped beyond ASCII: PyYAML writes a bare U+0085 that it reads back as a line break.
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


Checked = TypeVar("Checked", bound=Section)


class _StrictLoader(yaml.SafeLoader):
    """YAML without its trap: of two equal keys it takes the last and says nothing."""

    def construct_mapping(self, node, deep=False):
        """Refuse a key that stands twice in one mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for index, key in enumerate(keys) if key in keys[:index]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_tree(path: Path) -> dict[str, Any]:
    """Read a YAML file of sections.

    Raises:
        UserError: where it cannot be read, is no YAML or holds no mapping.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold sections such as model: and data:. Received: {type(tree).__name__}")
    return tree


def check_settings(
    kind: type[Checked], tree: dict[str, Any], source: str, overrides: Iterable[tuple[str, Any]] = ()
) -> Checked:
    """Put overrides over a tree of settings and check the whole.

    Args:
        kind: class of the settings.
        tree: nested mappings; overrides are put into it.
        source: where the tree comes from, for messages.
        overrides: `(dotted key, value)` in order, the last one counting, as from `--set` and the flags.

    Raises:
        UserError: in one line, with the source or `--set`, the key, the nearest known key, its range, what was
            received.
    """
    overridden = set()
    for key, value in overrides:
        if key == "data.source":
            value, place = _source_and_place(kind, value)
            _leave_source(kind, tree.get("data"), value)
            for name, where in place.items():
                _set(tree, f"data.{name}", where)
        _set(tree, key, value)
        overridden.add(key)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError(_one_line(error, kind, source, overridden)) from error


def _sources(kind: type[Section]) -> dict[str, type[Section]]:
    """Each source of data that these settings may have, and its section."""
    data = kind.model_fields.get("data")
    sections = [] if data is None else _members(data.annotation)
    return {
        name: section
        for section in sections
        if "source" in section.model_fields
        for name in _literals(section, "source")
    }


def _source_and_place(kind: type[Section], value: Any) -> tuple[Any, dict[str, str]]:
    """Split `folder:PATH`; other values stay as they are."""
    source, colon, place = value.partition(":") if isinstance(value, str) else (value, "", "")
    key = _sources(kind)[source].place if colon and source in _sources(kind) else None
    if key is not None and not place:
        raise UserError(f"--data {source}: needs a {key} after the colon. Received: {value}")
    return (value, {}) if key is None else (source, {key: place})


def _leave_source(kind: type[Section], data: Any, source: Any) -> None:
    """Drop what only the old source knows: a run's settings.yaml holds all its defaults, which the new one refuses."""
    if isinstance(data, dict):
        keys_of = {name: set(section.model_fields) for name, section in _sources(kind).items()}
        for key in keys_of.get(str(data.get("source")), set()) - keys_of.get(str(source), set()):
            data.pop(key, None)


# YAML reads 24:00 as 24 · 60, and folder: as a mapping.
_NO_YAML = re.compile(r"[-+]?\d+(:\d+)+(\.\d*)?|\w+:")


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
    if _NO_YAML.fullmatch(value.strip()):
        parsed = value.strip()
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-3 as text
        with contextlib.suppress(ValueError):
            parsed = float(parsed)
    return key.strip(), parsed


def split_list(text: str) -> list[str]:
    """The values between the commas of a text, each as it stands; commas in brackets, braces and quotes part nothing.

    >>> split_list("1e-8, 1e-3"), split_list("[1, 2],[3]")
    (['1e-8', '1e-3'], ['[1, 2]', '[3]'])

    Raises:
        UserError: where that is no list, or an empty one.
    """
    listed = f"[{text}]"
    try:
        values = yaml.compose(listed, yaml.SafeLoader).value
    except yaml.YAMLError as error:
        raise UserError(f"Values parted by commas are needed, such as 0,0.1. Received: {text}") from error
    if not values:
        raise UserError(f"Values parted by commas are needed, such as 0,0.1. Received: {text!r}")
    return [listed[value.start_mark.index : value.end_mark.index] for value in values]


def first_difference(old: Any, new: Any, key: str = "") -> str | None:
    """Dotted key of the first value that differs between two trees of settings, or None.

    >>> first_difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    'a.c'
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            found = first_difference(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
            if found:
                return found
        return None
    return None if old == new else key or "everything"


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


def _members(annotation: Any) -> list[type[Section]]:
    """Sections that a field may hold: several where it is a union."""
    options = get_args(annotation) or (annotation,)
    return [option for option in options if isinstance(option, type) and issubclass(option, Section)]


def _literals(section: type[Section], name: str) -> tuple[str, ...]:
    return get_args(section.model_fields[name].annotation)


def _union_tags(kind: type[Section]) -> set[str]:
    """What pydantic puts into an error's place to say which member of a union it is about: these are no keys."""
    tags = {"function-before[_no_boolean(), constrained-float]"}
    for field in kind.model_fields.values():
        for member in _members(field.annotation):
            tags |= {member.__name__, *_union_tags(member)}
            if field.discriminator is not None:
                tags.update(_literals(member, field.discriminator))
    return tags


def _one_line(error: ValidationError, kind: type[Section], source: str, overridden: set[str]) -> str:
    tags = _union_tags(kind)

    # Of a union's several complaints the deepest is about what the user meant.
    def meant(e):
        return len([part for part in e["loc"] if part not in tags]), e["type"] == "extra_forbidden"

    worst = max(error.errors(), key=meant)
    key = ".".join(str(part) for part in worst["loc"] if part not in tags)
    given = any(key == k or key.startswith(f"{k}.") or k.startswith(f"{key}.") for k in overridden)
    where = "--set or a flag" if given else source
    if worst["type"] == "extra_forbidden":
        known = _known_keys(kind, worst["loc"])
        return f"{where}: unknown key {key}{nearest(key.rpartition('.')[2], known)}. Known here: {', '.join(known)}"
    if worst["type"] == "missing":
        return f"{source}: {key} is missing"
    if worst["type"].startswith("union_tag"):
        key = f"{key}.{worst['ctx']['discriminator'].strip(chr(39))}"
        if "tag" not in worst["ctx"]:
            return f"{where}: {key} is missing"
        received = worst["ctx"]["tag"]
        known = [tag.strip(" '") for tag in worst["ctx"].get("expected_tags", "").split(",")]
        guess = nearest(str(received).partition(":")[0], known)
        return f"{where}: unknown {key}{guess}. Known: {', '.join(known)}. Received: {received}"
    complaint = re.sub(" or (instance of|object to extract fields from).*", "", worst["msg"]).replace(
        "dictionary", "mapping"
    )
    return f"{where}: {key}: {complaint[0].lower()}{complaint[1:]}. Received: {worst['input']!r}"


def _known_keys(kind, location) -> list[str]:
    """Keys that are allowed beside the unknown one at `location`."""
    schema = TypeAdapter(kind).json_schema()
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


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the known word that looks most like the given one, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
