"""Files that are torn, lie about themselves or lead elsewhere: one line and little memory; whole ones to the bit."""

import json
import os
import tracemalloc
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from rankscope.checkpoints import CheckpointError, open_tensors

pytestmark = pytest.mark.once

VALUES = np.random.default_rng(0).standard_normal((3, 4))


def raw(path, header, data=b"", length=None):
    """A safetensors file with any header, whatever it claims."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(dtype="F32", shape=(2, 2), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def read_all(path):
    tensors = open_tensors(path)
    return {name: tensors.read(name) for name in tensors.shapes}


def refused(path):
    """The one line with which a path is refused, opened or read, in less than 10 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as error:
            read_all(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_safetensors_are_read_to_the_bit(tmp_path, dtype):
    save_file({"w": VALUES.astype(dtype), "other": np.ones(3, np.int64)}, tmp_path / "model.safetensors")
    tensors = open_tensors(tmp_path)
    assert dict(tensors.shapes) == {"w": (3, 4), "other": (3,)}
    assert tensors.read("w").dtype == dtype
    np.testing.assert_array_equal(tensors.read("w"), VALUES.astype(dtype))


def test_shards_are_one_model(tmp_path):
    for number in (1, 2):
        save_file({f"w{number}": number * VALUES}, tmp_path / f"model-{number}.safetensors")
    index = {"weight_map": {f"w{number}": f"model-{number}.safetensors" for number in (1, 2)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    tensors = open_tensors(tmp_path)
    assert tensors.config == {"model_type": "llama"}
    np.testing.assert_array_equal(tensors.read("w2"), 2 * VALUES)


@pytest.mark.parametrize(
    ("header", "data", "length", "complaint"),
    [
        ({}, b"", 2**60, "1152921504606846976"),
        ({"w": entry()}, bytes(15), None, "cut off"),
        (b"{not json", b"", None, "cannot be read as the header"),
        (b"[1, 2]", b"", None, "JSON object"),
        (b'{"a":' * 100_000, b"", None, "cannot be read as the header"),
        ({"w": entry(offsets=(0, 2**62))}, bytes(16), None, "must lie within"),
        ({"w": entry(offsets=(16, 0))}, bytes(16), None, "must lie within"),
        ({"w": entry(offsets=(-16, 0))}, bytes(16), None, "must lie within"),
        ({"w": entry(shape=(2, -2))}, bytes(16), None, "shape"),
        ({"w": entry(shape=(2**40, 2**40))}, bytes(16), None, "must take"),
        ({"w": entry(shape=(2, 3))}, bytes(16), None, "must take 24 bytes"),
        ({"w": entry(shape=(0, 2**40, 2**40), offsets=(0, 0))}, b"", None, "is empty"),
        ({"w": entry(shape=(2.0, 2))}, bytes(16), None, "shape"),
        ({"w": entry(), "v": entry(offsets=(8, 24))}, bytes(24), None, "overlap"),
        ({"w": entry("F8_E4M3", (4, 4))}, bytes(16), None, "F8_E4M3"),
        ({"w": 3}, b"", None, "shape"),
    ],
)
def test_safetensors_that_lie(tmp_path, header, data, length, complaint):
    path = raw(tmp_path / "model.safetensors", header, data, length)
    line = refused(path)
    assert complaint in line
    assert str(path) in line


@pytest.mark.parametrize("size", [0, 7, 8, 60])
def test_safetensors_cut_off_anywhere(tmp_path, size):
    save_file({"w": VALUES}, tmp_path / "model.safetensors")
    os.truncate(tmp_path / "model.safetensors", size)
    assert "model.safetensors" in refused(tmp_path)


@pytest.mark.parametrize(
    ("shard", "complaint"),
    [
        ("../outside.safetensors", "plain file names"),
        ("/etc/passwd", "plain file names"),
        ("model.safetensors.index.json", "index file"),
        ("missing.safetensors", "missing"),
        ("other.safetensors", "does not hold"),
        ("link.safetensors", "within its folder"),
        (3, "strings"),
    ],
)
def test_an_index_that_leads_elsewhere(tmp_path, shard, complaint):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"w": VALUES}, tmp_path / "outside.safetensors")
    save_file({"v": VALUES}, folder / "other.safetensors")
    (folder / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": shard}}))
    assert complaint in refused(folder)


def test_the_cache_of_hugging_face_is_links_and_is_read(tmp_path):
    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    save_file({"w": VALUES}, repository / "blobs" / "abc")
    (snapshot / "model-1.safetensors").symlink_to("../../blobs/abc")
    (snapshot / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model-1.safetensors"}}')
    np.testing.assert_array_equal(open_tensors(snapshot).read("w"), VALUES)


def test_hdf5_is_read_and_a_torn_one_is_not(tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = VALUES
    np.testing.assert_array_equal(open_tensors(path).read("layers/dense/vars/0"), VALUES)
    os.truncate(path, path.stat().st_size // 2)
    assert "model.weights.h5" in refused(path)


def test_hdf5_that_leads_outside(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = VALUES
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink("other.h5", "secret")
    assert "ExternalLink" in refused(path)


def test_hdf5_that_declares_more_than_it_stores(tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("vars/0", shape=(2**30, 2**10), chunks=(1, 2**10), dtype="f4", compression="gzip")
    assert "vars/0" in refused(path)


def test_a_keras_archive_that_is_packed_or_torn(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/dense/vars/0"] = VALUES
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = tmp_path / f"{compression}.keras"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("config.json", "{}")
            archive.write(tmp_path / "w.h5", "model.weights.h5")
        if compression == zipfile.ZIP_STORED:
            np.testing.assert_array_equal(open_tensors(path).read("layers/dense/vars/0"), VALUES)
            os.truncate(path, 500)
        assert path.name in refused(path)


def test_a_resume_state_with_pickles_is_not_unpickled(tmp_path):
    path = tmp_path / "step-000000001.npz"
    header = json.dumps({"step": 1, "paths": {"model": ["kernel"]}, "settings": None})
    np.savez(path, header=np.array(header), **{"model/0": np.array([{"a": 1}], dtype=object)})
    assert "step-000000001.npz" in refused(path)


def test_onnx_names_are_those_of_its_modules(tmp_path):
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(VALUES.astype(np.float32), "onnx::MatMul_7")
    bias = onnx.numpy_helper.from_array(np.ones(4, np.float32), "b")
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["y"], name="/encoder/layer.0/query/MatMul"),
        onnx.helper.make_node("Add", ["b", "y"], ["z"], name="/encoder/layer.0/query/Add"),
    ]
    x, z = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size])
        for name, size in (("x", 3), ("z", 4))
    )
    graph = onnx.helper.make_graph(nodes, "g", [x], [z], [weight, bias])
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    tensors = open_tensors(path)
    np.testing.assert_array_equal(tensors.read("encoder.layer.0.query.weight"), VALUES.T.astype(np.float32))
    assert tensors.shapes["encoder.layer.0.query.bias"] == (4,)
    path.write_bytes(b"\x0a\xff\xff\xff\xff\xff" + bytes(100))
    assert "model.onnx" in refused(path)


@pytest.mark.parametrize("name", [b"/encoder/query/MatMul", b"onnx::MatMul_7"])
def test_an_onnx_name_that_is_no_text(tmp_path, name):
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(VALUES.astype(np.float32), "onnx::MatMul_7")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="/encoder/query/MatMul")
    content = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [], [weight])).SerializeToString()
    assert name in content
    (tmp_path / "model.onnx").write_bytes(content.replace(name, b"\xff" + name[1:]))
    assert "UTF-8" in refused(tmp_path / "model.onnx")


def test_onnx_data_outside_of_its_folder(tmp_path):
    onnx = pytest.importorskip("onnx")
    (tmp_path / "outside.bin").write_bytes(bytes(48))
    folder = tmp_path / "model"
    folder.mkdir()
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[3, 4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../outside.bin")
    (folder / "model.onnx").write_bytes(
        onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor])).SerializeToString()
    )
    assert "model.onnx" in refused(folder)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("pytorch_model.bin", "save_pretrained"),
        ("model.pt", "save_pretrained"),
        ("model.gguf", "GGUF"),
        ("model.txt", "must be one of"),
    ],
)
def test_formats_that_are_not_read(tmp_path, name, complaint):
    (tmp_path / name).write_bytes(b"\x80\x04")
    assert complaint in refused(tmp_path / name)


def test_a_folder_of_nothing_or_of_too_much(tmp_path):
    assert "holds no weights" in refused(tmp_path)
    for name in ("a", "b"):
        save_file({"w": VALUES}, tmp_path / f"{name}.safetensors")
    assert "several models" in refused(tmp_path)
