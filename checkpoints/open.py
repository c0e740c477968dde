"""Opens a model's tensors, whatever its file or folder is; what could run code (pickles) is refused."""

import re
from pathlib import Path

from rankscope.checkpoints.bounded import refusing
from rankscope.checkpoints.checkpoint import Checkpoint, find_attention
from rankscope.checkpoints.hdf5_file import Hdf5File
from rankscope.checkpoints.name_map import read_name_map
from rankscope.checkpoints.numpy_file import NumpyFile
from rankscope.checkpoints.onnx_file import OnnxFile
from rankscope.checkpoints.safetensors_file import SafetensorsFile
from rankscope.checkpoints.tensors import CheckpointError, Tensors

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack")
READERS = {
    ".safetensors": SafetensorsFile,
    ".keras": Hdf5File,
    ".h5": Hdf5File,
    ".hdf5": Hdf5File,
    ".npz": NumpyFile,
    ".onnx": OnnxFile,
}
KNOWN = ".safetensors (or its index.json), .keras, .weights.h5, a resume state step-N.npz, .onnx"
CONVERT = "transformers.AutoModel.from_pretrained(PATH).save_pretrained(NEW) writes safetensors"


def open_checkpoint(
    path: Path | str,
    num_heads: int | None = None,
    key_dim: int | None = None,
    name_map: Path | None = None,
    kernels_only: bool = False,
) -> Checkpoint:
    """The attention of a model file or folder.

    Args:
        path: of the file or folder, as `open_tensors` has it.
        num_heads: query heads, where no config.json beside the weights says so.
        key_dim: of a head, likewise.
        name_map: YAML file that says which tensors are attention, where we do not know.
        kernels_only: leave biases out, as the paper and our monitor do.

    Raises:
        CheckpointError: as `open_tensors`, `read_name_map` and `find_attention`.

    Example:

    >>> open_checkpoint("model.safetensors")
    Traceback (most recent call last):
    rankscope.checkpoints.tensors.CheckpointError: model.safetensors does not exist: give a model's file or folder
    """
    family = None if name_map is None else read_name_map(name_map)
    return find_attention(open_tensors(path), num_heads, key_dim, family, kernels_only)


def find_checkpoints(path: Path | str) -> list[Path]:
    """The checkpoints at a path: itself, or those of one training in a folder, by the numbers in their names.

    Args:
        path: a model's file or folder, or a folder of such, like `step1000/` and `step2000/`.

    Raises:
        CheckpointError: for a path that is missing or cannot be looked into.

    Example:

    >>> find_checkpoints("missing")
    Traceback (most recent call last):
    rankscope.checkpoints.tensors.CheckpointError: missing does not exist: give a model's file or folder
    """
    path = Path(path)
    with refusing(path, "a model"):
        if not path.exists():
            raise CheckpointError(f"{path} does not exist: give a model's file or folder")
        if not path.is_dir():
            return [path]
        entries = sorted(path.iterdir(), key=lambda entry: _in_order(entry.name))
        files = [entry for entry in entries if entry.suffix.lower() in READERS and entry.is_file()]
        steps = [file for file in files if re.search(r"\d", file.name) and file.suffix != ".safetensors"]
        if len(steps) > 1 and steps == files:
            return steps
        folders = [entry for entry in entries if entry.is_dir() and _holds_weights(entry)]
        return folders if folders and not _holds_weights(path) else [path]


def _in_order(name):
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", name)]


def _holds_weights(folder):
    return any(
        entry.suffix.lower() in READERS or entry.name in ("settings.yaml", "model.weights.json")
        for entry in folder.iterdir()
    )


def open_tensors(path: Path | str) -> Tensors:
    """The tensors of a model file or folder; no tensor is read yet.

    A folder is looked through in this order: `model.safetensors.index.json`, `model.safetensors`, the only
    `*.safetensors`; a KerasHub preset; a run directory of Rankscope (its `model.keras`, else its newest resume state);
    the only `*.onnx`, `*.keras` or `*.h5`.

    Args:
        path: of the file or folder.

    Returns:
        `Tensors`, whose `path` is the file that was taken.

    Raises:
        CheckpointError: one line, for a path that is missing or not allowed, a format that is not read (pickles
            could run code), a folder with no weights or several, a file that is truncated or lies about itself.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     open_tensors(folder)
    Traceback (most recent call last):
    rankscope.checkpoints.tensors.CheckpointError: ... holds no weights. A model is ...
    """
    path = Path(path)
    with refusing(path, "a model"):
        is_folder = path.is_dir()
        if not is_folder and not path.exists():
            raise CheckpointError(f"{path} does not exist: give a model's file or folder")
        if is_folder:
            path = _weights_of_folder(path)
    if path.name.endswith(".weights.json"):
        return Hdf5File(path)
    if path.name.endswith(".safetensors.index.json"):
        return SafetensorsFile(path)
    suffix = path.suffix.lower()
    if suffix in PICKLES or path.name.endswith(".bin.index.json"):
        raise CheckpointError(f"{path} may be a pickle, which could run any code, and is not read: {CONVERT}")
    if suffix == ".gguf":
        raise CheckpointError(f"{path} is GGUF, mostly quantized, and is not read: take the model's safetensors")
    if suffix not in READERS:
        raise CheckpointError(f"{path} must be one of {KNOWN}. Received: a file {suffix or 'without a suffix'}")
    return READERS[suffix](path)


def _weights_of_folder(folder):
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    for name in ("model.safetensors.index.json", "model.safetensors"):
        if name in names:
            return folder / name
    for suffix in (".safetensors.index.json", ".safetensors"):
        if found := _only(folder, names, suffix):
            return found
    for name in ("model.weights.json", "model.weights.h5"):
        if name in names:
            return folder / name
    if "settings.yaml" in names:
        if "model.keras" in names:
            return folder / "model.keras"
        states = sorted((folder / "checkpoints").glob("step-*.npz"))
        if states:
            return states[-1]
        raise CheckpointError(f"{folder} is a run that has saved no weights yet: wait for it, or train it on")
    candidates = [_only(folder, names, suffix) for suffix in (".onnx", ".keras", ".h5")]
    candidates = [candidate for candidate in candidates if candidate]
    if len(candidates) > 1:
        raise _several(folder, [candidate.name for candidate in candidates])
    if candidates:
        return candidates[0]
    for suffix in (*PICKLES, ".bin.index.json", ".gguf"):
        if weights := [name for name in names if name.endswith(suffix)]:
            return folder / weights[0]  # refused by its suffix, with a line that says what to do
    raise CheckpointError(f"{folder} holds no weights. A model is a file or a folder with {KNOWN}")


def _only(folder, names, suffix):
    found = [name for name in names if name.endswith(suffix)]
    if len(found) > 1:
        raise _several(folder, found)
    return folder / found[0] if found else None


def _several(folder, names):
    more = " …" if len(names) > 5 else ""
    return CheckpointError(f"{folder} holds several models, name one: {', '.join(names[:5])}{more}")
