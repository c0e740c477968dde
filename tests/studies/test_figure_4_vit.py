"""Figure 4 right: correlations that can be redone by hand, runs of known ranks, and the study on a tiny model."""

import csv
import itertools
import json
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from rankscope.studies import STUDIES
from rankscope.studies.runs import QUANTITIES, Run
from rankscope.studies.study import run_study
from rankscope.studies.verdict import DID_NOT_RUN, FAILS, HOLDS
from rankscope.studies.vision import accuracy, draw, ranks
from rankscope.studies.vision.correlation import correlation, spearman
from rankscope.studies.vision.settings import CHANGES, VisionRuns
from rankscope.training.settings import config_path, load_settings

pytestmark = pytest.mark.once

PRODUCTS = (("qk", 0), ("vo", 0), ("qk", 1), ("vo", 1))
DECAYS = (0.0, 0.1, 1.0)


def make_run(decay, seed=0, rank=None, above=0.0, status="complete"):
    """A run whose rank ends at 0.7 − 0.4λ in layer 0, 0.1 less in layer 1, at accuracy 0.9 + 0.01·seed."""
    end = 0.7 - 0.4 * decay if rank is None else rank
    curves = {}
    for pair, layer in PRODUCTS:
        values = {name: np.full(5, 0.85) for name in QUANTITIES}
        curves[pair, layer] = values | {"pseudo_rank": np.linspace(0.9, end - 0.1 * layer, 5)}
    summary = {"status": status, "val_accuracy": 0.9 + 0.01 * seed + above}
    validations = np.array([0.5, summary["val_accuracy"]])
    return Run(decay, seed, summary, validations, 10 * np.arange(5), np.linspace(0, 4, 5), curves)


def grid(gains=(0.0, 0.002, 0.01)):
    return [make_run(decay, seed, above=gain) for decay, gain in zip(DECAYS, gains, strict=True) for seed in (0, 1, 2)]


def judged(runs):
    return ranks.claims_of(runs, ranks.correlations_of(runs))


def verdicts(claims):
    return {claim.id.removeprefix("figure-4-vit."): claim.verdict for claim in claims}


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3, 4], [1, 3, 2, 4], 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)),
        ([1, 2, 3, 4], [9, 7, 5, 1], -1),
        ([0, 0, 1, 1], [4, 3, 2, 1], -2 / math.sqrt(5)),  # ranks 1.5, 1.5, 3.5, 3.5: −4/√(4 · 5)
        ([0, 0, 0], [1, 2, 3], 0),  # one λ shows no correlation
    ],
)
def test_spearman_by_hand(x, y, expected):
    assert spearman(np.array(x), np.array(y)) == pytest.approx(expected, abs=1e-15)


def test_spearman_is_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, (2, 6, 9))
    assert spearman(x, y) == pytest.approx([spearmanr(*row).statistic for row in zip(x, y, strict=True)], abs=1e-14)


def test_the_interval_of_three_points_by_hand():
    """Of 27 resamples 6 are of all three points; 6 lack the first: +1; 12 another: −1; 3 are one point: 0."""
    found = correlation(np.array([0.0, 0.1, 1.0]), np.array([0.9, 0.5, 0.6]))
    assert (found.value, found.low, found.high, found.points) == (-0.5, -1, 1, 3)


def test_points_in_perfect_order_leave_no_doubt():
    found = correlation(np.arange(8.0), -(np.arange(8.0) ** 3))
    assert (found.value, found.low, found.high) == (-1, -1, -1)


def test_the_interval_is_that_of_all_resamples():
    """Five points have 5⁵ = 3,125 resamples: 9,999 draws from them are near the percentiles of all."""
    x, y = np.array([0.0, 0.05, 0.1, 0.3, 1.0]), np.array([0.8, 0.85, 0.7, 0.6, 0.65])
    chosen = np.array(list(itertools.product(range(5), repeat=5)))
    low, high = np.quantile(spearman(x[chosen], y[chosen]), (0.025, 0.975))
    found = correlation(x, y)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.05))
    assert found == correlation(x, y)  # the same draws each time


def test_ranks_that_fall_hold_and_one_seed_that_rises_fails():
    assert set(verdicts(judged(grid())).values()) == {HOLDS}
    claims = judged([*grid(), make_run(0.0, 3), make_run(1.0, 3, rank=0.71)])
    found = verdicts(claims)
    assert found["rank.qk"] == found["rank.vo"] == FAILS
    assert claims[1].worst.name == "λ=0 to 1, seed=3"  # what decides is what is told


def test_ranks_without_order_are_not_correlated():
    """Means per λ of 0.5, 0.6, 0.5: the order within each seed is lost."""
    runs = [
        make_run(decay, seed, rank=rank - 0.01 * seed)
        for decay, rank in zip(DECAYS, (0.5, 0.6, 0.5), strict=True)
        for seed in (0, 1, 2)
    ]
    assert verdicts(judged(runs))["correlation.qk"] == FAILS


def test_runs_that_did_not_learn_count_nowhere_but_among_the_learned():
    strayed = make_run(1.0, 3, rank=0.9, status="did_not_learn")
    failed = Run(0.1, 3, {"status": "failed"}, np.empty(0), np.empty(0), np.empty(0), {})
    before, after = verdicts(judged(grid())), verdicts(judged([*grid(), strayed, failed]))
    assert after == before | {"learned": FAILS}
    rows = accuracy.table_rows([*grid(), strayed, failed])
    assert [row["learned"] for row in rows] == ["3 of 3", "3 of 4", "3 of 4"]
    assert accuracy.run_rows([failed])[0]["pseudo_rank_qk"] == ""


def test_one_decay_or_two_runs_are_not_judged():
    found = verdicts(judged([make_run(0.0, seed) for seed in (0, 1, 2)]))
    assert found == dict.fromkeys(("rank.qk", "rank.vo", "correlation.qk", "correlation.vo"), DID_NOT_RUN) | {
        "learned": HOLDS
    }
    assert verdicts(judged([make_run(0.0), make_run(1.0)]))["correlation.qk"] == DID_NOT_RUN


def test_accuracy_is_paired_by_seed():
    """Seeds are 0.01 apart: ± t·s/√3 of three of them; the difference to λ = 0 is the same on each."""
    row = accuracy.table_rows(grid())[2]
    assert row["accuracy"] == pytest.approx(0.92)
    assert row["accuracy_half_width"] == pytest.approx(4.3027 * 0.01 / math.sqrt(3), rel=1e-4)
    assert (row["above_0"], row["above_0_half_width"]) == (pytest.approx(0.01), pytest.approx(0, abs=1e-12))
    assert row["pseudo_rank_qk"] == pytest.approx((0.3 + 0.2) / 2)


def test_pictures_of_a_grid_and_of_nothing():
    figure = draw(grid())
    qk, _, held_out = figure.axes
    assert qk.lines[2].get_ydata()[-1] == pytest.approx(0.25)  # λ = 1
    assert held_out.lines[-1].get_ydata().tolist() == pytest.approx([0.91, 0.912, 0.92])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("λ = 0", "λ = 0.1", "λ = 1", "Gaussian null")
    ]
    draw([make_run(0.0, status="failed")])


def test_the_runs_are_those_of_the_config_with_two_large_heads():
    assert VisionRuns().run == load_settings(config_path("vit"), CHANGES)
    assert VisionRuns().model.key_dim == 32


TINY = [
    *[("model.hidden_dim", 32), ("model.num_layers", 1), ("model.key_dim", 4), ("optimizer.learning_rate", 1e-2)],
    *[("optimizer.warmup_steps", 10), ("training.steps", 60), ("training.jit_compile", False)],
    *[("training.log_every", 20), ("training.validate_every", 20), ("monitor.every", 20)],
    *[("seeds", [4]), ("sweep.attention_weight_decay", [0, 1])],
]


@pytest.mark.slow
def test_the_study_trains_draws_and_judges(tmp_path, capsys):
    """Sixty steps make twice as good as chance, and two runs too few for a correlation."""
    directory, _ = run_study(STUDIES["figure-4-vit"].load(), TINY, tmp_path / "figure-4-vit")
    rows = _records(directory, "accuracy")
    assert [(row["attention_weight_decay"], row["learned"]) for row in rows] == [("0.0", "1 of 1"), ("1.0", "1 of 1")]
    assert rows[1]["accuracy"] in {row["val_accuracy"] for row in _records(directory, "runs")}
    assert {row["pair"] for row in _records(directory, "curves")} == {"qk", "vo"}
    claims = {claim["id"]: claim for claim in json.loads((directory / "verdict.json").read_text())["claims"]}
    assert claims["figure-4-vit.learned"]["verdict"] == HOLDS
    assert claims["figure-4-vit.rank.qk"]["cases"] == 1
    assert claims["figure-4-vit.correlation.qk"]["verdict"] == DID_NOT_RUN
    assert (directory / "figure-4-vit.png").stat().st_size > 10_000
    assert "held-out accuracy" in capsys.readouterr().out


def _records(directory, name):
    with open(directory / "records" / f"{name}.csv") as file:
        return list(csv.DictReader(file))
