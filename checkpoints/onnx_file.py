"""Reads the initialisers of an ONNX graph under the names that their PyTorch modules had; needs the package onnx."""

import math
import re
import warnings
from pathlib import Path

import numpy as np

from rankscope.checkpoints.bounded import checked_shape, config_beside, file_size, one_line, refusing
from rankscope.checkpoints.tensors import CheckpointError, Tensors

WHAT = "ONNX"
MISSING = "ONNX files need the package onnx: pip install -c constraints.txt -e '.[onnx]'"
MAX_BYTES = 2**31  # what Protobuf allows a message; larger models keep their weights in files beside it


class OnnxFile(Tensors):
    """The weights of an ONNX graph.

    Exporters store a linear layer's weight transposed and without its name, and the node that multiplies by it has
    the module's: `/encoder/layer.0/query/MatMul` by an initialiser (in, out) is given as
    `encoder.layer.0.query.weight`, (out, in), as PyTorch has it; the `Add` beside it gives `….bias`; `Gemm` both.
    Every other initialiser has the name that it has in the file. The file is held in memory; weights outside it are
    read one at a time, from its folder only.

    Args:
        path: of the `.onnx`.

    Raises:
        CheckpointError: without the package onnx, for a file that is no ONNX or declares sizes that it does not hold.

    Example:

    >>> OnnxFile(Path("missing.onnx"))
    Traceback (most recent call last):
    rankscope.checkpoints.tensors.CheckpointError: missing.onnx cannot be read as ONNX: No such file or directory
    """

    def __init__(self, path: Path):
        path = Path(path)
        size = file_size(path, WHAT)
        try:
            import onnx
        except ImportError as error:
            raise CheckpointError(MISSING) from error
        if size > MAX_BYTES:
            raise CheckpointError(f"{path} must have at most {MAX_BYTES} bytes. Received: {size}")
        try:
            graph = onnx.load(path, load_external_data=False).graph
        except Exception as error:  # Protobuf's DecodeError is of a package that we do not name
            raise CheckpointError(f"{path} cannot be read as {WHAT}: {one_line(error)}") from error
        initialisers = {tensor.name: tensor for tensor in graph.initializer}
        # Protobuf hands out a damaged name as bytes instead of refusing it.
        if not all(isinstance(item.name, str) for item in (*graph.node, *graph.initializer)):
            raise CheckpointError(f"{path} cannot be read as {WHAT}: a name in it is not UTF-8. Download it again")
        if not initialisers:
            raise CheckpointError(f"{path} must be an ONNX graph with weights. Received: none in it")
        shapes, self._tensors = {}, {}
        for name, (tensor, transposed) in _module_names(graph.node, initialisers).items():
            shape = checked_shape(list(tensor.dims), f"{path}: {name!r}")
            shapes[name] = shape[::-1] if transposed else shape
            self._tensors[name] = (tensor, transposed)
        super().__init__(path, shapes, config_beside(path))

    def read(self, name: str) -> np.ndarray:
        """The tensor of that name; of a linear layer's weight a transposed view.

        Raises:
            CheckpointError: for another name, one that holds no numbers, or data that are missing or outside the
                folder.
        """
        if name not in self._tensors:
            raise CheckpointError(f"{self.path} holds no tensor {name!r}")
        tensor, transposed = self._tensors[name]
        values = _values(tensor, self.path, f"{self.path}: {name!r}")
        return values.T if transposed else values


def _module_names(nodes, initialisers):
    """Name → (initialiser, whether it is stored transposed): modules' names first, then the file's own."""
    aliases = {}  # exporters pass equal tensors through Identity
    for node in nodes:
        if node.op_type == "Identity" and len(node.input) == 1 and len(node.output) == 1:
            aliases[node.output[0]] = aliases.get(node.input[0], node.input[0])

    def initialiser(node, index, axes):
        name = node.input[index] if index < len(node.input) else ""
        tensor = initialisers.get(aliases.get(name, name))
        return tensor if tensor is not None and len(tensor.dims) == axes else None

    named = {}
    for node in nodes:
        scope = _scope(node)
        if not scope:
            continue
        if node.op_type == "MatMul":
            left, right = initialiser(node, 0, 2), initialiser(node, 1, 2)
            if (left is None) != (right is None):  # x @ (in, out), or (out, in) @ x
                named.setdefault(f"{scope}.weight", (right if left is None else left, left is None))
        elif node.op_type == "Gemm":
            weight, bias = initialiser(node, 1, 2), initialiser(node, 2, 1)
            flipped = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            if weight is not None:
                named.setdefault(f"{scope}.weight", (weight, not flipped))
                if bias is not None:
                    named.setdefault(f"{scope}.bias", (bias, False))
    for node in nodes:
        scope = _scope(node)
        if node.op_type == "Add" and f"{scope}.weight" in named:
            for bias in (initialiser(node, 0, 1), initialiser(node, 1, 1)):
                if bias is not None:
                    named.setdefault(f"{scope}.bias", (bias, False))
    given = {tensor.name for tensor, _ in named.values()}
    for name, tensor in initialisers.items():
        if not (name in given and re.fullmatch(r"onnx::\w+", name)):
            named.setdefault(name, (tensor, False))
    return named


def _scope(node):
    """The module's name in a node's: `/encoder/layer.0/query/MatMul` → `encoder.layer.0.query`."""
    scope, _, operation = node.name.strip("/").rpartition("/")
    return scope.replace("/", ".") if re.fullmatch(rf"{re.escape(node.op_type)}(_\d+)?", operation) else ""


def _values(tensor, path, where):
    import onnx
    from onnx import helper, numpy_helper

    with refusing(path, WHAT, KeyError, ValueError, TypeError):
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if dtype.name not in ("float64", "float32", "float16", "bfloat16"):
        raise CheckpointError(f"{where} must be of float64, float32, float16 or bfloat16. Received: {dtype}")
    expected = math.prod(tensor.dims) * dtype.itemsize
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    if external:
        tensor = _bounded_external(tensor, expected, where)
    elif tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        raise CheckpointError(f"{where} must take {expected} bytes. Received: {len(tensor.raw_data)}")
    kinds = (ValueError, TypeError, KeyError, RuntimeError, onnx.checker.ValidationError)
    with refusing(path, f"{WHAT} (tensor {tensor.name[:200]!r})", *kinds), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keys of external data that it does not know and leaves out
        return numpy_helper.to_array(tensor, base_dir=str(path.parent))


def _bounded_external(tensor, expected, where):
    """The tensor with the length that its shape asks for: without one, onnx would read on to the end of the file."""
    import onnx

    bounded = onnx.TensorProto()
    bounded.CopyFrom(tensor)
    lengths = [entry.value for entry in bounded.external_data if entry.key == "length"]
    if lengths and lengths != [str(expected)]:
        raise CheckpointError(f"{where} must take {expected} bytes. Received: {str(lengths)[:100]}")
    if not lengths:
        bounded.external_data.add(key="length", value=str(expected))
    return bounded
