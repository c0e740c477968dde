"""ARCHITECTURE.md, "To add a checkpoint family", followed to the letter: one row, and `analyze` reads its files."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
ROW = """    Family(
        name="Sparrow",
        model_types=("sparrow",),
        towers=(
            Tower(
                site=r"trunk\\.(?P<layer>\\d+)\\.attn",
                fused="in_map.weight",
                output="out_map.weight",
                num_heads=("heads",),
                num_kv_heads=("key_heads",),
            ),
        ),
        facts=("rope",),
    ),
"""
PATH = """    r"trunk\\.(?P<layer>\\d+)\\.attn": "sparrow.trunk.{}.attn",
"""
HEADS, KEY_HEADS, KEY_DIM, HIDDEN_DIM, LAYERS = 4, 2, 8, 48, 2


def write_sparrow(folder):
    """Two layers of an architecture that nobody knows; its kernels as they multiply, [q; k; v] by rows, and outputs."""
    rng, fused, outputs, tensors = np.random.default_rng(0), [], [], {}
    for layer in range(LAYERS):
        fused.append(rng.standard_normal(((HEADS + 2 * KEY_HEADS) * KEY_DIM, HIDDEN_DIM), np.float32))
        outputs.append(rng.standard_normal((HIDDEN_DIM, HEADS * KEY_DIM), np.float32))
        tensors[f"sparrow.trunk.{layer}.attn.in_map.weight"] = fused[-1]
        tensors[f"sparrow.trunk.{layer}.attn.out_map.weight"] = outputs[-1]
        tensors[f"sparrow.trunk.{layer}.norm.weight"] = np.ones(HIDDEN_DIM, np.float32)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "sparrow", "heads": HEADS, "key_heads": KEY_HEADS}
    (folder / "config.json").write_text(json.dumps(config))
    return fused, outputs


def dense_nuclear_norms(fused, output):
    """‖W_KᵀW_Q‖_* and ‖P W_V‖_* of each head of a layer, from the formed products."""
    maps = np.float64(fused).reshape(-1, KEY_DIM, HIDDEN_DIM)
    queries, keys, values = np.split(maps, [HEADS, HEADS + KEY_HEADS])
    columns = np.float64(output).reshape(HIDDEN_DIM, HEADS, KEY_DIM)
    group = HEADS // KEY_HEADS
    qk = [np.linalg.norm(keys[head // group].T @ queries[head], "nuc") for head in range(HEADS)]
    vo = [np.linalg.norm(columns[:, head] @ values[head // group], "nuc") for head in range(HEADS)]
    return {"qk": qk, "vo": vo}


@pytest.mark.slow
def test_a_new_family_is_read(checkout):
    fused, outputs = write_sparrow(checkout.path / "sparrow-2-layers")
    unknown = checkout.run("analyze", "sparrow-2-layers", check=False)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "sparrow.trunk.*.attn.in_map.weight" in unknown.stderr

    checkout.insert("checkpoints/families.py", '    Family(name="LLaMA"', ROW)

    printed = " ".join(checkout.run("analyze", "sparrow-2-layers").stdout.split())
    assert "Sparrow" in printed
    rows = list(csv.DictReader(checkout.run("analyze", "sparrow-2-layers", "--format", "csv").stdout.splitlines()))
    assert len(rows) == 2 * LAYERS * HEADS
    expected = [dense_nuclear_norms(*layer) for layer in zip(fused, outputs, strict=True)]
    for row in rows:
        nuclear_norm = expected[int(row["layer"])][row["pair"]][int(row["head"])]
        assert float(row["nuclear_norm"]) == pytest.approx(nuclear_norm, rel=1e-6), row

    name = "tests/checkpoints/test_families.py"
    (checkout.path / name).parent.mkdir(parents=True)
    shutil.copy(ROOT / name, checkout.path / name)
    checkout.insert(name, '    r".+": "layers/block_{}/attention",', PATH)
    command = [sys.executable, "-m", "pytest", "-q", name, "-k", "tensors_give and Sparrow"]
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True, timeout=300)
    assert "4 passed" in done.stdout, done.stdout + done.stderr
