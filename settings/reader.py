"""Settings from text to typed objects: YAML read strictly, `--set` put over it, every mistake in one line."""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from rankscope.errors import UserError
from rankscope.settings.complaints import complaint_of
from rankscope.settings.section import Section, literals, members

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
        raise UserError(complaint_of(error, kind, source, overridden)) from error


def _sources(kind: type[Section]) -> dict[str, type[Section]]:
    """Each source of data that these settings may have, and its section."""
    data = kind.model_fields.get("data")
    sections = [] if data is None else members(data.annotation)
    return {
        name: section
        for section in sections
        if "source" in section.model_fields
        for name in literals(section, "source")
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
