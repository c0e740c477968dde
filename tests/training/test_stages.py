"""Which images a run sees when, and that its records do not notice the change."""

import csv

import numpy as np
import pytest

from rankscope.data.images import load_images
from rankscope.data.regression import diagonal_regression
from rankscope.errors import UserError
from rankscope.training.fit import fit
from rankscope.training.settings import config_path, load_settings
from rankscope.training.stages import build_stages, stages_of
from rankscope.zoo.registry import VitSettings
from tests.data.miniature_imagenet import write_folder


def settings(**schedule):
    overrides = [(f"training.image_size_schedule.{key}", value) for key, value in schedule.items()]
    return load_settings(config_path("vit"), overrides)


@pytest.mark.parametrize(
    ("resume_step", "expected"),
    [
        (0, [(0, 20, 32), (20, 40, 64), (40, 100, 96)]),
        (19, [(19, 20, 32), (20, 40, 64), (40, 100, 96)]),
        (20, [(20, 40, 64), (40, 100, 96)]),
        (99, [(99, 100, 96)]),
    ],
)
def test_a_resumed_run_has_the_stages_that_are_left(resume_step, expected):
    assert [tuple(stage) for stage in stages_of([32, 64, 96], 20, 100, resume_step)] == expected


def test_a_short_run_ends_within_the_schedule():
    assert [tuple(stage) for stage in stages_of([32, 64, 96], 20, 30)] == [(0, 20, 32), (20, 30, 64)]


def test_epochs_become_steps():
    """4,000 digits are 62 whole batches of 64; sizes 14, 21, 28."""
    stages = build_stages(settings(first=14, increment=7, every_epochs=2), load_images())
    assert [tuple(stage) for stage in stages] == [(0, 124, 14), (124, 248, 21), (248, 1600, 28)]


def test_without_a_schedule_there_is_one_stage():
    assert [tuple(stage) for stage in build_stages(settings(), load_images(), 7)] == [(7, 1600, None)]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"first": 10, "increment": 7}, "must divide each size.* Received: patch_size 7, size 10"),
        ({"first": 35, "increment": 7}, "Received: images of 28×28, first 35"),
    ],
)
def test_schedules_that_do_not_fit(schedule, message):
    with pytest.raises(UserError, match=message):
        build_stages(settings(**schedule), load_images())


def test_a_schedule_is_for_data_and_for_models_of_several_sizes(monkeypatch):
    schedule = {"first": 14, "increment": 7}
    with pytest.raises(UserError, match=r"is for images\. Received: data\.source mnist_5k$"):
        build_stages(settings(**schedule), diagonal_regression([1.0]))
    monkeypatch.setattr(VitSettings, "divides_images", None)
    with pytest.raises(UserError, match=r"models that take images of several sizes\. Received: model vit$"):
        build_stages(settings(**schedule), load_images())


def test_the_paper_s_protocol_in_steps():
    """32, 64 … 192 for five epochs each of 20,018 batches, then 224."""
    stages = stages_of([*range(32, 224, 32), 224], 5 * 20_018, 6_005_400)
    assert [stage.image_size for stage in stages] == [32, 64, 96, 128, 160, 192, 224]
    assert stages[-1].first_step == 30 * 20_018


#: Ten pictures are two batches of four: two epochs of 32 pixels up to step 4, two of 48 up to step 8, then 64.
GROWING = {
    **{"model.patch_size": 16, "model.hidden_dim": 8, "model.num_layers": 1, "model.num_heads": 1},
    **{"data.source": "folder", "data.image_size": 64, "training.batch_size": 4, "training.steps": 11},
    **{"training.jit_compile": False, "optimizer.warmup_steps": 1, "monitor.every": 11},
    **{"training.image_size_schedule": {"first": 32, "increment": 16, "every_epochs": 2}},
}


def means_of(run, pictures, log_every):
    """Loss and accuracy of the rows of a run that writes one every so many steps: `(rows, 2)`."""
    changed = {"data.path": str(pictures), "training.log_every": log_every, "training.validate_every": 4 * log_every}
    fit(load_settings(config_path("vit"), list({**GROWING, **changed}.items())), run, echo=lambda line: None)
    with open(run / "history.csv", newline="") as file:
        return np.array([[float(row["loss"]), float(row["accuracy"])] for row in csv.DictReader(file)])


@pytest.mark.slow
def test_running_means_go_on_over_a_change_of_size(tmp_path):
    """Rows of three steps are the means of three rows of one step, those of steps 3-4-5 and 6-7-8 of two sizes, too."""
    pictures = write_folder(tmp_path / "pictures")
    each, threes = (means_of(tmp_path / str(log_every), pictures, log_every) for log_every in (1, 3))
    assert (len(each), len(threes)) == (11, 4)
    expected = [each[:3].mean(axis=0), each[3:6].mean(axis=0), each[6:9].mean(axis=0), each[9:].mean(axis=0)]
    np.testing.assert_allclose(threes, expected, rtol=2e-6)
