"""What a setting means, what it may be and what it is by default, from the settings' own classes."""

import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import yaml
from pydantic.fields import FieldInfo

from rankscope.settings.section import Section, members

_WIDTH = 98  # of a line of YAML with its comment


class Described(NamedTuple):
    """A setting in words.

    Args:
        meaning: one sentence, or empty.
        values: what it may be, such as `a number ≥ 0, or null`.
        default: as YAML writes it; None where it must be given.
    """

    meaning: str
    values: str
    default: str | None


def describe(kind: type[Section], key: str) -> Described | None:
    """A setting by its dotted key.

    Args:
        kind: class of the settings.
        key: such as `optimizer.learning_rate`; of several sections that a key may stand for, the first that has it.

    Returns:
        None where there is no such setting.

    Example:
        >>> from rankscope.settings import Count
        >>> class Size(Section):
        ...     width: Count = 3
        >>> describe(Size, "width")
        Described(meaning='', values='a whole number ≥ 1', default='3')
    """
    first, _, rest = key.partition(".")
    field = kind.model_fields.get(first)
    if field is None:
        return None
    if not rest:
        return _of_field(kind, first, field)
    found = (describe(section, rest) for section in members(field.annotation))
    return next((described for described in found if described is not None), None)


def explained_yaml(settings: Section) -> str:
    """All settings as YAML that reads back to the same settings, with the meaning of each as a comment.

    Example:
        >>> from pydantic import Field
        >>> from rankscope.settings import Count
        >>> class Size(Section):
        ...     width: Count = Field(3, description="Columns of the page.")
        >>> print(explained_yaml(Size(width=5)))
        # Columns of the page. A whole number ≥ 1; default 3.
        width: 5
        <BLANKLINE>
    """
    return "\n".join(_lines(settings, "")).rstrip() + "\n"


def _lines(settings: Section, indent: str) -> Iterator[str]:
    kind = type(settings)
    for name, field in kind.model_fields.items():
        value = getattr(settings, name)
        described = _of_field(kind, name, field)
        if isinstance(value, Section):
            yield from _comment(f"{described.meaning} {_first_line(value)}", indent)
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            values = described.values[0].upper() + described.values[1:]
            default = "" if described.default is None else f"; default {described.default}"
            yield from _comment(f"{described.meaning} {values}{default}.", indent)
            tree = settings.model_dump(mode="json")[name]
            yield f"{indent}{name}: {_as_yaml(tree)}"
        if not indent:
            yield ""


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(text.strip(), _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _first_line(settings: Section) -> str:
    return (type(settings).__doc__ or "").strip().partition("\n")[0]


def _as_yaml(value: Any) -> str:
    """A value in one line."""
    # Escaped beyond ASCII: PyYAML writes a bare U+0085 that it reads back as a line break.
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _of_field(kind: type[Section], name: str, field: FieldInfo) -> Described:
    schema = _schema(kind)
    values = _in_words(schema["properties"][name], schema.get("$defs", {}))
    default = schema["properties"][name].get("default", ...)
    if isinstance(field.default, Section):
        default = ...  # a section's own fields say what they are by default
    return Described(field.description or "", values, None if default is ... else _as_yaml(default))


@cache
def _schema(kind: type[Section]) -> dict[str, Any]:
    return kind.model_json_schema()


def _in_words(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return ", or ".join(dict.fromkeys(_in_words(option, definitions) for option in options))
    match schema.get("type"):
        case "integer" | "number" as number:
            return f"a {'whole ' if number == 'integer' else ''}number{_range(schema)}"
        case "boolean":
            return "true or false"
        case "string":
            return "text"
        case "null":
            return "null"
        case "array":
            return f"a list, each {_in_words(schema.get('items', {}), definitions)}"
        case "object" if "properties" in schema:
            return "a mapping with the keys " + ", ".join(schema["properties"])
        case "object":
            return "a mapping"
    return "a value"


def _range(schema: dict[str, Any]) -> str:
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema and schema[key] < 2**31]
    return f" {' and '.join(found)}" if found else ""
