"""Shards of tokens on disk, mapped into memory, and their index; `data.shard_writer` writes them."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from rankscope.errors import UserError
from rankscope.program import typed

INDEX = "index.json"
VERSION = 1
_LARGEST_INDEX = 2**26  # bytes: half a million files

Counts = Annotated[dict[Literal["train", "validation"], NonNegativeInt], Field(min_length=2)]


class _Vocabulary(BaseModel):
    name: str = Field(max_length=100)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _Source(BaseModel):
    name: str = Field(max_length=1000)


class Index(BaseModel):
    """What reading needs of `index.json`; docs/tokens.md has the rest."""

    model_config = ConfigDict(strict=True)

    version: Literal[1]
    vocabulary: _Vocabulary
    source: _Source
    shard_tokens: PositiveInt
    documents: Counts
    tokens: Counts


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


def read_index(directory: Path) -> Index:
    """The index of a directory that `data tokenize` has made.

    Raises:
        UserError: where there is none, one of another version or a damaged one.
    """
    path = directory / INDEX
    if not path.is_file():
        raise UserError(
            f"data.path must be a directory made by: {typed('data', 'tokenize', 'SOURCE', '--to', 'DIRECTORY')}. "
            f"Received: {directory}"
        )
    if path.stat().st_size > _LARGEST_INDEX:
        raise UserError(f"{path} must be at most {_LARGEST_INDEX} bytes long. Received: {path.stat().st_size}")
    try:
        return Index.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UserError(
            f"{path} is no index of version {VERSION}: {where}: {first['msg']}. Received: {first['input']!r:.60}"
        ) from error


def open_tokens(directory: Path, index: Index, part: str) -> Tokens:
    """Map the shards of `"train"` or `"validation"` into memory.

    Raises:
        UserError: where one is missing or has another length than the index says.
    """
    shards = []
    left, most = index.tokens[part], index.shard_tokens
    while left > 0:
        path = shard_path(directory, part, len(shards))
        size = path.stat().st_size if path.is_file() else 0
        if size != 2 * min(left, most):
            raise UserError(f"{path} must hold {2 * min(left, most)} bytes, as {INDEX} says. Received: {size}")
        shards.append(np.memmap(path, dtype="<u2", mode="r"))
        left -= most
    return Tokens(shards)
