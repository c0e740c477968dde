"""Figure 2: rest points by hand, the change of units that trains all λ and ε at once, refusals, and the whole study."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from rankscope.errors import UserError
from rankscope.factors import adamw_rest_gradient
from rankscope.settings import check_settings
from rankscope.studies.figure_2 import STUDY
from rankscope.studies.figure_2.descent import cells_of, descend, starts_of
from rankscope.studies.figure_2.rest import (
    OPTIMIZERS,
    PARAMETRISATIONS,
    Cell,
    Surface,
    circling_mean,
    first_order_error,
    gradient,
    growth,
    rest_point,
    stability_limit,
    weights_at,
)
from rankscope.studies.figure_2.settings import Figure2Settings
from rankscope.studies.study import run_study
from rankscope.studies.verdict import DID_NOT_RUN
from rankscope.training.precision import float64

LINE = Surface.of([1.0, 2.0], 2.0)
CELL = Cell(weight_decay=0.1, epsilon=0.1, learning_rate=0.05, beta_1=0.9, beta_2=0.95)
KINDS = [(optimizer, parametrisation) for optimizer in OPTIMIZERS for parametrisation in PARAMETRISATIONS]


def settings_with(**overrides):
    pairs = [(key.replace("__", "."), value) for key, value in overrides.items()]
    return check_settings(Figure2Settings, {}, "study figure-2", pairs)


# === Rest points ===


def test_rest_points_on_half_the_squared_distance_to_one():
    """½(w − 1)²: the gradient is w − 1, and a penalty of λ_L2 = ελ shrinks w, or soft-thresholds a product."""
    axis = Surface((1.0, 0.0), 1.0)
    half = replace(CELL, weight_decay=1.0, epsilon=0.5)  # λw = (1 − w)/(1 − w + ½) at w = ½
    assert rest_point(axis, half, "AdamW", "direct") == pytest.approx([0.5, 0.0], abs=1e-14)
    assert rest_point(axis, half, "AdamL2", "direct") == pytest.approx([1 / 1.5, 0.0])
    assert rest_point(axis, half, "AdamL2", "products") == pytest.approx([0.5, 0.0])
    # a = b = ½: λa = ½ = ¾·½/(¾·½ + ε) for ε = ⅜
    quarter = replace(CELL, weight_decay=1.0, epsilon=0.375)
    assert rest_point(axis, quarter, "AdamW", "products") == pytest.approx([0.25, 0.0], abs=1e-14)


@pytest.mark.parametrize("decay", [0.001, 0.1, 0.8, 5.0])
@pytest.mark.parametrize("epsilon", [1e-4, 0.1, 30.0])
@pytest.mark.parametrize("surface", [LINE, Surface.of([-3.0, 1.0], -7.0)], ids=["line", "other"])
def test_adamw_rests_where_section_3_5_says(surface, decay, epsilon):
    cell = replace(CELL, weight_decay=decay, epsilon=epsilon)
    for parametrisation in PARAMETRISATIONS:
        weights = weights_at(rest_point(surface, cell, "AdamW", parametrisation), parametrisation)
        assert decay * np.abs(weights).max() < 1
        expected = adamw_rest_gradient(weights, decay, epsilon)
        np.testing.assert_allclose(gradient(surface, weights), expected, rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_first_order_is_the_limit_of_the_error(parametrisation):
    cell = replace(CELL, weight_decay=1e-4)
    points = [rest_point(LINE, cell, optimizer, parametrisation) for optimizer in OPTIMIZERS]
    error = np.linalg.norm(points[0] - points[1])
    assert error == pytest.approx(first_order_error(LINE, cell, parametrisation), rel=2e-4)


def test_large_decay_ends_the_sparsity_of_products():
    """From λ√|w| = 1 − ½ on, the other product grows; L2 has it at zero for any λ."""
    ends = [rest_point(LINE, replace(CELL, weight_decay=decay), "AdamW", "products") for decay in (0.5, 0.6)]
    assert ends[0][0] == 0
    assert ends[1][0] > 0.01
    assert rest_point(LINE, replace(CELL, weight_decay=0.6), "AdamL2", "products")[0] == 0


# === Stability ===


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_adam_is_stable_above_the_limit_and_not_below(parametrisation):
    """Curvature 1 directly, n²(a² + b²) = 0.8 · 2 as products of about 1; a 38th for β₁ = 0.9."""
    limit = stability_limit(LINE, replace(CELL, epsilon=1e-3), parametrisation)
    assert limit == pytest.approx(0.05 / 38 * {"direct": 1.0, "products": 1.6}[parametrisation], rel=1e-3)
    rates = [growth(LINE, replace(CELL, epsilon=part * limit), "AdamL2", parametrisation) for part in (0.98, 1.02)]
    assert rates[0] > 1 > rates[1]


def test_late_steps_shrink_the_distance_along_the_surface_by_the_decay():
    """Adam's step is −η(λ_L2/ε)w there: 1 − ηλ but for momentum, which leads to z = 1 − ηλ − O((ηλ)²)."""
    assert growth(LINE, CELL, "AdamL2", "direct") == pytest.approx(1 - 0.05 * 0.1, abs=20 * 0.005**2)
    assert growth(LINE, CELL, "AdamW", "direct") == pytest.approx(1 - 0.05 * 0.1, abs=1e-4)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_without_epsilon_adamw_circles_the_smallest_maximum(parametrisation):
    assert circling_mean(LINE, replace(CELL, epsilon=1e-12), parametrisation) == pytest.approx([2 / 3, 2 / 3], abs=1e-6)
    assert circling_mean(LINE, CELL, parametrisation) == pytest.approx(rest_point(LINE, CELL, "AdamW", parametrisation))


# === Training ===


def test_starts_of_products_have_the_points_and_the_imbalance():
    settings = settings_with(data__starts=[[0.0, 0.0], [-1.5, 2.0]], data__imbalance=0.5)
    a, b = starts_of(settings, "products").swapaxes(0, 1)
    np.testing.assert_allclose(a * b, starts_of(settings, "direct")[:, 0])
    np.testing.assert_allclose(a**2 - b**2, 0.5)


@pytest.mark.slow
def test_replicas_in_other_units_train_as_with_their_own_decay_and_epsilon():
    """A λ twice and an ε a tenth of the optimizer's: the same 12 steps as of an optimizer that has them, at η/2."""
    start = {"data__starts": [[1.0, -0.5]], "sweep__weight_decay": [0.2], "sweep__epsilon": [0.01]}
    adam = {"weight_decay": 0.1, "epsilon": 0.1, "learning_rate": 0.05}
    settings = settings_with(**start, **{f"optimizer__{name}": value for name, value in adam.items()})
    cells = [replace(cells_of(settings)[1], epsilon=0.01)]
    assert cells[0].learning_rate == pytest.approx(0.025)
    adam = {"weight_decay": 0.2, "epsilon": 0.01, "learning_rate": 0.025}
    itself = settings_with(**start, **{f"optimizer__{name}": value for name, value in adam.items()})
    with float64():
        scaled = descend(settings, LINE, cells, steps=12, every=1)
        plain = descend(itself, LINE, cells, steps=12, every=1)
    assert [(descent.optimizer, descent.parametrisation) for descent in plain] == KINDS
    for one, other in zip(scaled, plain, strict=True):
        # Keras keeps η in float32: half of 0.05 is the float32 0.025, so only rounding is left.
        np.testing.assert_allclose(one.w, other.w, rtol=1e-11, atol=1e-12)
        assert np.abs(one.w[-1] - one.w[0]).max() > 0.1


# === Settings ===


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data__normal": [2.0, -2.0]}, "data.normal"),
        ({"data__normal": [0.0, 1.0]}, "data.normal"),
        ({"data__offset": 0}, "data.offset"),
        ({"data__starts": [[1.0]]}, "data.starts"),
        ({"optimizer__epsilon": 0}, "optimizer.epsilon"),
        ({"optimizer__weight_decay": 0}, "optimizer.weight_decay"),
        ({"optimizer__learning_rate": 10.0}, "learning_rate"),
        ({"sweep__epsilon": []}, "sweep.epsilon"),
    ],
)
def test_settings_without_sense_are_refused_in_one_line(overrides, message):
    with pytest.raises(UserError, match=message) as refusal:
        settings_with(**overrides)
    assert "\n" not in str(refusal.value)


# === The study ===


def small_study(tmp_path, *overrides):
    short = [("sweep.weight_decay", [0.05, 0.8]), ("sweep.epsilon", [0.02]), ("optimizer.learning_rate", 0.1)]
    directory, as_expected = run_study(STUDY, [*short, ("seeds", "0,4"), *overrides], tmp_path / "run")
    claims = {claim["id"]: claim for claim in json.loads((directory / "verdict.json").read_text())["claims"]}
    return directory, as_expected, claims


@pytest.mark.slow
def test_study_gives_its_verdicts(tmp_path):
    directory, as_expected, claims = small_study(tmp_path)
    assert as_expected
    odd = {"figure-2.strength": "holds with a correction", "figure-2.default-epsilon": "fails"}
    assert {id: claim["verdict"] for id, claim in claims.items()} == {id: odd.get(id, "holds") for id in claims}
    assert len(claims) == 13
    assert (directory / "figure-2.png").stat().st_size > 10_000
    assert (directory / "figure-2.svg").exists()
    with open(directory / "records" / "end_points.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 5 * 2  # optimizers, parametrisations, cells, starts
    usual = [row for row in rows if row["optimizer"] == "AdamW" and float(row["epsilon"]) == 1e-8]
    for row in usual:
        assert [float(row["mean_w_1"]), float(row["mean_w_2"])] == pytest.approx([2 / 3, 2 / 3], abs=5e-3)


@pytest.mark.slow
def test_study_without_time_or_rest_does_not_judge(tmp_path):
    _, as_expected, claims = small_study(tmp_path, ("training.steps", 40))
    assert as_expected  # a claim without a case expects no more
    for id in ("rest-direct", "rest-products", "equivalence-direct", "l1-minimiser", "balance"):
        assert claims[f"figure-2.{id}"]["verdict"] == DID_NOT_RUN
        assert "training.steps" in claims[f"figure-2.{id}"]["remark"]
    assert claims["figure-2.default-epsilon"]["verdict"] == DID_NOT_RUN
