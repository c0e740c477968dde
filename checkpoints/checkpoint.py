"""Checkpoint: the attention of one model file, found by the names of its tensors and given layer by layer as pairs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rankscope.checkpoints.family import Family
from rankscope.checkpoints.layouts import by_head, split_fused, with_bias
from rankscope.checkpoints.notes import facts_about, notes_about
from rankscope.checkpoints.places import choose, tower_names
from rankscope.checkpoints.sites import Site, site_of_attention, sites_of_chain, told
from rankscope.checkpoints.tensors import CheckpointError, Tensors
from rankscope.factors import FactorPair


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
        """Short name of the checkpoint: its file's, or its folder's where all such files are called alike."""
        path = Path(self.path).absolute()
        return path.parent.name if path.name.split(".")[0] == "model" else path.name

    @property
    def num_pairs(self) -> int:
        """How many pairs there are: two a site, one in a chain."""
        return sum(1 if site.rule.chain is not None else 2 for site in self.sites)

    def pairs(self) -> Iterator[FactorPair]:
        """Every factor pair in model order: qk and vo of a layer, or product.

        One layer's tensors are in memory at a time, in the file's own type; a fused tensor is read once.

        Raises:
            factors.NonFiniteError: for weights that are NaN or infinite, naming pair and path.
            CheckpointError: from the reader.

        Example:

        >>> import numpy as np
        >>> from rankscope.checkpoints.tensors import ArrayTensors
        >>> arrays = {f"h.0.attn.{role}_proj.weight": np.ones((8, 8)) for role in ("q", "k", "v", "out")}
        >>> checkpoint = find_attention(ArrayTensors(arrays), num_heads=2)
        >>> [(pair.pair, pair.path, pair.a.shape) for pair in checkpoint.pairs()]
        [('qk', 'h.0.attn', (2, 8, 4)), ('vo', 'h.0.attn', (2, 8, 4))]
        """
        for site in self.sites:
            yield from _pairs_of(site, self._tensors.read, self.biases)


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

    >>> import numpy as np
    >>> from rankscope.checkpoints.tensors import ArrayTensors
    >>> arrays = {f"layers.3.self_attn.{role}_proj.weight": np.ones((8, 8), "f4") for role in "qkvo"}
    >>> checkpoint = find_attention(ArrayTensors(arrays, {"model_type": "llama", "num_attention_heads": 2}))
    >>> site = checkpoint.sites[0]
    >>> checkpoint.family.name, site.layer, site.path, site.tower, site.key_dim
    ('LLaMA', 0, 'layers.3.self_attn', 'layers.*.self_attn', 4)
    """
    flags = _checked_flags({"--num-heads": num_heads, "--key-dim": key_dim})
    config = tensors.config if isinstance(tensors.config, Mapping) else {}
    family, places, doubts = choose(tensors, config, family)
    # Where the config tells of some towers only, a flag is about the others: CLIP's two differ in it.
    spoken_of = {place.rule for place in places if told(place.rule.num_heads, place.rule, config)}
    untold = {place.rule for place in places} - spoken_of
    sites, pair_index = [], 0
    towers = tower_names([place.path for place in places], [place.layer_span for place in places])
    for place, tower in zip(places, towers, strict=True):
        known = flags if place.rule in untold or not untold else dict.fromkeys(flags)
        make = sites_of_chain if place.rule.chain else site_of_attention
        found = make(place, tower, pair_index, tensors, config, known)
        sites += found
        pair_index += len(found)
    facts = facts_about(family, sites, tensors.shapes, config)
    biases = set() if kernels_only else {"query", "key", "value"}
    if not facts & {"rope", "qk_norm"}:
        biases.discard("key")
    notes = (*doubts, *notes_about(facts, sites, config, biases))
    return Checkpoint(tensors.path, family, tuple(sites), notes, frozenset(biases), tensors)


def _checked_flags(flags):
    for flag, number in flags.items():
        if number is not None and number < 1:
            raise CheckpointError(f"{flag} must be at least 1. Received: {number}")
    return flags


def _pairs_of(site: Site, read, biased) -> Iterator[FactorPair]:
    rule, names = site.rule, site.names
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
