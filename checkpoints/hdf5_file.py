"""Reads Keras' weights in HDF5, alone, in a .keras archive or a KerasHub preset, through h5py and without Keras."""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np

from rankscope.checkpoints.bounded import (
    MAX_EXPANSION,
    MAX_JSON_BYTES,
    MAX_TENSOR_BYTES,
    checked_shape,
    config_beside,
    file_size,
    parse_json_object,
    read_json_object,
    refusing,
    shard_paths,
)
from rankscope.checkpoints.tensors import CheckpointError, Tensors

WHAT = "Keras weights in HDF5"
MEMBER = "model.weights.h5"
MAX_OBJECTS = 1_000_000
#: What h5py and zipfile raise at broken files, beside OSError.
BROKEN = (ValueError, RuntimeError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)


class Hdf5File(Tensors):
    """The variables of a `.weights.h5`, a `.keras` archive, or the shards that a `model.weights.json` lists.

    Names are paths within the file (`layers/dense/vars/0`). Only hard links are followed.

    Args:
        path: of the file, or of the JSON that lists shards.

    Raises:
        CheckpointError: for a file that is corrupt, leads outside itself, or declares far more than it stores.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "model.weights.h5"
    ...     with h5py.File(file, "w") as h5:
    ...         h5["layers/dense/vars/0"] = np.eye(2)
    ...     tensors = Hdf5File(file)
    ...     print(dict(tensors.shapes), tensors.read("layers/dense/vars/0").tolist())
    {'layers/dense/vars/0': (2, 2)} [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, path: Path):
        path = Path(path)
        files = _shards(path) if path.suffix == ".json" else [path]
        config = _archived_config(path) if path.suffix == ".keras" else config_beside(path)
        shapes, self._files = {}, {}
        for file in files:
            with _opened(file) as (h5, size):
                for name, dataset in _datasets(h5, file):
                    if name in shapes:
                        raise CheckpointError(f"{path}: shards must not share tensors. Received: {name!r} twice")
                    _check(dataset, size, f"{file}: {name!r}")
                    shapes[name] = checked_shape(dataset.shape, f"{file}: {name!r}")
                    self._files[name] = file
        super().__init__(path, shapes, config)

    def read(self, name: str) -> np.ndarray:
        """The variable of that name.

        Raises:
            CheckpointError: for another name, one that holds no numbers, or where the file has changed.
        """
        if name not in self.shapes:
            raise CheckpointError(f"{self.path} holds no tensor {name!r}")
        file = self._files[name]
        with _opened(file) as (h5, size):
            where = f"{file}: {name!r}"
            dataset = _follow(h5, name, file)
            if not isinstance(dataset, h5py.Dataset) or dataset.shape != self.shapes[name]:
                raise CheckpointError(f"{file} has changed since it was opened: open it again")
            _check(dataset, size, where)
            # Keras stores bfloat16 as two opaque bytes and says so in an attribute.
            if dataset.dtype == np.dtype("V2") and dataset.attrs.get("dtype") == "bfloat16":
                return dataset[()].view(ml_dtypes.bfloat16)
            if dataset.dtype.kind not in "fiub":
                raise CheckpointError(f"{where} must hold numbers. Received: type {dataset.dtype}")
            return np.asarray(dataset[()])


class _Part(io.RawIOBase):
    """A stretch of a file as a file: zipfile's own, in Python 3.11, reads from the start at each step back."""

    def __init__(self, file, begin, size):
        self._file, self._begin, self._size, self._at = file, begin, size, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._at

    def seek(self, offset, whence=io.SEEK_SET):
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer):
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        self._file.seek(self._begin + self._at)
        count = self._file.readinto(view) or 0
        self._at += count
        return count


@contextmanager
def _opened(path) -> Iterator[tuple[h5py.File, int]]:
    size = file_size(path, WHAT)
    with refusing(path, WHAT, *BROKEN):
        if path.suffix != ".keras":
            with h5py.File(path, "r", locking="best-effort") as h5:
                yield h5, size
            return
        with path.open("rb") as file:
            begin, size = _stored_member(path, file)
            with h5py.File(_Part(file, begin, size), "r") as h5:
                yield h5, size


def _stored_member(path, file):
    """Where in the archive the weights lie: begin and number of bytes."""
    archive_bytes = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        if MEMBER not in archive.namelist():
            raise CheckpointError(f"{path} must be a Keras archive with {MEMBER} in it. Received: none")
        info = archive.getinfo(MEMBER)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise CheckpointError(f"{path}: {MEMBER} must be stored as it is. Received: compressed or encrypted; unpack it")
    file.seek(info.header_offset)
    local = file.read(30)
    if len(local) != 30 or local[:4] != b"PK\x03\x04":
        raise CheckpointError(f"{path} is corrupt: {MEMBER} is not where the archive says. Download it again")
    begin = info.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    if begin + info.file_size > archive_bytes:
        raise CheckpointError(f"{path} is truncated: {MEMBER} ends beyond the file. Download it again")
    return begin, info.file_size


def _archived_config(path):
    file_size(path, WHAT)
    with refusing(path, "a Keras archive", *BROKEN, NotImplementedError), zipfile.ZipFile(path) as archive:
        if "config.json" not in archive.namelist():
            return {}
        declared = archive.getinfo("config.json").file_size
        if declared > MAX_JSON_BYTES:
            raise CheckpointError(f"{path}: config.json must have at most {MAX_JSON_BYTES} bytes. Received: {declared}")
        with archive.open("config.json") as member:
            text = member.read(MAX_JSON_BYTES)
    return parse_json_object(text, path, "config.json of a Keras archive")


def _shards(path):
    weight_map = read_json_object(path, "an index of shards").get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} must have a 'weight_map' from variables to shards. Received: none")
    names = []
    for shard in weight_map.values():
        names += shard if isinstance(shard, list) else [shard]
    return list(shard_paths(path, names, ".h5").values())


def _linked(group, name, where):
    """What a hard link leads to; any other link could lead out of the file, or in circles."""
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise CheckpointError(f"{where}: links must be hard. Received: {type(link).__name__} {name[:200]!r}")
    return group[name]


def _follow(h5, name, path):
    node = h5
    for part in name.split("/"):
        if not isinstance(node, h5py.Group) or part not in node:
            raise CheckpointError(f"{path} has changed since it was opened: open it again")
        node = _linked(node, part, path)
    return node


def _datasets(h5, path):
    """Every dataset with its name, in order; each group is entered once, since hard links can form circles."""
    seen, waiting, objects = set(), [("", h5)], 0
    while waiting:
        prefix, node = waiting.pop()
        if isinstance(node, h5py.Dataset):
            if node.shape is not None:
                yield prefix, node
            continue
        if not isinstance(node, h5py.Group):
            continue
        address = h5py.h5o.get_info(node.id).addr
        if address in seen:
            continue
        seen.add(address)
        names = list(node)
        objects += len(names)
        if objects > MAX_OBJECTS:
            raise CheckpointError(f"{path} must hold at most {MAX_OBJECTS} groups and tensors. Received: more")
        waiting += [(f"{prefix}/{name}".lstrip("/"), _linked(node, name, path)) for name in reversed(names)]


def _check(dataset, file_bytes, where):
    """Refuse data outside the file, and declared sizes that the stored bytes cannot fill."""
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"{where} must lie in the file itself. Received: external or virtual data")
    declared = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize if dataset.chunks else 0
    # What is not chunked was never compressed.
    most = min(MAX_EXPANSION * stored, MAX_TENSOR_BYTES) if dataset.chunks else stored
    if stored > file_bytes or declared > most or (declared and chunk > max(most, 2**20)):
        raise CheckpointError(
            f"{where} declares {declared} bytes, but the file of {file_bytes} bytes stores {stored} for it: "
            f"cut off or made to fill the memory"
        )
