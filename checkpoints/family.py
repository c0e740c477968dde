"""What a row of the table of families says: how an architecture names and stores its attention, tower by tower."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

#: Names of tensors that are longer are nobody's attention; a bound on what a pattern may have to search.
LONGEST_NAME = 512

Fact = Literal["rope", "qk_norm", "alibi", "relative bias"]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256)]
#: A repeated group, or many repeats one after the other: such a pattern can search for longer than anyone waits.
_REPEATED_GROUP = re.compile(r"(?<!\\)\)[*+{]")
_REPEAT = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\d*\})")
_MOST_REPEATS = 3


class Tower(BaseModel):
    """Layers of one family that name and store their attention alike.

    Args:
        site: regular expression of a layer's path, without what may stand before it; a group `layer` is its number.
        stack: towers of one stack take turns layer by layer, as a decoder's two attentions do.
        query, key, value, output: names of the kernels within the site.
        fused: name of one tensor that holds query, key and value.
        order: of the fused rows. "split": all of the queries, H·K rows, then Hkv·K of the keys, then Hkv·K of the
            values. "interleaved": group by group, (Hkv, H/Hkv + 2, K): its queries, its key, its value.
        stored: "out_in" as torch's Linear, (H·K, D); "in_out" as GPT-2's Conv1D and Keras' Dense, (D, H·K); "heads" as
            Keras' attention, (D, H, K) and, of the output, (H, K, D), or "in_out" where there are two axes only;
            "heads_first" as KerasHub's Gemma, (H, D, K).
        biases: names of the biases of query, key and value (or of the fused tensor), if not the kernel's name with
            "bias" for "weight" or "kernel", or "vars/1" for "vars/0".
        chain: the kernels of the site, this text and a number each, are factors of one product.
        section: of the config that tells of this tower, such as "text_config"; the whole config where it lacks that.
        num_heads, num_kv_heads, key_dim: config keys, the first that is there counts. Shapes tell what no key tells.

    Raises:
        ValueError: for a pattern that is none or could search for ever, and for kernels that make no pair.

    Example:

    >>> tower = Tower(site=r"h\\.(?P<layer>\\d+)\\.attn", fused="c_attn.weight", output="c_proj.weight")
    >>> tower.match("transformer.h.11.attn")["layer"], tower.bias("fused")
    ('11', 'c_attn.bias')
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: Text
    stack: str = ""
    query: Text | None = None
    key: Text | None = None
    value: Text | None = None
    output: Text | None = None
    fused: Text | None = None
    order: Literal["split", "interleaved"] = "split"
    stored: Literal["out_in", "in_out", "heads", "heads_first"] = "out_in"
    biases: tuple[str, ...] = ()
    chain: Text | None = None
    section: tuple[str, ...] = ()
    num_heads: tuple[str, ...] = ("num_attention_heads",)
    num_kv_heads: tuple[str, ...] = ("num_key_value_heads",)
    key_dim: tuple[str, ...] = ("head_dim",)

    @field_validator("site")
    @classmethod
    def _compiles(cls, site: str) -> str:
        if _REPEATED_GROUP.search(site):
            raise ValueError(f"must not repeat a group. Received: {site}")
        if len(_REPEAT.findall(site)) > _MOST_REPEATS:
            raise ValueError(f"may hold {_MOST_REPEATS} repeats, * or + or {{…}}. Received: {site}")
        try:
            pattern = re.compile(site)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"is no regular expression: {error}. Received: {site}") from None
        if set(pattern.groupindex) - {"layer"}:
            raise ValueError(f"may name one group only, layer. Received: {site}")
        return site

    @model_validator(mode="after")
    def _makes_pairs(self) -> "Tower":
        apart = [self.query, self.key, self.value]
        if self.chain is not None:
            right = not any([*apart, self.fused, self.output])
        elif self.fused is not None:
            right = not any(apart) and self.output is not None
        else:
            right = all(apart) and self.output is not None
        if not right:
            raise ValueError("name query, key, value and output, or fused and output, or chain alone")
        if self.biases and len(self.biases) != len(self.kernels) - 1:
            raise ValueError(f"name one bias for each of {', '.join(list(self.kernels)[:-1])}")
        return self

    @property
    def kernels(self) -> dict[str, str]:
        """Role → name within the site; the output comes last."""
        roles = ("fused", "query", "key", "value", "output")
        return {role: getattr(self, role) for role in roles if getattr(self, role) is not None}

    def bias(self, role: str) -> str | None:
        """Name of a kernel's bias within the site; None where nothing could be its name."""
        if self.biases:
            return self.biases[list(self.kernels).index(role)]
        name = self.kernels[role]
        bias = re.sub(r"(?:weight|kernel)$", "bias", re.sub(r"\bvars/0$", "vars/1", name))
        return bias if bias != name else None

    def match(self, path: str) -> re.Match | None:
        """A path as a site of this tower, whatever stands before it ("model.", "transformer.", …)."""
        if len(path) > LONGEST_NAME:
            return None
        return re.fullmatch(rf"(?:.*[./])?(?:{self.site})", path)


class Family(BaseModel):
    """One row of the table.

    Args:
        name: as people call it.
        model_types: values of config.json's `model_type` that mean this family.
        towers: in the order of the model.
        facts: what changes the meaning of a measurement. `qk_norm` need not be said where its gains are seen.

    Example:

    >>> Family(name="toy", towers=(Tower(site=r"factors", chain="kernel_"),)).facts
    ()
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    model_types: tuple[str, ...] = ()
    towers: Annotated[tuple[Tower, ...], Field(min_length=1)]
    facts: tuple[Fact, ...] = ()
