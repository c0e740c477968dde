"""Checkpoint: the attention of one model file, found by the names of its tensors and given layer by layer as pairs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints.families import FAMILIES, LONGEST_NAME, Family, Tower
from checkpoints.layouts import by_head, flat_shape, heads_of, split_fused, with_bias
from checkpoints.notes import facts_about, notes_about
from checkpoints.tensors import CheckpointError, Tensors
from factors import FactorPair

_LOOKS_LIKE_ATTENTION = re.compile(
    r"(?:^|[._/])_?(?:q|k|v|qkv|query|key|value)(?:$|[._/]|_?(?:proj|lin|dense|kernel))|attn|attention|query_key_value"
)
#: Beside a kernel: its numbers are codes, and the weights are these times scales.
_QUANTISED = ("_scale", "_scale_inv", ".absmax", ".SCB", "_packed")


@dataclass(frozen=True)
class Site:
    """One attention layer (or two neighbouring factors of a chain) of a checkpoint.

    Args:
        layer: index over all sites, in the order of the model.
        path: what its tensors' names begin with.
        tower: the path with the layer's number replaced by "*".
        heads: of the queries, and so of both pairs.
        kv_heads: of keys and values.
        key_dim: size of a head's queries and keys.
        value_dim: size of a head's values.
        hidden_dim: width of the model, without the row of a bias.
        has_bias: query, key or value has a bias: both factors of qk, or the value, have a row more.
    """

    layer: int
    path: str
    tower: str
    heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    hidden_dim: int
    has_bias: bool
    _rule: Tower = field(repr=False)
    _names: Mapping[str, str] = field(repr=False)  # role, or "bias of " and role → name of the tensor


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The attention of one model.

    Args:
        path: of the file or folder.
        family: row of the table that its names were read by.
        sites: its attention layers.
        notes: what loses its meaning for this architecture, and doubts, one line each.
        biases: roles whose biases are a further row of their factors.
    """

    path: Path
    family: Family
    sites: tuple[Site, ...]
    notes: tuple[str, ...]
    biases: frozenset[str]
    _tensors: Tensors = field(repr=False)

    @property
    def name(self) -> str:
        """Short name of the checkpoint: its file's or folder's."""
        return Path(self.path).name

    @property
    def bytes(self) -> int:
        """Size of all attention tensors, taking the first one's type for that of all; reads that one."""
        names = {name for site in self.sites for name in site._names.values()}
        first = next(iter(self.sites[0]._names.values()))
        values = sum(int(np.prod(self._tensors.shapes[name], dtype=np.int64)) for name in names)
        return values * self._tensors.read(first).itemsize

    @property
    def num_pairs(self) -> int:
        """How many pairs there are: two a site, one in a chain."""
        return sum(1 if site._rule.chain is not None else 2 for site in self.sites)

    def pairs(self) -> Iterator[FactorPair]:
        """Every factor pair in model order: qk and vo of a layer, or product.

        One layer's tensors are in memory at a time, in the file's own type; a fused tensor is read once.

        Raises:
            factors.NonFiniteError: for weights that are NaN or infinite, naming pair and path.
            CheckpointError: from the reader.

        Example:

        >>> from checkpoints.checkpoint import ArrayTensors, find_attention
        >>> arrays = {f"h.0.attn.{role}_proj.weight": np.ones((8, 8)) for role in ("q", "k", "v", "out")}
        >>> checkpoint = find_attention(ArrayTensors(arrays), num_heads=2)
        >>> [(pair.pair, pair.path, pair.a.shape) for pair in checkpoint.pairs()]
        [('qk', 'h.0.attn', (2, 8, 4)), ('vo', 'h.0.attn', (2, 8, 4))]
        """
        for site in self.sites:
            yield from _pairs_of(site, self._tensors.read, self.biases)


class ArrayTensors(Tensors):
    """Arrays that are in memory anyhow.

    Args:
        arrays: name → array.
        config: as of `Tensors`; {} if None.
        path: to name them in messages.

    Example:

    >>> ArrayTensors({"a": np.ones(2)}).read("a").tolist()
    [1.0, 1.0]
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], config: Mapping | None = None, path: str = "arrays"):
        super().__init__(Path(path), {name: array.shape for name, array in arrays.items()}, config or {})
        self._arrays = arrays

    def read(self, name: str) -> np.ndarray:
        """The array of that name itself."""
        return self._arrays[name]


def find_attention(
    tensors: Tensors,
    num_heads: int | None = None,
    key_dim: int | None = None,
    family: Family | None = None,
    kernels_only: bool = False,
) -> Checkpoint:
    """Find the attention layers among named tensors.

    The head count is what config.json, the flags or the shape of a kernel of three axes say, never a guess. The flags
    tell of what the config does not; where it tells of some towers only, they are about the others.

    Args:
        tensors: of one model; only their names, shapes and config are looked at.
        num_heads: `--num-heads`.
        key_dim: `--key-dim`, size of a head.
        family: the user's own row; None for the row of the config's model_type, or else the one that explains most.
        kernels_only: leave all biases out, as the paper does. Otherwise the key's is left out where the softmax takes
            it away again, and where training leaves it to chance: without rotary positions and QK-norm it adds the same
            to all scores of a query.

    Returns:
        Checkpoint with at least one site.

    Raises:
        CheckpointError: for names that no row explains, layers that lack a tensor, quantised weights, a missing head
            count, flags, config and shapes that contradict each other. One line: tensor, shape, numbers, config key.

    Example:

    >>> arrays = {f"layers.3.self_attn.{role}_proj.weight": np.ones((8, 8), "f4") for role in "qkvo"}
    >>> checkpoint = find_attention(ArrayTensors(arrays, {"model_type": "llama", "num_attention_heads": 2}))
    >>> site = checkpoint.sites[0]
    >>> checkpoint.family.name, site.layer, site.path, site.tower, site.key_dim
    ('LLaMA', 0, 'layers.3.self_attn', 'layers.*.self_attn', 4)
    """
    for flag, number in (("--num-heads", num_heads), ("--key-dim", key_dim)):
        if number is not None and number < 1:
            raise CheckpointError(f"{flag} must be at least 1. Received: {number}")
    config = tensors.config if isinstance(tensors.config, Mapping) else {}
    family, places, doubts = _choose(tensors, config, family)
    flags = {"--num-heads": num_heads, "--key-dim": key_dim}
    # Where the config tells of some towers only, a flag is about the others: CLIP's two differ in it.
    told = {place.rule for place in places if _told(place.rule.num_heads, place.rule, config)}
    untold = {place.rule for place in places} - told
    sites, pair_index = [], 0
    towers = _tower_names([place.path for place in places], [place.layer_span for place in places])
    for place, tower in zip(places, towers, strict=True):
        known = flags if place.rule in untold or not untold else dict.fromkeys(flags)
        make = _sites_of_chain if place.rule.chain else _site_of_attention
        found = make(place, tower, pair_index, tensors, config, known)
        sites += found
        pair_index += len(found)
    facts = facts_about(family, sites, tensors.shapes, config)
    biases = set() if kernels_only else {"query", "key", "value"}
    if not facts & {"rope", "qk_norm"}:
        biases.discard("key")
    notes = (*doubts, *notes_about(facts, sites, config, biases))
    return Checkpoint(tensors.path, family, tuple(sites), notes, frozenset(biases), tensors)


# === Which tensors ===


@dataclass(frozen=True)
class _Place:
    """A path where a tower's kernels were found."""

    path: str
    rule: Tower
    names: Mapping[str, str]
    layer_span: tuple[int, int] | None  # of the layer's number in the path
    order: tuple

    def is_complete(self, shapes: Mapping[str, tuple]) -> bool:
        """Every kernel is there."""
        return all(name in shapes for name in self.names.values())


def _choose(tensors, config, family):
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


def _places(family: Family, shapes: Mapping[str, tuple], only_fitting: bool = False) -> list[_Place]:
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
            place = _Place(path, tower, names, span, order)
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


def _tower_names(paths, spans) -> list[str]:
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


# === How many heads ===


def _told(keys: Sequence[str], rule: Tower, config: Mapping) -> tuple[int, str] | None:
    """A number of the config and the key that it stands under."""
    section, prefix = config, ""
    for name in rule.section:
        if isinstance(config.get(name), Mapping):
            section, prefix = config[name], f"{name}."
            break
    for key in keys:
        value: Any = section.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CheckpointError(f"{prefix}{key} in config.json must be a whole number from 1. Received: {value!r}")
        return value, f"{prefix}{key} in config.json"
    return None


class _Numbers:
    """What is known of a site's head counts, each with who said so; a contradiction is an error."""

    def __init__(self, where: str):
        self.where = where
        self._known: dict[str, tuple[int, str]] = {}

    def tell(self, what: str, value: int, source: str) -> None:
        """Take a number, or compare it with the one that is known."""
        known, first = self._known.setdefault(what, (value, source))
        if known != value:
            raise CheckpointError(f"{self.where}: {first} says {known} {what}, {source} says {value}")

    def get(self, what: str) -> int | None:
        return self._known[what][0] if what in self._known else None

    def source(self, what: str) -> str:
        return self._known[what][1]


def _site_of_attention(place, tower, layer, tensors, config, flags) -> list[Site]:
    rule, names = place.rule, place.names
    flat = {}
    for role in rule.kernels:
        name = names[role]
        if name not in tensors.shapes:
            raise CheckpointError(f"{tensors.path}: {place.path} has {_first(names)} but no {name}")
        scale = next((name + end for end in _QUANTISED if name + end in tensors.shapes), None)
        if scale is not None:
            raise CheckpointError(f"{tensors.path}: {name} is quantised, {scale} stands beside it: dequantise it first")
        flat[role] = flat_shape(tuple(tensors.shapes[name]), rule.stored, role)
        if flat[role] is None:
            raise CheckpointError(
                f"{tensors.path}: {name} has the shape {tuple(tensors.shapes[name])}, which is no {role} kernel stored "
                f"as {rule.stored!r}"
            )

    def shaped(role):
        return f"the shape {tuple(tensors.shapes[names[role]])} of {names[role]}"

    first = next(iter(rule.kernels))
    if flat[first][1] != flat["output"][1]:
        raise CheckpointError(
            f"{tensors.path}: {shaped(first)} and {shaped('output')} differ in hidden size: {flat[first][1]} and "
            f"{flat['output'][1]}"
        )
    numbers = _numbers(place, tensors, config, flags)
    solve = _solve_fused if rule.fused else _solve_apart
    heads, kv_heads, key_dim, value_dim = solve(numbers, flat, shaped)
    sizes = {"fused": flat.get("fused"), "query": flat.get("query"), "key": flat.get("key"), "value": flat.get("value")}
    for role, size in sizes.items():
        bias = names.get(f"bias of {role}")
        if bias is not None and int(np.prod(tensors.shapes[bias], dtype=np.int64)) != size[0]:
            raise CheckpointError(
                f"{tensors.path}: {bias} has the shape {tuple(tensors.shapes[bias])}; {shaped(role)} asks for "
                f"{size[0]} values"
            )
    has_bias = any(role.startswith("bias of ") for role in names)
    hidden = flat["output"][1]
    return [Site(layer, place.path, tower, heads, kv_heads, key_dim, value_dim, hidden, has_bias, rule, names)]


def _first(names):
    return next(iter(names.values()))


def _numbers(place, tensors, config, flags) -> _Numbers:
    numbers = _Numbers(f"{tensors.path}: {place.path}")
    rule = place.rule
    for what, keys, flag in (
        ("heads", rule.num_heads, "--num-heads"),
        ("key_dim", rule.key_dim, "--key-dim"),
        ("kv_heads", rule.num_kv_heads, None),
    ):
        if (told := _told(keys, rule, config)) is not None:
            numbers.tell(what, *told)
        if flags.get(flag) is not None:
            numbers.tell(what, flags[flag], flag)
    for role, what in (("query", "heads"), ("output", "heads"), ("key", "kv_heads"), ("value", "kv_heads")):
        if role in place.names:
            shape = tuple(tensors.shapes[place.names[role]])
            if (count := heads_of(shape, rule.stored, role)) is not None:
                numbers.tell(what, count, f"the shape {shape} of {place.names[role]}")
    if "fused" in place.names:
        shape = tuple(tensors.shapes[place.names["fused"]])
        if (count := heads_of(shape, rule.stored, "fused")) is not None:
            numbers.tell("heads", count, f"the shape {shape} of {place.names['fused']}")
            numbers.tell("kv_heads", count, f"the shape {shape} of {place.names['fused']}")
    return numbers


def _solve_heads(numbers: _Numbers, inner: int, shaped: str) -> tuple[int, int]:
    """Heads and key_dim, of which one must be known, with heads · key_dim = inner."""
    heads, key_dim = numbers.get("heads"), numbers.get("key_dim")
    if heads is None and key_dim is None:
        raise CheckpointError(
            f"{numbers.where}: {shaped} does not tell the number of heads, nor does a config.json: say "
            "--num-heads N or --key-dim K"
        )
    if heads is not None and key_dim is not None and heads * key_dim != inner:
        raise CheckpointError(
            f"{numbers.where}: {shaped} has {inner} rows of heads, but {heads} heads ({numbers.source('heads')}) times "
            f"{key_dim} ({numbers.source('key_dim')}) are {heads * key_dim}"
        )
    known, what = (heads, "heads") if heads is not None else (key_dim, "key_dim")
    if inner % known:
        raise CheckpointError(
            f"{numbers.where}: {known} {what} ({numbers.source(what)}) do not divide the {inner} rows of heads of "
            f"{shaped}"
        )
    return (heads, inner // heads) if heads is not None else (inner // key_dim, key_dim)


def _solve_apart(numbers, flat, shaped):
    heads, key_dim = _solve_heads(numbers, flat["query"][0], shaped("query"))
    kv_heads = _solve_kv_heads(numbers, flat["key"][0], key_dim, shaped("key"))
    _check_groups(numbers, heads, kv_heads, shaped("key"))
    for role, count in (("output", heads), ("value", kv_heads)):
        if flat[role][0] % count:
            raise CheckpointError(
                f"{numbers.where}: {count} heads do not divide the {flat[role][0]} rows of heads of {shaped(role)}"
            )
    value_dim = flat["output"][0] // heads
    if flat["value"][0] != kv_heads * value_dim:
        raise CheckpointError(
            f"{numbers.where}: {shaped('value')} has {flat['value'][0]} rows of heads, but {kv_heads} heads (as of the "
            f"keys) times {value_dim} (from {shaped('output')}) are {kv_heads * value_dim}"
        )
    return heads, kv_heads, key_dim, value_dim


def _solve_kv_heads(numbers, inner, key_dim, shaped):
    if (kv_heads := numbers.get("kv_heads")) is not None:
        if kv_heads * key_dim != inner:
            raise CheckpointError(
                f"{numbers.where}: {shaped} has {inner} rows of heads, but {kv_heads} heads "
                f"({numbers.source('kv_heads')}) times a key_dim of {key_dim} are {kv_heads * key_dim}"
            )
        return kv_heads
    if inner % key_dim:
        raise CheckpointError(f"{numbers.where}: a key_dim of {key_dim} does not divide the {inner} rows of {shaped}")
    return inner // key_dim


def _check_groups(numbers, heads, kv_heads, shaped):
    if heads % kv_heads:
        raise CheckpointError(f"{numbers.where}: {heads} query heads cannot share {kv_heads} key heads ({shaped})")


def _solve_fused(numbers, flat, shaped):
    heads, key_dim = _solve_heads(numbers, flat["output"][0], shaped("output"))
    rest, shape = flat["fused"][0] - heads * key_dim, shaped("fused")
    if rest < 2 * key_dim or rest % (2 * key_dim):
        raise CheckpointError(
            f"{numbers.where}: {shape} leaves {rest} rows for keys and values after {heads} query heads "
            f"({numbers.source('heads') if numbers.get('heads') else shaped('output')}) of key_dim {key_dim}: no whole "
            f"number of heads each"
        )
    kv_heads = _solve_kv_heads(numbers, rest // 2, key_dim, shape)
    _check_groups(numbers, heads, kv_heads, shape)
    return heads, kv_heads, key_dim, key_dim


def _sites_of_chain(place, tower, layer, tensors, config, flags) -> list[Site]:
    names = list(place.names.values())
    shapes = [tuple(tensors.shapes[name]) for name in names]
    sites = []
    for index in range(len(names) - 1):
        first, second = shapes[index : index + 2]
        if first[:-2] != second[:-2] or first[-1] != second[-2]:
            raise CheckpointError(
                f"{tensors.path}: {names[index]} of shape {first} and {names[index + 1]} of shape {second} are no "
                "factors of one product"
            )
        replicas = first[0] if len(first) == 3 else 1
        inner, hidden = first[-1], min(first[-2], second[-1])
        pair = {"first": names[index], "second": names[index + 1]}
        sites.append(
            Site(layer + index, place.path, tower, replicas, replicas, inner, inner, hidden, False, place.rule, pair)
        )
    return sites


# === Reading ===


def _pairs_of(site: Site, read, biased) -> Iterator[FactorPair]:
    rule, names = site._rule, site._names
    if rule.chain is not None:
        first, second = (read(names[role]) for role in ("first", "second"))
        first, second = (kernel.reshape(-1, *kernel.shape[-2:]) for kernel in (first, second))  # (R, d_l, d_{l+1})
        # x @ K_0 @ K_1 is K_1ᵀ K_0ᵀ x: A = K_1ᵀ of shape (out, inner), B = K_0 of shape (in, inner).
        yield FactorPair("product", site.layer, site.path, a=second.swapaxes(1, 2), b=first)
        return
    query, key, value, output = ("query", "key", "value", "output")
    if rule.fused is not None:
        sizes = (site.heads, site.kv_heads, site.key_dim)
        parts = split_fused(read(names["fused"]), rule.stored, rule.order, *sizes)
        kernels, biases = dict(zip((query, key, value), parts, strict=True)), {}
        if biased and "bias of fused" in names:
            bias = read(names["bias of fused"]).reshape((-1, 1) if rule.stored == "out_in" else (1, -1))  # D = 1
            parts = split_fused(bias, "out_in" if rule.stored == "out_in" else "in_out", rule.order, *sizes)
            biases = dict(zip((query, key, value), parts, strict=True))  # (H, 1, K)
            biases = {role: bias for role, bias in biases.items() if role in biased}
        yield _qk(site, kernels.pop(query), kernels.pop(key), biases.get(query), biases.get(key))
        kernel, bias = kernels.pop(value), biases.get(value)
    else:
        counts = {query: site.heads, key: site.kv_heads, value: site.kv_heads}

        def kernel_of(role):
            return by_head(read(names[role]), rule.stored, role, counts[role])

        def bias_of(role):
            name = names.get(f"bias of {role}") if role in biased else None
            return None if name is None else read(name).reshape(counts[role], 1, -1)  # (H, 1, K)

        yield _qk(site, kernel_of(query), kernel_of(key), bias_of(query), bias_of(key))
        kernel, bias = kernel_of(value), bias_of(value)
    b = kernel if bias is None else with_bias(kernel, bias)
    yield FactorPair("vo", site.layer, site.path, a=by_head(read(names[output]), rule.stored, output, site.heads), b=b)


def _qk(site, query, key, query_bias, key_bias):
    if query_bias is not None or key_bias is not None:
        query, key = with_bias(query, query_bias), with_bias(key, key_bias)
    return FactorPair("qk", site.layer, site.path, a=key, b=query)
