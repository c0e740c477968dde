"""Shards of tokens on disk, mapped into memory, and their index; `data.tokenize` writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

INDEX = "index.json"
VERSION = 1
_LARGEST_INDEX = 2**26  # bytes: half a million files


def shard_path(directory: Path, part: str, number: int) -> Path:
    """The file of a shard of `"train"` or `"validation"`."""
    return directory / f"{part}-{number:05d}.bin"


class Tokens:
    """A sequence of tokens in one array or several, of which only what is asked for is read.

    Args:
        shards: uint16 arrays or memory maps `(N,)`, of one length but for the last, which may be shorter.

    Example:

    >>> tokens = Tokens([np.array([5, 6, 7], "u2"), np.array([8, 9], "u2")])
    >>> len(tokens), tokens.windows(np.array([0, 2]), 3).tolist()
    (5, [[5, 6, 7], [7, 8, 9]])
    """

    def __init__(self, shards: list[np.ndarray]):
        self._shards = shards
        self._length = sum(len(shard) for shard in shards)

    def __len__(self) -> int:
        return self._length

    def windows(self, starts: np.ndarray, size: int) -> np.ndarray:
        """The tokens from each start on: int32 `(len(starts), size)`."""
        return np.stack([self._read(int(start), size) for start in starts])

    def _read(self, start, size):
        number, offset = divmod(start, len(self._shards[0]))
        window = np.empty(size, dtype=np.int32)
        filled = 0
        while filled < size:  # over the seam of two shards, or of more
            part = self._shards[number][offset : offset + size - filled]
            window[filled : filled + len(part)] = part
            filled, number, offset = filled + len(part), number + 1, 0
        return window


def read_index(directory: Path) -> dict[str, Any]:
    """The index of a directory that `data tokenize` has made.

    Raises:
        ValueError: where there is none, or another version's.
    """
    path = directory / INDEX
    try:
        if path.stat().st_size > _LARGEST_INDEX:
            raise ValueError(f"larger than {_LARGEST_INDEX} bytes")
        index = json.loads(path.read_bytes())
        version = index["version"]
        for part in ("train", "validation"):
            if not (index["tokens"][part] >= 0 and index["documents"][part] >= 0 and index["shard_tokens"] > 0):
                raise ValueError("a count below zero")
        _ = index["vocabulary"]["name"] + index["vocabulary"]["sha256"] + index["source"]["name"]
    except FileNotFoundError as error:
        raise ValueError(
            "data.path must be a directory made by: python cli.py data tokenize SOURCE --to DIRECTORY. "
            f"Received: {directory}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no index of tokens. Received: {type(error).__name__}: {error}") from error
    if version != VERSION:
        raise ValueError(f"{path} must be of version {VERSION}. Received: {version}")
    return index


def open_tokens(directory: Path, index: dict[str, Any], part: str) -> Tokens:
    """Map the shards of `"train"` or `"validation"` into memory.

    Raises:
        ValueError: where one is missing or has another length than the index says.
    """
    shards = []
    left, most = index["tokens"][part], index["shard_tokens"]
    while left > 0:
        path = shard_path(directory, part, len(shards))
        size = path.stat().st_size if path.is_file() else 0
        if size != 2 * min(left, most):
            raise ValueError(f"{path} must hold {2 * min(left, most)} bytes, as {INDEX} says. Received: {size}")
        shards.append(np.memmap(path, dtype="<u2", mode="r"))
        left -= most
    return Tokens(shards)
