"""What all readers share: errors as one line, files and JSON of bounded size, shapes that mean something."""

import json
import math
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rankscope.checkpoints.tensors import CheckpointError

MAX_JSON_BYTES = 100_000_000  # the headers and indices of the largest public models take a tenth of it
MAX_AXES = 32
MAX_AXIS = 2**48  # beyond any tensor, within NumPy's index type
MAX_EXPANSION = 1000  # declared over stored bytes: deflate gains 1032 at most, and only on zeros
MAX_TENSOR_BYTES = 64 * 2**30


def one_line(error: BaseException) -> str:
    """A foreign error's message, cut to one short line."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:300] or type(error).__name__


@contextmanager
def refusing(path: Path, what: str, *kinds: type[BaseException]) -> Iterator[None]:
    """Turn errors of the system, and those of the given kinds, into a `CheckpointError` that names the file."""
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, MemoryError, *kinds) as error:
        raise CheckpointError(f"{path} cannot be read as {what}: {one_line(error)}") from error


def file_size(path: Path, what: str) -> int:
    """Bytes of a regular file; a pipe or device would block, or never end.

    Raises:
        CheckpointError: where there is no such file, or it is of another kind.
    """
    with refusing(path, what):
        status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} must be a file ({what}). Received: a folder, pipe or device")
    return status.st_size


def parse_json_object(text: bytes, path: Path, what: str) -> dict:
    """The JSON object of a text.

    Raises:
        CheckpointError: where it is no JSON, or no object.

    Example:

    >>> parse_json_object(b'{"num_heads": 2}', Path("config.json"), "a configuration")
    {'num_heads': 2}
    """
    with refusing(path, what, ValueError, RecursionError):
        value = json.loads(text)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object ({what}). Received: {type(value).__name__}")
    return value


def read_json_object(path: Path, what: str) -> dict:
    """The JSON object that a file of at most 100 MB holds.

    Raises:
        CheckpointError: as `file_size` and `parse_json_object` do, and for a larger file.
    """
    size = file_size(path, what)
    if size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path} must have at most {MAX_JSON_BYTES} bytes ({what}). Received: {size} bytes")
    with refusing(path, what), path.open("rb") as file:
        text = file.read(size)  # of a larger number Python takes as much memory before it reads
    return parse_json_object(text, path, what)


def config_beside(path: Path) -> dict:
    """What the `config.json` in the folder of a weights file says; {} where there is none."""
    config = path.parent / "config.json"
    with refusing(config, "a configuration"):
        exists = config.exists()
    return read_json_object(config, "a configuration") if exists else {}


def checked_shape(shape: Any, where: str) -> tuple[int, ...]:
    """A shape out of a file as a tuple.

    Raises:
        CheckpointError: unless it is a list of at most 32 whole numbers from 0 to 2⁴⁸, in an empty shape together.

    Example:

    >>> checked_shape([3, 4], "model.safetensors: tensor 'kernel'")
    (3, 4)
    """
    fits = isinstance(shape, list | tuple) and len(shape) <= MAX_AXES
    if not fits or any(type(axis) is not int or not 0 <= axis <= MAX_AXIS for axis in shape):
        raise CheckpointError(
            f"{where} must have a shape of at most {MAX_AXES} whole numbers ≥ 0. Received: {str(shape)[:100]}"
        )
    # NumPy makes no array of such axes even where one of them is 0; where none is, the bytes fall short anyway.
    if 0 in shape and math.prod(axis or 1 for axis in shape) > MAX_AXIS:
        raise CheckpointError(
            f"{where} is empty and must not have axes beyond {MAX_AXIS}. Received: {str(shape)[:100]}"
        )
    return tuple(shape)


def shard_paths(index: Path, names: Iterable[str], suffix: str) -> dict[str, Path]:
    """The files beside an index that it names, in order of their first mention.

    A name is a plain file name with that suffix. A symbolic link may lead within the folder or, as in Hugging Face's
    cache (`REPO/snapshots/REVISION/…`), to `REPO/blobs`, and nowhere else.

    Raises:
        CheckpointError: for any other name, or a file that is missing.
    """
    with refusing(index, "an index of shards", RuntimeError):
        folder = index.parent.resolve()
    roots = [folder, *(parent.parent / "blobs" for parent in folder.parents if parent.name == "snapshots")]
    found = {}
    for name in names:
        if not isinstance(name, str):
            raise CheckpointError(f"{index} must name shards by strings. Received: {str(name)[:100]}")
        if name in found:
            continue
        if name.endswith(".json"):
            raise CheckpointError(f"{index} must name files of weights. Received: the index file {name[:100]!r}")
        if any(c in name for c in "/\\:\0") or not name.endswith(suffix) or name == suffix:
            raise CheckpointError(
                f"{index} must name shards by plain file names *{suffix} in its own folder. Received: {name[:100]!r}"
            )
        path = index.parent / name
        with refusing(path, "a shard", RuntimeError):
            if not path.exists():
                raise CheckpointError(f"{index} names the shard {name[:100]!r}, which is missing: download it, too")
            target = path.resolve()
        if not any(target.is_relative_to(root) for root in roots):
            raise CheckpointError(f"{path} must stay within its folder. Received: a link to {target}")
        found[name] = path
    return found
