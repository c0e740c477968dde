"""Runs on pictures as their users start them: ImageNet in miniature at two sizes, broken off; budgets; bad pictures."""

import csv
import json
import signal
from importlib.util import find_spec

import keras
import numpy as np
import pytest
import yaml

from rankscope import (
    optimizers,  # noqa: F401 (registers what models are saved with)
    zoo,  # noqa: F401
)
from rankscope.errors import UserError
from rankscope.training.fit import fit, resume
from rankscope.training.settings import config_path, load_settings
from tests.data.miniature_imagenet import write_archives, write_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("tensorflow_datasets") is None, reason="needs tensorflow-datasets"),
]

SMALL = {
    "model": {"patch_size": 16, "hidden_dim": 32, "num_layers": 1, "num_heads": 2},
    "data": {"image_size": 64},
    "training": {
        "batch_size": 4,
        "steps": 48,
        "log_every": 4,
        "validate_every": 16,
        "checkpoint_every": 8,
        "mixed_precision": None,
        "image_size_schedule": {"first": 32, "increment": 32, "every_epochs": 3},  # 24 steps of 8 an epoch
    },
    "monitor": {"every": 16},
}


def flags(settings):
    """As --set options; JSON is YAML."""
    return [
        part
        for section, values in settings.items()
        for key, value in values.items()
        for part in ("--set", f"{section}.{key}={json.dumps(value)}")
    ]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet")
    places = {"manual_dir": str(write_archives(folder / "manual")), "data_dir": str(folder / "prepared")}
    return ["--data", "tfds:imagenet2012", *flags({"data": places}), *flags(SMALL)]


def rows(run):
    with open(run / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_imagenet_through_two_sizes_killed_and_resumed(imagenet, start_cli, run_cli, tmp_path):
    """The whole recipe of configs/vit-imagenet-24h.yaml, on 32 pictures, crossing from 32 to 64 pixels at step 24."""
    unbroken, run = tmp_path / "unbroken", tmp_path / "broken"
    said = run_cli("fit", "vit-imagenet-24h", *imagenet, "--run-dir", unbroken).stdout
    assert "steps 0 to 24: images of 32×32; the pipeline alone gives" in said
    assert "steps 24 to 48: images of 64×64; the pipeline alone gives" in said
    summary = json.loads((unbroken / "summary.json").read_text())
    assert (summary["steps"], summary["ended_by"]) == (48, "steps")
    assert summary["pipeline_images_per_second"] > 0
    assert summary["images_per_second"] == pytest.approx(4 * summary["steps_per_second"])
    assert [int(row["step"]) for row in rows(unbroken) if row["val_loss"]] == [16, 32, 48]

    process = start_cli("fit", "vit-imagenet-24h", *imagenet, "--run-dir", run)
    for line in process.stdout:
        if line.startswith("step 28/"):  # past the change, and past the state of step 24
            break
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    run_cli("fit", "--resume", run)
    assert (run / "history.csv").read_bytes() == (unbroken / "history.csv").read_bytes()
    assert (run / "ranks.csv").read_bytes() == (unbroken / "ranks.csv").read_bytes()
    found, expected = (keras.models.load_model(one / "model.keras").get_weights() for one in (run, unbroken))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_time_budget_ends_the_run(run_cli, tmp_path):
    """A budget that is spent at once: the step that was begun is the last, read, validated and saved."""
    run = tmp_path / "run"
    small = flags({"model": {"num_layers": 1}, "training": {"log_every": 4, "validate_every": 8}})
    run_cli("fit", "vit", "--time-budget", "0.001s", *small, "--run-dir", run)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["steps"], summary["ended_by"]) == (1, "time_budget")
    assert rows(run)[-1]["val_accuracy"]
    assert (run / "model.keras").exists()
    assert yaml.safe_load((run / "settings.yaml").read_text())["training"]["time_budget"] == 0.001


def test_bad_pictures_are_reported_or_end_the_run(run_cli, tmp_path):
    folder = write_folder(tmp_path / "pictures")
    bad = folder / "class_0" / "3.jpg"
    bad.write_bytes(bad.read_bytes()[:600])
    settings = {**SMALL, "training": {**SMALL["training"], "image_size_schedule": None, "steps": 8}}
    arguments = ["fit", "vit", "--data", f"folder:{folder}", *flags(settings)]
    done = run_cli(*arguments, "--run-dir", tmp_path / "strict", check=False)
    assert done.returncode == 2
    assert f"Error: {bad} cannot be read: Truncated File Read. Of such pictures 0 may be" in done.stderr
    assert "see --skip-bad-images. Once it is mended go on with: python cli.py fit --resume" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_cli(*arguments, "--skip-bad-images", 1, "--run-dir", tmp_path / "lenient")
    assert f"replaced by another: {bad} cannot be read" in done.stdout
    assert list(json.loads((tmp_path / "lenient" / "summary.json").read_text())["bad_images"]) == [str(bad)]


#: Digits that are mirrored and erased by threads, in one size.
THREADED = {
    "model": {"hidden_dim": 16, "num_layers": 1, "num_heads": 2},
    "data": {"augmentation": {"flip": True, "random_erasing": 0.25}, "workers": 3},
    "training": {"batch_size": 16, "steps": 40, "log_every": 10, "validate_every": 20, "checkpoint_every": 20},
    "monitor": {"every": 20},
}


@pytest.fixture(scope="module")
def threaded(tmp_path_factory):
    run = tmp_path_factory.mktemp("threaded") / "run"
    fit(load_settings(config_path("vit"), overrides(THREADED)), run, echo=lambda line: None)
    return run


def overrides(settings):
    return [(f"{section}.{key}", value) for section, values in settings.items() for key, value in values.items()]


def test_how_many_threads_draw_changes_nothing(threaded, tmp_path):
    changed = [*overrides(THREADED), ("data.workers", 1)]
    fit(load_settings(config_path("vit"), changed), tmp_path / "run", echo=lambda line: None)
    for name in ("history.csv", "ranks.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (threaded / name).read_bytes()


class BrokenOffError(Exception):
    """Stands for whatever breaks a run off."""


def break_off(settings, run, at):
    """Train until a row of the log tells of step `at`."""

    def echo(line):
        if line.startswith(f"step {at}/"):
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        fit(settings, run, echo=echo)


def test_a_run_that_threads_feed_is_resumed_exactly_within_its_first_stage(threaded, tmp_path):
    run = tmp_path / "run"
    break_off(load_settings(config_path("vit"), overrides(THREADED)), run, at=30)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000020.npz"]
    resume(run, echo=lambda line: None)
    for name in ("history.csv", "ranks.csv"):
        assert (run / name).read_bytes() == (threaded / name).read_bytes()


def test_a_time_budget_counts_over_a_resume(tmp_path):
    """The seconds before the break are in the state: spent already, they allow the step that is begun and no more."""
    settings = load_settings(config_path("vit"), [*overrides(THREADED), ("training.time_budget", 3600.0)])
    run = tmp_path / "run"
    break_off(settings, run, at=30)
    state = run / "checkpoints" / "step-000000020.npz"
    with np.load(state) as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"]))
    assert 0 < header["extra"]["wall_seconds"] < 3600
    header["extra"]["wall_seconds"] = 3601.0
    np.savez(state, **{**arrays, "header": json.dumps(header)})
    resume(run, echo=lambda line: None)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["steps"], summary["ended_by"]) == (21, "time_budget")
    assert summary["wall_seconds"] > 3601


def test_a_time_budget_with_parts_of_batches_is_validated(tmp_path):
    changed = [*overrides(THREADED), ("training.time_budget", 0.001), ("training.gradient_accumulation_steps", 4)]
    run = fit(load_settings(config_path("vit"), changed), tmp_path / "run", echo=lambda line: None)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["steps"], summary["ended_by"]) == (1, "time_budget")
    assert 0 <= summary["val_accuracy"] <= 1


@pytest.mark.parametrize("other", ["train/class_1/1.jpg", "val/class_0/0.jpg"])
def test_bad_pictures_are_remembered_over_a_resume(tmp_path, other):
    """One of training is met and skipped before the break: one more is one too many, wherever it is met."""
    folder = tmp_path / "pictures"
    for name, each in (("train", 6), ("val", 2)):
        write_folder(folder / name, each=each)
    bad, other = folder / "train" / "class_0" / "3.jpg", folder / other
    bad.write_bytes(bad.read_bytes()[:600])
    training = {**SMALL["training"], "image_size_schedule": None, "checkpoint_every": 4, "steps": 16}
    changed = [*overrides({**SMALL, "training": training}), ("data.source", "folder"), ("data.path", str(folder))]
    settings, run = load_settings(config_path("vit"), [*changed, ("data.skip_bad_images", 1)]), tmp_path / "run"
    break_off(settings, run, at=12)
    content = other.read_bytes()
    other.write_bytes(content[:600])
    with pytest.raises(UserError, match=rf"{other}.* Once .* is mended go on with: .* fit --resume {run}"):
        resume(run, echo=lambda line: None)
    other.write_bytes(content)
    resume(run, echo=lambda line: None)
    assert list(json.loads((run / "summary.json").read_text())["bad_images"]) == [str(bad)]


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    """A picture less is another split: what was held out would be trained on."""
    folder = write_folder(tmp_path / "pictures")
    training = {**SMALL["training"], "image_size_schedule": None, "checkpoint_every": 4, "steps": 16}
    changed = [*overrides({**SMALL, "training": training}), ("data.source", "folder"), ("data.path", str(folder))]
    run = tmp_path / "run"
    break_off(load_settings(config_path("vit"), changed), run, at=12)
    (folder / "class_0" / "3.jpg").unlink()
    with pytest.raises(UserError, match=r"not those that .* was begun with: .*10 training and 2 .* Now: .* 9 training"):
        resume(run, echo=lambda line: None)
