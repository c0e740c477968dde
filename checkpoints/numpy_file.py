"""Reads Rankscope's resume states, checkpoints/step-N.npz (docs/run-directory.md), one variable at a time."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from rankscope.checkpoints.bounded import (
    MAX_EXPANSION,
    MAX_JSON_BYTES,
    MAX_TENSOR_BYTES,
    checked_shape,
    file_size,
    parse_json_object,
    refusing,
)
from rankscope.checkpoints.tensors import CheckpointError, Tensors
from rankscope.files import read_array_header

WHAT = "a resume state of Rankscope"
#: What zipfile and NumPy raise at broken archives, beside OSError.
BROKEN = (ValueError, KeyError, TypeError, EOFError, NotImplementedError, RuntimeError, SyntaxError)
BROKEN += (zipfile.BadZipFile, zlib.error)


class NumpyFile(Tensors):
    """The model's variables in a resume state; the optimizer's and the metrics' are left out.

    Names are the variables' paths; where two variables share one, the second is called `path#2`. `config` is the
    settings of the run.

    Args:
        path: of `step-N.npz`.

    Raises:
        CheckpointError: for another archive, one that is corrupt, holds objects, or declares more than it stores.

    Example:

    >>> import json, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "step-000000001.npz"
    ...     header = json.dumps({"step": 1, "paths": {"model": ["dense/kernel"]}, "settings": None})
    ...     np.savez(file, header=header, **{"model/0": np.eye(2)})
    ...     tensors = NumpyFile(file)
    ...     print(dict(tensors.shapes), tensors.read("dense/kernel").tolist())
    {'dense/kernel': (2, 2)} [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, path: Path):
        path = Path(path)
        shapes, self._members = {}, {}
        self._bytes = file_size(path, WHAT)
        with refusing(path, WHAT, *BROKEN), zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "header.npy" not in names:
                raise CheckpointError(f"{path} must be {WHAT}, with a header. Received: another archive")
            header = self._header(path, archive)
            paths = header.get("paths")
            variables = paths.get("model") if isinstance(paths, dict) else None
            if not isinstance(variables, list) or not all(isinstance(name, str) for name in variables):
                raise CheckpointError(f"{path} must list the model's variables in its header. Received: none")
            counts = {}
            for index, variable in enumerate(variables):
                member = f"model/{index}.npy"
                if member not in names:
                    raise CheckpointError(f"{path} is corrupt: the variable {variable!r} is missing from it")
                counts[variable] = counts.get(variable, 0) + 1
                name = variable if counts[variable] == 1 else f"{variable}#{counts[variable]}"
                shapes[name], _ = self._described(path, archive, member)
                self._members[name] = member
        settings = header.get("settings")
        super().__init__(path, shapes, settings if isinstance(settings, dict) else {})

    def read(self, name: str) -> np.ndarray:
        """The variable of that name, float32 where it was bfloat16.

        Raises:
            CheckpointError: for another name, or where the file has changed or fails its checksum.
        """
        if name not in self._members:
            raise CheckpointError(f"{self.path} holds no tensor {name!r}")
        if file_size(self.path, WHAT) != self._bytes:
            raise CheckpointError(f"{self.path} has changed since it was opened: open it again")
        member = self._members[name]
        with refusing(self.path, WHAT, *BROKEN), zipfile.ZipFile(self.path) as archive:
            shape, _ = self._described(self.path, archive, member)
            if shape != self.shapes[name]:
                raise CheckpointError(f"{self.path} has changed since it was opened: open it again")
            with archive.open(member) as file:
                values = np.lib.format.read_array(file, allow_pickle=False)
                file.read(1)  # the checksum is compared at the end
        return values

    def _header(self, path, archive):
        shape, dtype = self._described(path, archive, "header.npy")
        size = archive.getinfo("header.npy").file_size
        if shape != () or dtype.kind != "U" or size > 4 * MAX_JSON_BYTES:
            raise CheckpointError(
                f"{path} must have a header of at most {MAX_JSON_BYTES} characters. Received: type {dtype}, shape "
                f"{shape}"
            )
        with archive.open("header.npy") as file:
            text = str(np.lib.format.read_array(file, allow_pickle=False))
        return parse_json_object(text.encode(), path, "the header of a resume state")

    def _described(self, path, archive, member):
        """Shape and type of an array of numbers or text, whose size agrees with the archive's."""
        info = archive.getinfo(member)
        most = min(info.compress_size * MAX_EXPANSION, MAX_TENSOR_BYTES)
        stored = info.compress_type == zipfile.ZIP_STORED
        if info.compress_size > self._bytes or info.file_size > (info.compress_size if stored else most):
            raise CheckpointError(
                f"{path}: {member} declares {info.file_size} bytes, but {info.compress_size} of the file's "
                f"{self._bytes} are stored for it: corrupt, or made to fill the memory"
            )
        with archive.open(member) as file:
            header = read_array_header(file)
        dtype = header.dtype
        if dtype.kind not in "fiubU":
            raise CheckpointError(f"{path}: {member} must hold numbers. Received: type {dtype} (pickles are not read)")
        shape = checked_shape(header.shape, f"{path}: {member}")
        if header.begin + header.size != info.file_size:
            raise CheckpointError(
                f"{path}: {member} of shape {shape} and type {dtype} must take {header.size} "
                f"bytes. Received: {info.file_size - header.begin}"
            )
        return shape, dtype
