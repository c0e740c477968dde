"""Sites: layers that attend, with how many heads of which sizes, from shapes, config and flags, which must agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rankscope.checkpoints.family import Tower
from rankscope.checkpoints.layouts import flat_shape, heads_of
from rankscope.checkpoints.places import Place
from rankscope.checkpoints.tensors import CheckpointError, Tensors

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
        has_bias: query, key or value has a bias in the file.
        rule: of the family's row, by which its names and layout are read.
        names: role, or "bias of " and role → name of the tensor.
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
    rule: Tower = field(repr=False)
    names: Mapping[str, str] = field(repr=False)


def told(keys: Sequence[str], rule: Tower, config: Mapping) -> tuple[int, str] | None:
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


def site_of_attention(
    place: Place, tower: str, layer: int, tensors: Tensors, config: Mapping[str, Any], flags: Mapping[str, int | None]
) -> list[Site]:
    """The one site of an attention layer.

    Args:
        place: `places.Place` where its kernels are.
        tower: its path with a star for the layer's number.
        layer: index over all sites.
        tensors: of the model.
        config: of the model.
        flags: `--num-heads` and `--key-dim` → number or None.

    Raises:
        CheckpointError: for shapes that are none of this layout, numbers that are missing or contradict each other.
    """
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
        if (number := told(keys, rule, config)) is not None:
            numbers.tell(what, *number)
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


def sites_of_chain(
    place: Place, tower: str, layer: int, tensors: Tensors, config: Mapping[str, Any], flags: Mapping[str, int | None]
) -> list[Site]:
    """The sites of a chain of factors, one for each two neighbours; arguments and errors as of `site_of_attention`."""
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
