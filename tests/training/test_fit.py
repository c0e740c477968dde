"""Whole runs, as a user makes them: in a process of their own, into a directory of their own."""

import csv
import json
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rankscope import optimizers  # noqa: F401 (a saved model names its optimizer)
from rankscope.zoo import VisionTransformer, factor_pairs  # noqa: F401 (a saved model names its class)

pytestmark = pytest.mark.slow

BACKEND = keras.backend.backend()
# Small, with dropout and augmentation, so that a resume has every kind of randomness to get right.
TINY = [
    *("--batch-size", 16, "--steps", 400, "--set", "model.hidden_dim=16", "--set", "model.num_layers=2"),
    *("--set", "model.dropout=0.1", "--set", "training.log_every=10", "--set", "training.validate_every=40"),
    *("--set", "training.checkpoint_every=20", "--set", "monitor.every=7"),
]


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def weights_of(run):
    return [keras.ops.convert_to_numpy(v.value) for v in keras.models.load_model(run / "model.keras").weights]


def imbalance_left_in_events(run):
    """Step → the part of its start that the imbalance of qk has left; of the last writing of each step."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {event.step: event.value for event in events.Scalars("imbalance_left/qk/mean")}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nothing disturbs."""
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    command = [sys.executable, "cli.py", "fit", "vit", *TINY, "--run-dir", run]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return run


def test_the_run_directory_is_complete(unbroken):
    names = {path.name for path in unbroken.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents")}
    assert len(events) == 1
    assert names - events == {
        *("settings.yaml", "environment.json", "decay_groups.csv", "history.csv", "ranks.csv", "spectra.npz"),
        *("checkpoints", "model.keras", "summary.json"),
    }
    assert sorted(path.name for path in (unbroken / "checkpoints").iterdir()) == [
        "step-000000360.npz",
        "step-000000380.npz",  # and none at the last step: model.keras is that
    ]


def test_history_has_its_rows_and_validations_where_they_are_due(unbroken):
    rows = read(unbroken / "history.csv")
    assert [int(row["step"]) for row in rows] == list(range(10, 401, 10))
    assert [int(row["step"]) for row in rows if row["val_accuracy"]] == list(range(40, 401, 40))
    assert float(rows[-1]["learning_rate"]) < 1e-6  # the cosine has come down
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_ranks_are_those_of_the_saved_model_by_dense_svd(unbroken):
    rows = read(unbroken / "ranks.csv")
    assert sorted({int(row["step"]) for row in rows}) == [*range(0, 400, 7), 400]
    rows = iter([row for row in rows if row["step"] == "400"])
    for pair in factor_pairs(keras.models.load_model(unbroken / "model.keras")):
        for head in range(pair.heads):
            row = next(rows)
            assert (row["pair"], int(row["layer"]), row["path"], int(row["head"])) == (
                *(pair.pair, pair.layer, pair.path),
                head,
            )
            a, b = pair.a[head].astype("float64"), pair.b[head].astype("float64")
            sigma = np.linalg.svd(a @ b.T, compute_uv=False)[: pair.key_dim]
            energy = np.cumsum(sigma) / sigma.sum()
            assert float(row["pseudo_rank"]) == (np.argmax(energy >= 0.95) + 1) / pair.key_dim
            assert float(row["nuclear_norm"]) == pytest.approx(sigma.sum(), rel=1e-12)
            assert float(row["stable_rank"]) == pytest.approx((sigma**2).sum() / sigma[0] ** 2, rel=1e-12)
            bound = ((a**2).sum() + (b**2).sum()) / 2
            assert float(row["nuclear_gap"]) == pytest.approx(bound - sigma.sum(), rel=1e-10)
    assert next(rows, None) is None


def test_the_summary_says_what_the_records_say(unbroken):
    summary = json.loads((unbroken / "summary.json").read_text())
    last = read(unbroken / "history.csv")[-1]
    assert summary["status"] == "complete"
    assert (summary["model"], summary["backend"], summary["seed"], summary["steps"]) == ("vit", BACKEND, 0, 400)
    assert summary["val_accuracy"] == float(last["val_accuracy"])
    validated = [row for row in read(unbroken / "history.csv") if row["val_accuracy"]]
    above_chance = [int(row["step"]) for row in validated if float(row["val_accuracy"]) > 0.1285]
    assert summary["learned_step"] == above_chance[0]
    ranks = [float(row["pseudo_rank"]) for row in read(unbroken / "ranks.csv")[-16:] if row["pair"] == "qk"]
    assert summary["pseudo_rank_qk"] == pytest.approx(np.mean(ranks))
    assert 0 < summary["monitor_share"] < 1
    environment = json.loads((unbroken / "environment.json").read_text())
    assert environment["backend"] == BACKEND
    assert {"keras", "numpy", BACKEND} <= set(environment["packages"])


def test_cumulative_learning_rate_is_the_sum_over_the_steps(unbroken):
    rows = read(unbroken / "ranks.csv")
    total = float(rows[-1]["cumulative_learning_rate"])
    # 100 steps of warm-up from 1e-6 to 4e-3, then 300 of a cosine to 0, at the start of each step.
    warmup = sum(1e-6 + (4e-3 - 1e-6) * step / 100 for step in range(100))
    cosine = sum(4e-3 * (1 + np.cos(np.pi * step / 300)) / 2 for step in range(300))
    assert total == pytest.approx(warmup + cosine, rel=1e-5)


def test_a_run_killed_twice_and_terminated_ends_like_the_unbroken_one(unbroken, start_cli, run_cli, tmp_path):
    run = tmp_path / "broken"

    def break_off(process, step, number):
        """Stop a run once it has printed the row of `step`; there is no checkpoint at that step."""
        for line in process.stdout:
            if line.startswith(f"step {step}/"):
                break
        else:
            raise AssertionError(process.stderr.read())
        process.send_signal(number)
        return process.wait(timeout=60)

    break_off(start_cli("fit", "vit", *TINY, "--run-dir", run), 70, signal.SIGKILL)
    assert not (run / "summary.json").exists()

    break_off(start_cli("fit", "--resume", run), 150, signal.SIGKILL)
    newest = max((run / "checkpoints").glob("step-*.npz"))
    newest.write_bytes(newest.read_bytes()[:-1000])  # a truncated state: the one before it has to do

    process = start_cli("fit", "--resume", run)
    code = break_off(process, 230, signal.SIGTERM)
    said = process.stderr.read()
    assert code == 143, said
    assert f"python cli.py fit --resume {run}" in said

    run_cli("fit", "--resume", run)
    for name in ("history.csv", "ranks.csv", "settings.yaml", "decay_groups.csv"):
        assert (run / name).read_bytes() == (unbroken / name).read_bytes(), name
    learned_steps = [json.loads((one / "summary.json").read_text())["learned_step"] for one in (run, unbroken)]
    assert learned_steps[0] == learned_steps[1] is not None  # that of the whole run, not of its last part
    for resumed, expected in zip(weights_of(run), weights_of(unbroken), strict=True):
        np.testing.assert_array_equal(resumed, expected)
    assert imbalance_left_in_events(run) == imbalance_left_in_events(unbroken)
    with np.load(run / "spectra.npz") as resumed, np.load(unbroken / "spectra.npz") as expected:
        assert sorted(resumed.files) == sorted(expected.files)
        for name in expected.files:
            np.testing.assert_array_equal(resumed[name], expected[name])

    ended = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = run_cli("fit", "--resume", run)  # as a queue does that starts the same command anew
    assert f"{run} has ended already (status complete): there is nothing to resume\n" in again.stdout
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == ended

    (run / "summary.json").unlink()
    table = (run / "ranks.csv").read_text()
    (run / "ranks.csv").write_text(table.replace("\n7,", "\nseven,", 1))
    damaged = run_cli("fit", "--resume", run, check=False)
    assert damaged.returncode == 2
    assert "ranks.csv is damaged: line 18 does not begin with a step. Received: 'seven," in damaged.stderr


def test_a_run_that_broke_before_its_first_state_starts_over(run_cli, tmp_path):
    run = tmp_path / "run"
    run_cli("fit", "linear", "--steps", 100, "--run-dir", run)
    expected = {name: (run / name).read_bytes() for name in ("history.csv", "ranks.csv")}
    for name in ("summary.json", "model.keras"):
        (run / name).unlink()
    assert not (run / "checkpoints").exists()
    (run / "history.csv").write_bytes(expected["history.csv"][:-20])
    assert "starting over" in run_cli("fit", "--resume", run).stdout
    assert {name: (run / name).read_bytes() for name in expected} == expected
    assert (run / "summary.json").exists()


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (2, [0.8, 0.6, 0.4, 0.2, 0]),  # s − λ
        # The larger root of σ + λσ^(−1/3) = s, λ = 0.2; there is none below s = 4 (λ/3)^(3/4) = 0.525.
        (3, [0.78301, 0.55686, 0.30188, 0, 0]),
    ],
)
def test_depth_makes_decay_harder_on_small_singular_values(run_cli, tmp_path, depth, expected):
    """The config's promise. A balanced pair of a chain of L factors has the singular values σ^(2/L)."""
    run_cli("fit", "deep_linear", "--set", f"model.depth={depth}", "--run-dir", tmp_path / "run")
    with np.load(tmp_path / "run" / "spectra.npz") as spectra:
        pairs = [spectra[name][-1, 0] for name in sorted(spectra.files) if name != "steps"]
    assert len(pairs) == depth - 1
    rows = [row for row in read(tmp_path / "run" / "ranks.csv") if row["step"] == "2000"]
    assert [int(row["layer"]) for row in rows] == list(range(depth - 1))
    for sigma in pairs:
        # √v + ε is a little more than ε, so that λ_L2 is a little more than ελ. In the pair of depth 2 one σ has s = λ
        # exactly, and fades only as 1/(2ηt/ε) = 1/(2 · 0.05 · 2000) = 0.005.
        np.testing.assert_allclose(sigma ** (depth / 2), expected, atol=1e-3 if depth == 3 else 5e-3)


def test_the_linear_network_learns_given_data(run_cli, tmp_path):
    """Whitened, A Bᵀ comes to Σ_YX with every singular value less by λ_L2 = ελ, whatever the inputs were."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    y = x @ rng.normal(size=(4, 3)) * 0.05
    np.savez(tmp_path / "xy.npz", x=x, y=y)
    given = ("--data", "npz", "--set", f"data.path={tmp_path / 'xy.npz'}", "--set", "data.whiten=true")
    done = run_cli("fit", "linear", *given, "--set", "data.validation_fraction=0", "--run-dir", tmp_path / "run")
    left, _, right = np.linalg.svd(x, full_matrices=False)
    covariance = y.T @ left @ right
    expected = np.maximum(np.linalg.svd(covariance, compute_uv=False) - 0.4, 0)
    assert f"Σ_YX with singular values {expected[0] + 0.4:.4g}, " in done.stdout
    with np.load(tmp_path / "run" / "spectra.npz") as spectra:
        np.testing.assert_allclose(spectra["product/0"][-1, 0, :3], expected, rtol=0.02, atol=0.01)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "complete"


def test_ctrl_c_saves_and_says_how_to_go_on(start_cli, tmp_path):
    process = start_cli("fit", "linear", "--steps", 10**6, "--run-dir", tmp_path / "run")
    for line in process.stdout:
        if line.startswith("step 50/"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    step = int(re.search(r"Stopped at step (\d+)", said)[1])
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:09d}.npz").exists()
    assert "Traceback" not in said


def test_a_loss_that_is_not_finite_stops_with_the_last_good_state_kept(run_cli, tmp_path):
    run = tmp_path / "run"
    assignments = ["schedule=constant", "global_clipnorm=null", "epsilon=1e-8"]
    flags = [word for assignment in assignments for word in ("--set", f"optimizer.{assignment}")]
    done = run_cli(
        *("fit", "linear", "--lr", "1e12", "--steps", 300, "--set", "training.checkpoint_every=1", *flags),
        *("--set", "monitor.every=300", "--run-dir", run),
        check=False,
    )
    assert done.returncode == 1
    assert re.search(
        r"Error: .*(is not finite|is nan|is inf) at step \d+.*last good state", done.stderr.replace("\n", " ")
    )
    assert "Traceback" not in done.stderr
    assert json.loads((run / "summary.json").read_text())["status"] == "failed"
    assert not (run / "model.keras").exists()
    again = run_cli("fit", "--resume", run, check=False)
    assert again.returncode == 1  # as it ended then
    assert f"Error: {run} has ended already (status failed): there is nothing to resume\n" in again.stderr
    for path in (run / "checkpoints").iterdir():
        with np.load(path) as state:
            assert all(np.isfinite(state[name]).all() for name in state.files if name != "header")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the other two show it on half of the model")
def test_the_default_run_learns_and_decay_on_attention_lowers_its_rank(run_cli, tmp_path):
    """What `make demo` shows."""
    summaries = {}
    for decay in (0, 1):
        run = tmp_path / f"wd_attn={decay}"
        run_cli("fit", "vit", "--wd-attn", decay, "--run-dir", run, timeout=600)
        summaries[decay] = json.loads((run / "summary.json").read_text())
        assert summaries[decay]["val_accuracy"] >= 0.95
        assert summaries[decay]["monitor_share"] < 0.02
    for pair in ("qk", "vo"):
        assert summaries[1][f"pseudo_rank_{pair}"] < summaries[0][f"pseudo_rank_{pair}"] / 2
        assert summaries[1][f"nuclear_gap_{pair}"] < summaries[0][f"nuclear_gap_{pair}"] / 2
        assert summaries[0][f"pseudo_rank_{pair}"] < summaries[0][f"pseudo_rank_{pair}_null"]


@pytest.mark.skipif(BACKEND == "tensorflow", reason="shown there by the default run")
def test_decay_on_attention_lowers_its_rank_and_its_gap(run_cli, tmp_path):
    """The paper's claim on half of the default model: λ = 0 against 1 on attention, 0.1 elsewhere."""
    half = ("--batch-size", 32, "--steps", 800, "--set", "model.num_layers=2")
    summaries = {}
    for decay in (0, 1):
        run = tmp_path / f"wd_attn={decay}"
        run_cli("fit", "vit", "--wd-attn", decay, *half, "--run-dir", run)
        summaries[decay] = json.loads((run / "summary.json").read_text())
    for pair in ("qk", "vo"):
        assert summaries[1][f"pseudo_rank_{pair}"] < summaries[0][f"pseudo_rank_{pair}"] - 0.05
        assert summaries[1][f"effective_rank_{pair}"] < summaries[0][f"effective_rank_{pair}"] - 1
        assert summaries[1][f"nuclear_gap_{pair}"] < summaries[0][f"nuclear_gap_{pair}"] / 2


MISSING = "sys.modules['tensorflow'] = None; "


@pytest.mark.skipif(BACKEND == "tensorflow", reason="this is about the other two")
@pytest.mark.parametrize("installed", [True, False])
def test_tensorflow_is_neither_needed_nor_imported(tmp_path, installed):
    """Training, monitoring, events and saving, also where an import of TensorFlow fails."""
    run = tmp_path / "run"
    script = (
        f"import runpy, sys; {'' if installed else MISSING}"
        f"sys.argv = ['cli.py', 'fit', 'linear', '--steps', '20', '--run-dir', {str(run)!r}]\n"
        "try: runpy.run_path('cli.py', run_name='__main__')\n"
        "finally: assert sys.modules.get('tensorflow') is None"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "summary.json").read_text())["backend"] == BACKEND
    assert list(run.glob("events.out.tfevents*"))


@pytest.mark.parametrize(("steps", "status"), [(300, "complete"), (50, "did_not_learn")])
def test_recall_says_when_it_learned_or_that_it_did_not(run_cli, tmp_path, steps, status):
    """Three pairs instead of twenty: 150 steps are enough, and 50 are not."""
    small = ["data.num_pairs=3", "model.hidden_dim=32", "model.key_dim=16", "optimizer.warmup_steps=20"]
    small += ["training.validate_every=50"]
    flags = [word for setting in small for word in ("--set", setting)]
    run_cli("fit", "recall", "--wd-attn", 0.1, "--lr", 0.005, "--steps", steps, *flags, "--run-dir", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == status
    rows = read(tmp_path / "run" / "history.csv")
    good = [int(row["step"]) for row in rows if float(row["val_accuracy"]) >= 0.95]
    if status == "complete":
        assert summary["learned_step"] == good[0] < 300
        # Labels are noisy in training only, where at most 0.95 + 0.05/3 are right, ± 4 standard errors of 6,400.
        assert summary["val_accuracy"] > 0.98 > 0.976 > summary["accuracy"] > 0.9
    else:
        assert good == []
        assert summary["learned_step"] is None
