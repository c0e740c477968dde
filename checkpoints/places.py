"""Where attention lies among named tensors: which family explains the names, and the layers it finds, in order."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankscope.checkpoints.families import FAMILIES
from rankscope.checkpoints.family import LONGEST_NAME, Family, Tower
from rankscope.checkpoints.layouts import flat_shape, heads_of
from rankscope.checkpoints.tensors import CheckpointError, Tensors

_LOOKS_LIKE_ATTENTION = re.compile(
    r"(?:^|[._/])_?(?:q|k|v|qkv|query|key|value)(?:$|[._/]|_?(?:proj|lin|dense|kernel))|attn|attention|query_key_value"
)


@dataclass(frozen=True)
class Place:
    """A path where a tower's kernels were found."""

    path: str
    rule: Tower
    names: Mapping[str, str]
    layer_span: tuple[int, int] | None  # of the layer's number in the path
    order: tuple

    def is_complete(self, shapes: Mapping[str, tuple]) -> bool:
        """Every kernel is there."""
        return all(name in shapes for name in self.names.values())


def choose(
    tensors: Tensors, config: Mapping[str, Any], family: Family | None
) -> tuple[Family, list[Place], Sequence[str]]:
    """The row, its places in model order, and doubts worth a note."""
    # Messages quote names: none that is endless, breaks a line or moves a terminal's cursor.
    plain = (name for name in tensors.shapes if len(name) <= LONGEST_NAME and name.isprintable())
    shapes = {name: tuple(tensors.shapes[name]) for name in plain}
    if family is not None:
        places = _places(family, shapes)
        if not places:
            raise CheckpointError(f"{tensors.path}: nothing fits the name map {family.name!r}; {_look_alikes(shapes)}")
        return family, places, ()
    sections = [config, config.get("text_config"), config.get("vision_config")]
    types = [section.get("model_type") for section in sections if isinstance(section, Mapping)]
    types = [name for name in types if isinstance(name, str)]
    for model_type in types:
        for row in FAMILIES:
            if model_type in row.model_types and (places := _places(row, shapes)):
                return row, places, _left_over(places, shapes)
    found = [(row, _places(row, shapes, only_fitting=True)) for row in FAMILIES]
    most = max(len(places) for _, places in found)
    if most == 0:
        raise CheckpointError(
            f"{tensors.path}: no known names of attention; {_look_alikes(shapes)}; say what they are in a name map: "
            "--map FILE.yaml"
        )
    rows = [(row, places) for row, places in found if len(places) == most]
    row, places = rows[0]
    doubts = []
    if types:
        fused = next((place.names["fused"] for place in places if "fused" in place.names), None)
        if fused is not None and places[0].rule.stored in ("out_in", "in_out"):
            raise CheckpointError(
                f"{tensors.path}: model_type {types[0]!r} is not known, and the order of query, key and value within "
                f"{fused} cannot be told from its name; say it in a name map: --map FILE.yaml"
            )
        doubts.append(f"model_type {types[0]!r} is not in the table: read as {row.name}, by the names of its tensors")
    elif any(set(other.facts) != set(row.facts) for other, _ in rows):
        others = ", ".join(other.name for other, _ in rows[1:])
        doubts.append(f"no config.json says what model this is: read as {row.name}, but its names fit {others} as well")
    return row, places, (*doubts, *_left_over(places, shapes))


def _places(family: Family, shapes: Mapping[str, tuple], only_fitting: bool = False) -> list[Place]:
    """Sites of a family, in model order."""
    stacks = [tower.stack or index for index, tower in enumerate(family.towers)]
    places = {}
    for index, tower in enumerate(family.towers):
        if tower.chain is not None:
            found = _chains(tower, shapes)
        else:
            found = _attentions(tower, shapes, only_fitting)
        for path, match, names in found:
            span = match.span("layer") if "layer" in match.re.groupindex and match["layer"] is not None else None
            digits = match["layer"] if span else ""
            number = int(digits) if digits.isdecimal() else float("inf")  # without a number: a head at the end
            order = (stacks.index(stacks[index]), number, index, _natural(path))
            place = Place(path, tower, names, span, order)
            if path not in places or (place.is_complete(shapes) and not places[path].is_complete(shapes)):
                places[path] = place
    # One layer that lacks a kernel is a mistake; where all its like lack it they are of another tower, or of none.
    whole = {re.sub(r"\d+", "*", path) for path, place in places.items() if place.is_complete(shapes)}
    kept = [place for path, place in places.items() if not whole or re.sub(r"\d+", "*", path) in whole]
    return sorted(kept, key=lambda place: place.order)


def _attentions(tower, shapes, only_fitting):
    """(path, match, names) of each site that has all kernels, or, if not `only_fitting`, any but the output."""
    kernels = tower.kernels
    first_name = next(iter(kernels.values()))
    for name in shapes:
        path = _path_before(name, first_name)
        if path is None or (match := tower.match(path)) is None:
            continue
        separator = name[len(path)]
        names = {role: f"{path}{separator}{kernel}" for role, kernel in kernels.items()}
        complete = all(kernel in shapes for kernel in names.values())
        if only_fitting and not (complete and _fits(tower, names, shapes)):
            continue
        for role in kernels:
            bias = tower.bias(role) if role != "output" else None
            bias = f"{path}{separator}{bias}" if bias is not None else None
            # A bias has one axis less than its kernel: Rankscope's vars/4 is the query's only if it has (H, K).
            if bias in shapes and role != "output" and len(shapes[bias]) == len(shapes.get(names[role], ())) - 1:
                names[f"bias of {role}"] = bias
        yield path, match, names


def _chains(tower, shapes):
    chains = {}
    for name in shapes:
        found = re.fullmatch(rf"(.+)[./]{re.escape(tower.chain)}(\d{{1,6}})", name, re.DOTALL)
        if found and len(shapes[name]) in (2, 3) and (match := tower.match(found[1])):
            chains.setdefault(found[1], (match, {}))[1][int(found[2])] = name
    for path, (match, names) in chains.items():
        ordered = [names[index] for index in sorted(names)]
        if len(ordered) > 1:
            yield path, match, {str(index): name for index, name in enumerate(ordered)}


def _path_before(name: str, end: str) -> str | None:
    if not name.endswith(end) or len(name) < len(end) + 2 or name[-len(end) - 1] not in "./":
        return None
    return name[: -len(end) - 1]


def _fits(tower, names, shapes) -> bool:
    """The shapes are such as the layout would have them."""
    flat = {role: flat_shape(shapes[name], tower.stored, role) for role, name in names.items()}
    if None in flat.values():
        return False
    if tower.fused is None and tower.stored in ("heads", "heads_first"):
        query, key = (shapes[names[role]] for role in ("query", "key"))
        heads = heads_of(query, tower.stored, "query")
        if heads is None or heads_of(key, tower.stored, "key") is None:
            return False
        if len(shapes[names["output"]]) == 3 and heads_of(shapes[names["output"]], tower.stored, "output") != heads:
            return False
    # A query comes from where the output goes: a transposed layout differs in this.
    source = flat.get("query", flat.get("fused"))
    return source[1] == flat["output"][1]


def _natural(path: str) -> list:
    """Numbers in their order; a name without one comes before the same name with one, as Keras counts."""
    key = []
    for part in re.split(r"[./]", path):
        pieces = re.split(r"_?(\d{1,18})", part)
        key.append([(piece, -1) if index % 2 == 0 else ("", int(piece)) for index, piece in enumerate(pieces) if piece])
    return key


def tower_names(paths: Sequence[str], spans: Sequence[tuple[int, int] | None]) -> list[str]:
    """Paths with the layer's number replaced by "*"; those of Keras, whose first layer has none, among their like."""
    towers = []
    stems: dict[str, list[str]] = {}
    for path, span in zip(paths, spans, strict=True):
        if span is None:
            stems.setdefault(_stem(path), []).append(path)
    for path, span in zip(paths, spans, strict=True):
        if span is not None:
            towers.append(f"{path[: span[0]]}*{path[span[1] :]}")
            continue
        alike = [re.split(r"([./])", other) for other in stems[_stem(path)]]
        columns = zip(*alike, strict=True)  # part by part
        towers.append(
            "".join(parts[0] if len(set(parts)) == 1 else f"{_stem(parts[0])}_*" for parts in map(tuple, columns))
        )
    return towers


def _stem(path: str) -> str:
    return re.sub(r"_\d+(?=$|[./])", "", path)


def _look_alikes(shapes) -> str:
    alike = dict.fromkeys(
        re.sub(r"\d+", "*", name)
        for name, shape in shapes.items()
        if len(shape) == 2 and _LOOKS_LIKE_ATTENTION.search(name)
    )
    if not alike:
        return f"none of its {len(shapes)} tensors looks like attention"
    return f"these look like it: {', '.join(list(alike)[:8])}{', …' if len(alike) > 8 else ''}"


def _left_over(places, shapes) -> tuple[str, ...]:
    """A note on kernels of attention that no site has: another tower in the file, say."""
    used = {name for place in places for name in place.names.values()}
    paths = {place.path for place in places}
    stems = {re.sub(r"\d+", "*", path) for path in paths}
    kernel = re.compile(r"(?:^|[._/])(?:q|k|v|qkv|query|key|value|in)(?:_proj|_lin|_dense)?[._]?(?:weight|/kernel)$")
    left = dict.fromkeys(
        re.sub(r"\d+", "*", name)
        for name, shape in shapes.items()
        if len(shape) == 2 and name not in used and kernel.search(name) and re.search(r"att", name)
    )
    left = [name for name in left if not any(name.startswith(f"{stem}.") for stem in stems)]
    if not left:
        return ()
    return (f"not read, though it looks like attention: {', '.join(left[:4])}{', …' if len(left) > 4 else ''}",)
