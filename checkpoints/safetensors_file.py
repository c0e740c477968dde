"""Reads .safetensors, one file or shards with an index, one tensor at a time; nothing is mapped or imported for it."""

import math
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from rankscope.checkpoints.bounded import (
    MAX_JSON_BYTES,
    checked_shape,
    config_beside,
    file_size,
    parse_json_object,
    read_json_object,
    refusing,
    shard_paths,
)
from rankscope.checkpoints.tensors import CheckpointError, Tensors

WHAT = "safetensors"
READABLE = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
#: Sizes of the other types, to check offsets by; of one that is not here (4 bits and the like) only the bounds are.
OTHER_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "U16": 2, "I16": 2}
OTHER_SIZES |= {"U32": 4, "I32": 4, "U64": 8, "I64": 8, "C64": 8}


@dataclass(frozen=True)
class _Entry:
    file: Path
    file_bytes: int
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile(Tensors):
    """The tensors of a `.safetensors` file, or of the shards that a `model.safetensors.index.json` lists.

    Args:
        path: of the file, or of the index.

    Raises:
        CheckpointError: for a header or index that is too long, no JSON, or contradicts itself or the files.

    Example:

    >>> import struct, tempfile
    >>> header = b'{"kernel": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}'
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "model.safetensors"
    ...     _ = file.write_bytes(struct.pack("<Q", len(header)) + header + np.array([1, 2], "<f4").tobytes())
    ...     tensors = SafetensorsFile(file)
    ...     print(dict(tensors.shapes), tensors.read("kernel").tolist())
    {'kernel': (2, 1)} [[1.0], [2.0]]
    """

    def __init__(self, path: Path):
        path = Path(path)
        self._entries = _index_entries(path) if path.suffix == ".json" else _file_entries(path)
        super().__init__(path, {name: entry.shape for name, entry in self._entries.items()}, config_beside(path))

    def read(self, name: str) -> np.ndarray:
        """The tensor of that name; only types F64, F32, F16 and BF16 are read.

        Raises:
            CheckpointError: for another name or type, or where the file has changed since it was opened.
        """
        if name not in self._entries:
            raise CheckpointError(f"{self.path} holds no tensor {name!r}")
        entry = self._entries[name]
        if entry.dtype not in READABLE:
            raise CheckpointError(
                f"{entry.file}: tensor {name!r} must be of type {', '.join(READABLE)}. Received: {entry.dtype}, "
                f"as quantized models and counters have: take the model's original weights"
            )
        if file_size(entry.file, WHAT) != entry.file_bytes:
            raise CheckpointError(f"{entry.file} has changed since it was opened: open it again")
        with refusing(entry.file, WHAT, ValueError):
            values = np.fromfile(entry.file, np.uint8, count=entry.end - entry.begin, offset=entry.begin)
        if values.size != entry.end - entry.begin:
            raise CheckpointError(f"{entry.file} ends within tensor {name!r}: download it again")
        return values.view(READABLE[entry.dtype]).reshape(entry.shape)


def _file_entries(path):
    size = file_size(path, WHAT)
    with refusing(path, WHAT), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_JSON_BYTES):
            raise CheckpointError(
                f"{path} must begin with the length of its header, at most {MAX_JSON_BYTES} and the file's own bytes. "
                f"Received: {length} in a file of {size} bytes: not safetensors, or cut off (download it again)"
            )
        header = file.read(length)
    header = parse_json_object(header, path, "the header of safetensors")
    header.pop("__metadata__", None)
    start = 8 + length
    entries = {name: _entry(path, size, start, name, described) for name, described in header.items()}
    end, before = 0, None
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin < end and entry.end > entry.begin:
            raise CheckpointError(f"{path}: tensors must not overlap. Received: {before!r} and {name!r}")
        if entry.end > end:
            end, before = entry.end, name
    return entries


def _entry(path, size, start, name, described):
    where = f"{path}: tensor {name[:200]!r}"
    described = described if isinstance(described, dict) else {}
    dtype, offsets = described.get("dtype"), described.get("data_offsets")
    shape = checked_shape(described.get("shape"), where)
    if not isinstance(dtype, str):
        raise CheckpointError(f"{where} must have a dtype such as F32. Received: {str(dtype)[:100]}")
    if not isinstance(offsets, list) or len(offsets) != 2 or any(type(offset) is not int for offset in offsets):
        raise CheckpointError(f"{where} must have data_offsets [begin, end]. Received: {str(offsets)[:100]}")
    begin, end = offsets
    if not 0 <= begin <= end <= size - start:
        raise CheckpointError(
            f"{where} must lie within the file's {size - start} bytes of data. Received: {str(offsets)[:100]}: "
            f"if the file was cut off, download it again"
        )
    itemsize = READABLE[dtype].itemsize if dtype in READABLE else OTHER_SIZES.get(dtype)
    if itemsize is not None and end - begin != math.prod(shape) * itemsize:
        raise CheckpointError(
            f"{where} of shape {shape} and type {dtype} must take {math.prod(shape) * itemsize} bytes. "
            f"Received: {end - begin}"
        )
    return _Entry(path, size, dtype, shape, start + begin, start + end)


def _index_entries(path):
    weight_map = read_json_object(path, "an index of shards").get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} must have a 'weight_map' from tensors to shards. Received: none")
    shards = {
        name: _file_entries(shard) for name, shard in shard_paths(path, weight_map.values(), ".safetensors").items()
    }
    entries = {}
    for name, shard in weight_map.items():
        if name not in shards[shard]:
            raise CheckpointError(f"{path} puts tensor {name[:200]!r} into {shard!r}, which does not hold it")
        entries[name] = shards[shard][name]
    return entries
