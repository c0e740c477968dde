"""Settings, environments and summaries read back as plain mappings."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from rankscope.errors import UserError


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them can stand for more than any memory holds."""

    def compose_node(self, parent, index):
        """Refuse an alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias, which no file of ours has")
        return super().compose_node(parent, index)


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON or YAML file that holds a mapping.

    Raises:
        UserError: in one line, naming the file, where it cannot be read or holds something else.
    """
    load = json.loads if path.suffix == ".json" else partial(yaml.load, Loader=_PlainLoader)
    content = in_one_line(path, lambda: load(path.read_text(encoding="utf-8")))
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it must hold a mapping. Received: {type(content).__name__}")
    return content


def in_one_line(path: Path, read: Callable[[], Any]) -> Any:
    """What a function reads of a file; its errors become one line that names the file.

    Raises:
        UserError: for whatever NumPy, csv, json, yaml or the system raise of a damaged file.
    """
    try:
        return read()
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise UserError(said if str(path) in said else f"{path} is damaged: {said}") from error
