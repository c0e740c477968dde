"""Sweeps: what is refused, how one is gone on with, its numbers, and whole sweeps through real processes."""

import csv
import fcntl
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import scipy.stats
import yaml

from rankscope.data.cores import SHARE, cores
from rankscope.data.images import load_images
from rankscope.errors import UserError
from rankscope.records import mean_and_half_width
from rankscope.sweeps.grid import read_sweep
from rankscope.sweeps.sweep import resume_sweep, run_sweep
from rankscope.sweeps.table import print_sweep
from rankscope.sweeps.workers import worker_environment
from rankscope.training.settings import config_path, load_settings

LINEAR = load_settings(config_path("linear"))
SHORT = [("training.log_every", 10), ("training.validate_every", 20), ("training.checkpoint_every", 20)]
WORDS = [*("--steps", 60), *(word for key, value in SHORT for word in ("--set", f"{key}={value}"))]


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def no_process(monkeypatch):
    """Plan a sweep and make its directory, and train nothing."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr("rankscope.sweeps.sweep._try_to_build", lambda runs: None)
    monkeypatch.setattr("rankscope.sweeps.sweep.RunQueue.train", lambda queue, lock: {})


@pytest.fixture
def plan(no_process, tmp_path):
    """A sweep in a directory that is there from call to call, without its training."""

    def planned(over, seeds=1, settings=LINEAR):
        return run_sweep(settings, over, seeds, tmp_path / "sweep", echo=lambda line: None)

    return planned


def end(run, **summary):
    """Leave what a run leaves that has ended."""
    run.path.mkdir(parents=True, exist_ok=True)
    (run.path / "settings.yaml").write_text(run.settings.to_yaml())
    (run.path / "summary.json").write_text(json.dumps({"status": "complete", **summary}))


# === What is refused ===


@pytest.mark.parametrize(
    ("over", "seeds", "message"),
    [
        ({"optimizer.weight_decay": [0, -1]}, 1, r"weight_decay: .*greater than or equal to 0.*Received: -1"),
        ({"optimizer.weigth_decay": [0]}, 1, r"unknown key optimizer\.weigth_decay \(did you mean weight_decay"),
        ({"training.log_every": [50, 75]}, 1, r"log_every=75,seed=0: training\.validate_every must be a multiple"),
        ({"optimizer.weight_decay": ["0.1", "0.10"]}, 1, r"same settings: wd=0.1,seed=0 and wd=0.10,seed=0"),
        ({}, [1, 1], r"same settings: seed=1 and seed=1"),
        ({"data.singular_values": [[0.1] * 60]}, 1, r"name is too long for a file"),
        ({"optimizer.weight_decay": []}, 1, r"over\.optimizer\.weight_decay: .*at least 1 item"),
        ({"seed": [1, 2]}, 1, r"varied by --seeds"),
        ({}, 0, r"seeds: .*at least 1 item"),
        ({}, "a,b", r"seeds\.0: .*integer.*Received: 'a'"),
    ],
)
def test_a_grid_with_a_mistake_is_refused_in_one_line_and_nothing_written(plan, tmp_path, over, seeds, message):
    with pytest.raises(UserError, match=message) as refusal:
        plan(over, seeds)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_no_job_is_too_few(no_process):
    with pytest.raises(UserError, match=r"at least one job\. Received: 0"):
        run_sweep(LINEAR, {}, 1, jobs=0)


# === Going on and extending ===


def test_a_sweep_is_extended_by_values_and_seeds_and_keeps_what_it_has(plan):
    end(plan({"optimizer.weight_decay": [0, 0.1]}).runs[0])
    sweep = plan({"optimizer.weight_decay": [0.3, 0.1]}, [2])
    assert [run.name for run in sweep.runs] == [
        f"wd={decay},seed={seed}" for decay in ("0", "0.1", "0.3") for seed in (0, 2)
    ]
    written = yaml.safe_load((sweep.directory / "sweep.yaml").read_text())
    assert written["over"] == {"optimizer.weight_decay": ["0", "0.1", "0.3"]}
    assert (written["version"], written["backend"], written["seeds"]) == (1, "torch", [0, 2])
    assert sweep.runs[0].summary == {"status": "complete"}


def test_the_resume_of_a_complete_sweep_says_so_and_trains_nothing(plan, monkeypatch):
    sweep = plan({"optimizer.weight_decay": [0, 0.1]})
    for run in sweep.runs:
        end(run, val_loss=0.5)
    monkeypatch.setattr("rankscope.sweeps.sweep.RunQueue.train", lambda queue, lock: pytest.fail("it trains"))
    told = []
    again = resume_sweep(sweep.directory, echo=told.append)
    assert told == [f"{sweep.directory}: all of its 2 runs have ended already: there is nothing to resume"]
    assert (again.runs, again.failures) == (sweep.runs, {})
    assert [row["status"] for row in read(sweep.directory / "sweep.csv")] == ["complete", "complete"]


@pytest.mark.parametrize(
    ("over", "settings", "backend", "message"),
    [
        ({"optimizer.learning_rate": [0]}, LINEAR, "torch", "another sweep: varied settings differs"),
        ({"optimizer.weight_decay": [0]}, load_settings(config_path("linear"), [("training.steps", 9)]), "torch", ""),
        ({"optimizer.weight_decay": [0]}, LINEAR, "jax", r"another sweep: backend differs: KERAS_BACKEND=torch\."),
    ],
)
def test_another_sweep_is_refused_by_what_differs(plan, tmp_path, monkeypatch, over, settings, backend, message):
    plan({"optimizer.weight_decay": [0]})
    before = (tmp_path / "sweep" / "sweep.yaml").read_bytes()
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(UserError, match=message or r"another sweep: training\.steps differs.*--resume .*sweep,"):
        plan(over, settings=settings)
    assert (tmp_path / "sweep" / "sweep.yaml").read_bytes() == before


def test_a_run_that_was_made_with_other_settings_is_refused(plan):
    (run,) = plan({}).runs
    end(run)
    (run.path / "settings.yaml").write_text(run.settings.to_yaml().replace("steps: 2000", "steps: 200"))
    with pytest.raises(UserError, match=r"seed=0 was made with other settings than the sweep's: training\.steps"):
        plan({})


def test_a_run_that_failed_is_told_and_not_begun_again(plan):
    end(plan({}, 2).runs[1], status="failed")
    sweep = plan({}, 2)
    assert list(sweep.failures) == ["seed=1"]
    assert f"failed in an earlier attempt; remove {sweep.runs[1].path}" in sweep.failures["seed=1"]


def test_a_folder_that_is_no_sweep_is_left_alone(plan, tmp_path):
    (tmp_path / "sweep").mkdir()
    with pytest.raises(UserError, match="The sweep directory exists already"):
        plan({})
    with pytest.raises(UserError, match=r"it has no sweep\.yaml"):
        read_sweep(tmp_path / "sweep")


def test_a_second_sweep_in_the_same_directory_is_refused(plan, tmp_path):
    plan({})
    lock = os.open(tmp_path / "sweep", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="Another process is at work on the sweep"):
        plan({})
    os.close(lock)
    plan({})


# === Numbers ===


def test_the_interval_is_students():
    sample = [0.91, 0.97, 0.94, 0.99]
    low, high = scipy.stats.t.interval(0.95, 3, scipy.stats.tmean(sample), scipy.stats.sem(sample))
    mean, half = mean_and_half_width(sample)
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-12)
    assert math.isnan(mean_and_half_width([])[0])
    assert mean_and_half_width([2.0])[0] == 2.0


def test_only_runs_that_learned_are_averaged_and_the_table_counts_them(plan, capsys):
    sweep = plan({"optimizer.weight_decay": [0, 0.1]}, 4)
    for run, accuracy in zip(sweep.runs, (0.8, 0.9, 1.0), strict=False):
        end(run, val_accuracy=accuracy, pseudo_rank_qk=0.5, pseudo_rank_qk_null=0.9375)
    end(sweep.runs[3], status="did_not_learn", val_accuracy=0.1)
    first, second = sweep.points
    assert first.spread("val_accuracy") == (pytest.approx(0.9), pytest.approx(4.302652729749 * 0.1 / math.sqrt(3)))
    assert math.isnan(second.spread("val_accuracy")[0])
    print_sweep(sweep)
    shown = capsys.readouterr().out
    assert "3 of 4" in shown
    assert "0.9000 ± 0.2484" in shown
    assert "0.500 ± 0.000 (0.938)" in shown
    assert "0 of 4" in shown
    assert "did not learn, and are in no mean: wd=0,seed=3" in shown


def test_cores_are_shared_by_the_jobs_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr("rankscope.sweeps.workers.cores", lambda: 8)
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NPROC", "5")
    environment = worker_environment(3)
    assert [environment[name] for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC")] == ["2", "2", "5"]
    assert environment[SHARE] == "2"
    assert worker_environment(9)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("share", "expected"), [("3", 3), ("0", 1), ("all", cores())])
def test_a_worker_keeps_to_its_share(monkeypatch, share, expected):
    monkeypatch.setenv(SHARE, share)
    assert cores() == expected
    assert load_images("mnist_5k").workers == min(16, expected)


# === Whole sweeps ===


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A sweep of two runs that nothing disturbs, and what it said."""
    directory = tmp_path_factory.mktemp("sweeps") / "small"
    command = ["cli.py", "sweep", "linear", *WORDS, "--wd", "0,0.04", "--seeds", "1", "--run-dir", directory]
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return directory, done.stdout


@pytest.mark.slow
def test_a_sweep_leaves_its_runs_logs_and_table(small):
    directory, said = small
    assert sorted(path.name for path in directory.iterdir()) == ["runs", "sweep.csv", "sweep.yaml"]
    names = ["wd=0,seed=0", "wd=0.04,seed=0"]
    assert sorted(path.name for path in (directory / "runs").iterdir()) == sorted(
        [*names, *(f"{name}.log" for name in names)]
    )
    for row, name in zip(read(directory / "sweep.csv"), names, strict=True):
        summary = json.loads((directory / row["run"] / "summary.json").read_text())
        assert row["run"] == f"runs/{name}"
        assert (row["wd"], row["seed"], row["status"]) == (name[3:].partition(",")[0], "0", "complete")
        assert {key: row[key] for key in summary} == {key: str(value) for key, value in summary.items()}
        assert "step 50/60 " in (directory / "runs" / f"{name}.log").read_text()
        assert f"{name}: started\n" in said
        assert f"{name}: complete; " in said
    assert said.count("1 of 1") == 2


@pytest.mark.slow
def test_a_sweep_keeps_resumes_and_extends(small, run_cli, tmp_path):
    whole, _ = small
    directory = tmp_path / "sweep"
    shutil.copytree(whole, directory)
    kept, broken = (directory / "runs" / name for name in ("wd=0,seed=0", "wd=0.04,seed=0"))
    before = (kept / "summary.json").stat().st_mtime_ns
    for name in ("summary.json", "model.keras"):
        (broken / name).unlink()
    words = ["linear", *WORDS, "--wd", "0.04,0", "--seeds", "0,1", "--run-dir", directory]
    done = run_cli("sweep", *words, timeout=600)
    assert "4 runs, 2 at a time" in done.stdout
    assert "; 1 kept" in done.stdout
    assert "wd=0.04,seed=0: going on" in done.stdout
    assert "resuming at step 40 of 60" in (directory / "runs" / "wd=0.04,seed=0.log").read_text()
    assert (kept / "summary.json").stat().st_mtime_ns == before
    for name in ("history.csv", "ranks.csv"):
        assert (broken / name).read_bytes() == (whole / "runs" / broken.name / name).read_bytes()
    assert [row["status"] for row in read(directory / "sweep.csv")] == ["complete"] * 4
    shown = run_cli("show", directory, "--json").stdout
    assert len(json.loads(shown)) == 4


@pytest.mark.slow
def test_a_failing_run_is_told_at_the_end_and_stops_no_other(run_cli, tmp_path):
    diverge = [
        word
        for key in ("schedule=constant", "global_clipnorm=null", "epsilon=1e-8")
        for word in ("--set", f"optimizer.{key}")
    ]
    words = ["linear", *WORDS, *diverge, "--lr", "1e12,0.01", "--seeds", "1", "--jobs", 1, "--run-dir", tmp_path / "s"]
    for attempt in ("Error: lr=1e12,seed=0: exit code 1: ", "Error: lr=1e12,seed=0: failed in an earlier attempt"):
        done = run_cli("sweep", *words, check=False, timeout=600)
        assert done.returncode == 1
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith(attempt)
        assert "0 of 1" in done.stdout
        assert "1 of 1" in done.stdout
        assert [row["status"] for row in read(tmp_path / "s" / "sweep.csv")] == ["failed", "complete"]


@pytest.mark.slow
def test_what_only_building_shows_is_refused_before_anything_starts(run_cli, tmp_path):
    words = ["vit", "--over", "model.num_heads=4,3", "--run-dir", tmp_path / "sweep"]
    done = run_cli("sweep", *words, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: num_heads=3,seed=0: model.num_heads must divide")
    assert list(tmp_path.iterdir()) == []


def wait_for(happened, seconds=300):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc, to find the workers")
def test_a_sweep_whose_worker_or_self_is_killed_can_be_gone_on_with(start_cli, tmp_path):
    directory = tmp_path / "sweep"
    logs = [directory / "runs" / f"seed={seed}.log" for seed in (0, 1)]

    def states(log):
        return sorted(path.name for path in (log.with_suffix("") / "checkpoints").glob("step-*.npz"))

    process = start_cli("sweep", "linear", *WORDS, "--steps", 10**6, "--seeds", 2, "--run-dir", directory)
    # The state of step 20 comes after the line that tells of it.
    wait_for(lambda: all(log.exists() and "step 30/" in log.read_text() for log in logs))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    victim = next(pid for pid in children if b"seed=1.yaml" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(int(victim), signal.SIGKILL)
    for line in process.stdout:
        if line.startswith("seed=1: failed, killed by SIGKILL"):
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "seed=0: stopped" in rest
    assert errors.strip() == f"Stopped; go on with: python cli.py sweep --resume {directory}"
    saved = [states(log) for log in logs]
    assert all(saved)

    lengths = [len(log.read_text()) for log in logs]
    process = start_cli("sweep", "--resume", directory)
    wait_for(lambda: all("resuming at step" in log.read_text()[n:] for log, n in zip(logs, lengths, strict=True)))
    wait_for(lambda: [states(log) for log in logs] != saved)
    process.kill()
    process.wait()
    lock = os.open(directory, os.O_RDONLY)

    def free():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    wait_for(free)  # no worker lives on, and each has saved its state on the way
    os.close(lock)
    assert all("Stopped at step" in log.read_text()[n:] for log, n in zip(logs, lengths, strict=True))
