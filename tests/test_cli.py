"""The front door: quick, thin, and one clear line for every mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from rankscope.commands import backend
from rankscope.commands import cli as front_door
from rankscope.commands.flags import SWEEP_FLAGS
from rankscope.records import SHORT_NAMES
from rankscope.training.settings import config_names

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent


@pytest.fixture
def invoke(monkeypatch):
    """Call a command in this process."""
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "tensorflow"))
    return lambda *arguments: CliRunner().invoke(front_door.cli, [str(argument) for argument in arguments])


def refused(result):
    """The one line of a refusal."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["fit"], ["Name a MODEL"]),
        (["fit", "vti"], ["did you mean vit?", "linear, recall, vit"]),
        (["fit", "vit", "--wd-attn", "-1"], ["optimizer.attention_weight_decay", "greater than or equal to 0", "-1"]),
        (["fit", "vit", "--wd", "much"], ["optimizer.weight_decay", "number", "much"]),
        (["fit", "vit", "--wd-qk", "nan"], ["optimizer.attention_weight_decay.qk", "finite", "nan"]),
        (["fit", "vit", "--steps", "0"], ["training.steps", "greater than or equal to 1"]),
        (["fit", "vit", "--data", "fashion-mnist"], ["data.source", "did you mean fashion_mnist?"]),
        (["fit", "vit", "--set", "optimizer.lr=1"], ["unknown key optimizer.lr"]),
        (["fit", "vit", "--set", "nonsense"], ["KEY=VALUE", "nonsense"]),
        (["fit", "vit", "--set", "model.num_heads=3"], ["num_heads must divide", "num_heads=3, hidden_dim=64"]),
        (["fit", "vit", "--set", "model.patch_size=5"], ["patch_size must divide", "28×28"]),
        (["fit", "linear", "--data", "mnist_5k"], ["linear"]),
        (["fit", "linear", "--wd-attn", "1"], ["linear has no attention", "optimizer.attention_weight_decay"]),
        (["fit", "vit", "--wd-attn", ""], ["KEY=VALUE", "optimizer.attention_weight_decay="]),
        (["fit", "a" * 5000], ["no config of this name"]),
        (["fit", "vit", "--resume", "somewhere"], ["--resume takes everything from"]),
        (["fit", "--resume", "somewhere"], ["somewhere is not a run directory"]),
        (["sweep"], ["Name a MODEL"]),
        (["sweep", "vti", "--wd", "0,1"], ["did you mean vit?"]),
        (["sweep", "vit", "--wd", "0,-1"], ["optimizer.weight_decay", "greater than or equal to 0", "-1"]),
        (["sweep", "vit", "--wd-attn", "0,1", "--wd-qk", "2"], ["--over optimizer.attention_weight_decay.qk=2"]),
        (["sweep", "vit", "--over", "model.num_head=2,4"], ["unknown key model.num_head", "did you mean num_heads?"]),
        (["sweep", "vit", "--seeds", "0"], ["seeds", "at least 1 item"]),
        (["sweep", "vit", "--seeds", "3,3"], ["Two runs of the sweep have the same settings"]),
        (["sweep", "vit", "--jobs", "0"], ["at least one job. Received: 0"]),
        (["sweep", "--resume", "somewhere"], ["somewhere is not the directory of a sweep"]),
        (["sweep", "vit", "--resume", "somewhere"], ["--resume takes everything from"]),
        (["show", "nowhere"], ["no run directory at or below nowhere"]),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2_and_nothing_written(invoke, arguments, parts, monkeypatch, tmp_path):
    monkeypatch.setattr("rankscope.records.run_directory.SAVED_MODELS", tmp_path / "saved_models")
    line = refused(invoke(*arguments))
    for part in parts:
        assert part in line
    assert not (tmp_path / "saved_models").exists()


def test_a_run_directory_that_exists_is_refused_with_the_way_to_go_on(invoke, tmp_path):
    line = refused(invoke("fit", "linear", "--steps", 1, "--run-dir", tmp_path))
    assert f"--resume {tmp_path}" in line
    assert list(tmp_path.parent.glob(f".{tmp_path.name}*")) == []


def test_a_folder_that_cannot_be_made_is_refused(invoke, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert "cannot be made" in refused(invoke("fit", "linear", "--run-dir", tmp_path / "file" / "run"))


def test_a_backend_that_is_not_there_is_one_line(invoke, monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    assert "No backend is installed" in refused(invoke("fit", "vit"))
    assert "'.[tensorflow]'" in refused(invoke("models", "vit"))


def test_a_backend_that_was_asked_for_and_is_not_installed_is_one_line(invoke, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: name if name == "torch" else None)
    assert "jax is not installed: pip install -c constraints.txt -e '.[jax]'" in refused(invoke("fit", "vit"))


def test_an_unknown_backend_is_one_line(invoke, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    line = refused(invoke("models", "vit"))
    assert "must be one of tensorflow, jax, torch. Received: numpy" in line


def test_the_installed_backend_is_taken_where_none_is_asked_for(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", "/nowhere")
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: name if name == "torch" else None)
    backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_each_flag_of_a_sweep_has_its_name_in_the_names_of_runs():
    named = {key: flag.removeprefix("--").replace("-", "_") for flag, key in SWEEP_FLAGS.items()}
    assert named == {**SHORT_NAMES, "seeds": "seeds"}


def test_flags_reach_a_sweep_in_the_order_given(invoke, monkeypatch, tmp_path):
    monkeypatch.setattr("rankscope.sweeps.sweep._try_to_build", lambda runs: None)
    monkeypatch.setattr("rankscope.sweeps.sweep.RunQueue.train", lambda queue, lock: {queue.runs[-1].name: "it burnt"})
    words = ["--seeds", "4,7", "--lr", "1e-3,0.1", "--wd", "0,0.1", "--steps", 5, "--over", "model.key_dim=5"]
    result = invoke("sweep", "linear", *words, "--run-dir", tmp_path / "sweep")
    assert result.exit_code == 1
    assert result.stderr == "Error: lr=0.1,wd=0.1,key_dim=5,seed=7: it burnt\n"
    assert "8 runs, 2 at a time" in result.output or "8 runs, 1 at a time" in result.output
    written = yaml.safe_load((tmp_path / "sweep" / "sweep.yaml").read_text())
    assert list(written["over"]) == ["optimizer.learning_rate", "optimizer.weight_decay", "model.key_dim"]
    assert (written["seeds"], written["settings"]["training"]["steps"]) == ([4, 7], 5)


def test_models_lists_every_config_with_its_pairs(invoke):
    listed = invoke("models")
    assert listed.exit_code == 0, listed.output
    for name in config_names():
        assert name in listed.output
    result = invoke("models", "vit")
    assert result.exit_code == 0, result.output
    assert "204,298" in result.output
    assert "4 layers of qk: 4 × 64×16" in result.output


def test_show_needs_no_keras_and_knows_unfinished_runs(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.yaml").write_text("")
    summary = {"status": "complete", "pseudo_rank_qk": 0.5, "pseudo_rank_qk_null": 0.9375, "val_accuracy": 0.97}
    (tmp_path / "one" / "summary.json").write_text(json.dumps(summary))
    script = (
        "import runpy, sys; sys.modules['keras'] = None; "
        f"sys.argv = ['cli.py', 'show', {str(tmp_path)!r}, *sys.argv[1:]]; "
        "runpy.run_path('cli.py', run_name='__main__')"
    )

    def show(*flags):
        command = [sys.executable, "-c", script, *flags]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    table = show()
    assert "0.500 (0.938)" in table
    assert "unfinished" in table
    assert str(tmp_path / "one") in table
    assert json.loads(show("--json")) == {
        str(tmp_path / "one"): summary,
        str(tmp_path / "two"): {"status": "unfinished"},
    }


def test_many_runs_are_a_list_and_odd_ones_do_not_hide_the_others(invoke, tmp_path):
    for name in ("a", "b", "[b]c", "d", "damaged"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.yaml").write_text("")
        (tmp_path / name / "summary.json").write_text(json.dumps({"status": "complete", "steps": "many"}))
    (tmp_path / "damaged" / "summary.json").write_text("{")
    result = invoke("show", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.count("complete") == 4
    assert str(tmp_path / "[b]c") in result.output


@pytest.mark.parametrize(("width", "tables"), [(120, 1), (40, 2)])
def test_no_name_is_broken_however_narrow_the_terminal(invoke, tmp_path, monkeypatch, width, tables):
    monkeypatch.setenv("COLUMNS", str(width))
    for decay in range(6):
        run = tmp_path / f"wd={decay}"
        run.mkdir()
        (run / "settings.yaml").write_text("")
        summary = {"status": "complete", "seed": decay, "weight_decay": decay, "val_loss": decay, "val_accuracy": decay}
        (run / "summary.json").write_text(json.dumps(summary | {"pseudo_rank_qk": 0.5 + decay / 10}))
    result = invoke("show", tmp_path)
    lines = result.output.splitlines()
    assert max(len(line) for line in lines if line.startswith("┏")) <= width
    assert sum(line.startswith("┏") for line in lines) == tables
    for decay in range(6):
        assert re.search(rf"[│┃] +wd={decay} ", result.output)


@pytest.mark.slow
def test_a_reader_who_leaves_does_not_stop_the_training(tmp_path):
    command = [sys.executable, "cli.py", "fit", "linear", "--steps", "400", "--run-dir", str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=300) == 0, said
    assert (tmp_path / "run" / "summary.json").exists()
