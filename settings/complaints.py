"""What is wrong with settings, in one line: the source, the key, what was received and what would be right."""

import difflib
import re
from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from rankscope.settings.section import Section, literals, members


def complaint_of(error: ValidationError, kind: type[Section], source: str, overridden: set[str]) -> str:
    """One line about the deepest of the mistakes that pydantic found.

    Args:
        error: of pydantic.
        kind: class of the settings.
        source: where the settings come from.
        overridden: dotted keys that `--set` or a flag gave.
    """
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


def _union_tags(kind: type[Section]) -> set[str]:
    """What pydantic puts into an error's place to say which member of a union it is about: these are no keys."""
    tags = {"function-before[_no_boolean(), constrained-float]"}
    for field in kind.model_fields.values():
        for member in members(field.annotation):
            tags |= {member.__name__, *_union_tags(member)}
            if field.discriminator is not None:
                tags.update(literals(member, field.discriminator))
    return tags


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the known word that looks most like the given one, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
