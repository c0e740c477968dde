"""Figure 1: the paper's numbers from real training, at the paper's setting and at others."""

import csv
import json

import keras
import numpy as np
import pytest

from rankscope.errors import UserError
from rankscope.settings import check_settings
from rankscope.studies import STUDIES
from rankscope.studies.figure_1.descent import Descent, rest_points, target_of
from rankscope.studies.figure_1.settings import Figure1Settings
from rankscope.studies.study import run_study
from rankscope.training.precision import float64

STUDY = STUDIES["figure-1"].load()


def settings(*overrides):
    return check_settings(Figure1Settings, Figure1Settings().model_dump(mode="json"), "figure-1", overrides)


def run(tmp_path, *overrides):
    directory, as_expected = run_study(STUDY, overrides, tmp_path / "study", echo=lambda line: None)
    verdicts = {claim["id"]: claim for claim in json.loads((directory / "verdict.json").read_text())["claims"]}
    with open(directory / "records" / "rest_points.csv") as file:
        return as_expected, verdicts, list(csv.DictReader(file))


def at_rest(l2, targets, key_dim, steps=(0, 500, 1000)):
    """A descent that sits where it should end: A = B = diag √(s − λ)."""
    kept = np.sqrt(np.maximum(np.asarray(targets) - l2, 0))[:key_dim]
    factor = np.broadcast_to(np.eye(len(targets), key_dim) * kept, (len(steps), 1, len(targets), key_dim))
    return Descent(np.array([l2]), np.array([0]), np.array(steps), factor, factor, np.diag(targets), 0.1, 1)


def test_rest_points_say_what_should_be_left_and_how_long_it_takes():
    """s = 1, λ = 0.4: 0.6 is left, and 2 · 0.1 · min(0.6, 0.4) · 1000 = 80 relaxation times have passed."""
    rows = rest_points(settings(("model.key_dim", 2)), at_rest(0.4, [1.0, 0.3], 2))
    np.testing.assert_allclose([row["shrinkage"] for row in rows], [0.6, 0])
    np.testing.assert_allclose([row["singular_value"] for row in rows], [0.6, 0], atol=1e-15)
    np.testing.assert_allclose([row["relaxation_times"] for row in rows], [80, 20])


def test_with_too_few_hidden_units_values_compete():
    """One unit for s = 1 and s = 0.9, both above λ: they part at the rate of their difference, 0.1."""
    (row,) = rest_points(settings(("model.key_dim", 1)), at_rest(0.4, [1.0, 0.9], 1))
    np.testing.assert_allclose((row["shrinkage"], row["relaxation_times"]), (0.6, 20))
    assert row["from_half_time"] == ""


def test_inputs_that_are_not_white_are_refused(tmp_path):
    np.savez(tmp_path / "xy.npz", x=2 * np.eye(3), y=np.eye(3))
    given = [("data.source", "npz"), ("data.path", str(tmp_path / "xy.npz")), ("data.validation_fraction", 0)]
    with float64():
        with pytest.raises(UserError, match="whiten=true"):
            target_of(settings(*given))
        np.testing.assert_allclose(target_of(settings(*given, ("data.whiten", True))), np.eye(3), atol=1e-15)


@pytest.mark.slow
def test_the_paper_s_setting(tmp_path):
    as_expected, verdicts, rows = run(tmp_path)
    assert as_expected
    assert {name: claim["verdict"] for name, claim in verdicts.items()} == {
        "figure-1.gap": "holds",
        "figure-1.gap-without-decay": "holds",
        "figure-1.imbalance": "holds",
        "figure-1.one-step": "holds",
        "figure-1.shrinkage": "holds",
        "figure-1.relaxation": "holds",
        "figure-1.caption": "holds with a correction",
        "figure-1.single-matrix": "holds",
        "figure-1.single-matrix-rank": "holds",
    }
    at = {(float(r["l2"]), int(r["index"])): float(r["singular_value"]) for r in rows if r["seed"] == "0"}
    np.testing.assert_allclose([at[0.3, index] for index in range(1, 6)], [0.7, 0.5, 0.3, 0.1, 0], atol=1e-5)
    # Critical: 1/σ = 1/σ₀ + 2ηt and a little, so below 1/(2ηt) = 5e-3.
    assert 4e-3 < at[0.4, 4] < 5e-3
    # As the mean squared error would have it in float32, the gap would stop at 1e-7.
    assert verdicts["figure-1.one-step"]["measured"] < 1e-14


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        [("loss_scale", "full"), ("seeds", 1), ("optimizer.l2", [0.3, 0.7])],
        [("model.key_dim", 2), ("seeds", [9]), ("optimizer.l2", [0.0, 0.5])],
        [("data.singular_values", [1.5, 0.7, 0.7, 0.2, 0.0, 0.05]), ("seeds", [5]), ("optimizer.l2", [0.33])],
        [("data.singular_values", [0.9]), ("model.key_dim", 3), ("seeds", [5]), ("optimizer.l2", [0.1, 2.0])],
    ],
    ids=["full", "bottleneck", "other target", "one value"],
)
def test_other_settings_come_to_expected_verdicts_too(tmp_path, overrides):
    as_expected, verdicts, _ = run(tmp_path, *overrides)
    assert as_expected, [claim for claim in verdicts.values() if claim["verdict"] != claim["expected"]]
    assert any(claim["verdict"] == "holds" for claim in verdicts.values())
    assert keras.config.floatx() == "float32"
