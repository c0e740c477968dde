"""Name maps: a row of the table of families that a user writes for names we do not know, `--map FILE.yaml`."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from rankscope.checkpoints.family import Family
from rankscope.checkpoints.tensors import CheckpointError

LARGEST = 2**16  # bytes


def read_name_map(path: str | Path) -> Family:
    """Read one row from YAML; docs/checkpoints.md has its keys and an example.

    Args:
        path: of the file, at most 64 KiB.

    Returns:
        Family, as those of the table.

    Raises:
        CheckpointError: in one line, for a file that cannot be read, is no YAML, has keys or values that a row has not,
            or a pattern that is no regular expression.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "map.yaml"
    ...     _ = file.write_text("name: mine\\ntowers: [{site: 'block(?P<layer>[0-9]+)', chain: factor}]")
    ...     read_name_map(file).towers[0].chain
    'factor'
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise CheckpointError(f"{path} is larger than a name map may be, {LARGEST} bytes")
        tree = yaml.safe_load(text.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {_line(error)}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not YAML: {_line(error)}") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path} must hold the keys of a family: name, towers. Received: {type(tree).__name__}")
    try:
        return Family.model_validate(tree)
    except (ValidationError, RecursionError) as error:
        raise CheckpointError(f"{path}: {_first_mistake(error)}") from error


def to_yaml(family: Family) -> str:
    """A row as a name map, to begin one's own with.

    >>> from rankscope.checkpoints.families import FAMILIES
    >>> print(to_yaml(FAMILIES[0]), end="")
    name: GPT-2
    model_types:
    - gpt2
    towers:
    - site: h\\.(?P<layer>\\d+)\\.attn
      output: c_proj.weight
      fused: c_attn.weight
      stored: in_out
      num_heads:
      - n_head
      - num_attention_heads
      num_kv_heads: []
    """
    return yaml.safe_dump(family.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=False)


def _first_mistake(error) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    mistake = error.errors()[0]
    place = ".".join(map(str, mistake["loc"])) or "the family"
    if mistake["type"] == "extra_forbidden":
        return f"{place} is no key of a name map"
    received = repr(mistake.get("input"))
    told = "" if mistake["type"] == "value_error" else f". Received: {received[:80]}{'…' if len(received) > 80 else ''}"
    return _line(f"{place}: {mistake['msg'].removeprefix('Value error, ')}{told}")


def _line(text) -> str:
    return " ".join(str(text).split())
