"""Notes: what a measurement of this architecture does not mean, one line each; docs/checkpoints.md says why."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from rankscope.checkpoints.family import Family

_QK_NORM = re.compile(r"_?(?:q|k|query|key)_?(?:dense_)?(?:layer_?)?norm(?:$|[._/])")

ROPE = (
    "rotary positions: scores depend on more than W_KᵀW_Q, which is the score at distance 0; the balance law of qk "
    "holds per frequency pair of rows, not entry by entry"
)
QK_NORM = (
    "QK-norm: decay of W_Q, W_K is radial only; the nuclear gap of qk says nothing about training, and its balance law "
    "does not hold"
)
GROUPED = (
    "grouped queries: the balance law is that of the group's sum: the shared key against the sum over its queries, the "
    "shared value against the sum over its outputs"
)
BIAS = (
    "biases are a further row of the factors; AᵀA − BᵀB includes them; where biases are not decayed the law holds "
    "without them, at rest"
)
KEY_BIAS = (
    "the key's bias is left out: it shifts all scores of a query alike, which softmax undoes; training leaves it to "
    "chance"
)
KERNELS = "biases are left out: the products are of kernels alone"
ALIBI = "ALiBi: a fixed term is added to the scores; the laws of qk hold, but qk alone is not the score"
RELATIVE = "relative bias: a learned term is added to the scores; the laws of qk hold, but qk alone is not the score"
CLIPPED = "clip_qkv: queries, keys and values are clipped; where they are, the layer does not apply the products"


def facts_about(family: Family, sites: Sequence[Any], shapes: Mapping[str, tuple], config: Mapping) -> set[str]:
    """The row's facts, mended by what config and names say: ALiBi in place of rotary positions, gains of a QK-norm.

    Args:
        family: row of the table.
        sites: `sites.Site`s.
        shapes: names of all tensors, to see the gains of a QK-norm.
        config: of the model.

    Example:

    >>> from types import SimpleNamespace
    >>> from rankscope.checkpoints.families import FAMILIES
    >>> facts_about(FAMILIES[0], [SimpleNamespace(path="h.0.attn")], {"h.0.attn.q_norm.weight": (8,)}, {})
    {'qk_norm'}
    """
    facts = set(family.facts)
    if any(section.get("alibi") is True for section in _sections(config)):  # Falcon has either
        facts = facts - {"rope"} | {"alibi"}
    paths = {site.path for site in sites}
    for name in shapes:
        found = _QK_NORM.search(name)
        if found and name[: found.start()].rstrip("./") in paths:
            facts.add("qk_norm")
    return facts


def notes_about(facts: Set[str], sites: Sequence[Any], config: Mapping, biases: Set[str]) -> tuple[str, ...]:
    """What loses its meaning.

    Args:
        facts: as `facts_about` gives them.
        sites: `sites.Site`s.
        config: of the model.
        biases: roles whose biases are read.

    Example:

    >>> from types import SimpleNamespace
    >>> site = SimpleNamespace(heads=4, kv_heads=2, has_bias=False, names={})
    >>> notes_about({"qk_norm"}, [site], {}, set()) == (QK_NORM, GROUPED)
    True
    """
    biased = any(site.has_bias for site in sites)
    of_keys = any({"bias of key", "bias of fused"} & set(site.names) for site in sites)
    said = [
        (ROPE, "rope" in facts),
        (QK_NORM, "qk_norm" in facts),
        (ALIBI, "alibi" in facts),
        (RELATIVE, "relative bias" in facts),
        (CLIPPED, any(section.get("clip_qkv") is not None for section in _sections(config))),
        (GROUPED, any(site.kv_heads != site.heads for site in sites)),
        (BIAS, biased and bool(biases)),
        (KEY_BIAS, of_keys and bool(biases) and "key" not in biases),
        (KERNELS, biased and not biases),
    ]
    return tuple(note for note, is_so in said if is_so)


def _sections(config):
    sections = (config, config.get("text_config"), config.get("vision_config"))
    return [section for section in sections if isinstance(section, Mapping)]
