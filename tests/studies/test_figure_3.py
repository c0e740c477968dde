"""Figure 3: how runs are read and judged, on curves whose rates are known, and the study as a whole on a tiny model."""

import csv
import json
import math

import numpy as np
import pytest

from rankscope.errors import UserError
from rankscope.records import StepTable, read_summary
from rankscope.settings import check_settings
from rankscope.studies import STUDIES
from rankscope.studies.figure_3.claims import claims_of
from rankscope.studies.figure_3.picture import draw
from rankscope.studies.figure_3.runs import accuracy, end_rows, rate
from rankscope.studies.figure_3.settings import Figure3Settings
from rankscope.studies.runs import QUANTITIES, Run, curve_rows, products, read_run
from rankscope.studies.study import run_study
from rankscope.studies.verdict import DID_NOT_RUN, FAILS, HOLDS
from rankscope.training.settings import config_path, load_settings

PRODUCTS = (("qk", 0), ("vo", 0))
DECAYS = (0.0, 0.1, 0.3)


def make_run(decay, seed=0, law=2.0, floor=0.0, status="complete", rank=None):
    """A run whose imbalance is 8(e^(−law·λt) + floor); t from 0 to 12."""
    time = np.linspace(0, 12, 41)
    imbalance = 8 * (np.exp(-law * decay * time) + floor)
    pseudo_rank = np.full(41, 0.8 - decay if rank is None else rank)
    values = (pseudo_rank, np.full(41, 0.85), imbalance, imbalance / 4, imbalance)
    curves = {product: dict(zip(QUANTITIES, values, strict=True)) for product in PRODUCTS}
    learned = status == "complete"
    summary = {"status": status, "learned_step": 600 if learned else None, "val_accuracy": 1.0 if learned else 0.14}
    return Run(decay, seed, summary, np.full(8, summary["val_accuracy"]), 100 * np.arange(41), time, curves)


def verdicts(runs):
    return {claim.id: claim.verdict for claim in claims_of(runs)}


def test_the_rate_of_an_exponential_is_its_exponent():
    found, tolerance = rate(make_run(0.3), ("vo", 0))
    assert found == pytest.approx(0.6, rel=1e-12)
    assert tolerance == pytest.approx(0.6 * 0.3 / 1.8)  # one reading in the six until Q ≤ Q(0)/e
    slow, exact = rate(make_run(0.01), ("vo", 0))  # never falls to Q(0)/e: over the whole run
    assert (slow, exact) == (pytest.approx(0.02, rel=1e-12), 0.0)


def test_where_gradient_flow_rules_all_holds():
    runs = [make_run(decay, seed) for decay in DECAYS for seed in (0, 1)]
    found = verdicts(runs)
    assert found.pop("figure-3.learned-strong") == DID_NOT_RUN
    assert set(found.values()) == {HOLDS}
    assert len(found) == 15


def test_a_slower_law_with_a_floor_keeps_the_order_but_not_the_law():
    runs = [make_run(decay, seed, law=1.2, floor=0.05) for decay in DECAYS for seed in (0, 1)]
    found = verdicts(runs)
    assert found["figure-3.time-constant.vo"] == found["figure-3.imbalance.vo"] == HOLDS
    assert found["figure-3.time-constant-value.vo"] == found["figure-3.vanishes.vo"] == FAILS
    (law,) = [claim for claim in claims_of(runs) if claim.id == "figure-3.time-constant-value.vo"]
    assert "P W_V of layer 1, λ=0.3: 0.5" in law.remark  # of 2λ, the floor included


def test_runs_that_did_not_learn_count_nowhere_but_among_the_learned():
    """One with the highest rank of all at λ = 1 would turn every correlation round."""
    learned = [make_run(decay, seed) for decay in DECAYS for seed in (0, 1)]
    stray = make_run(1.0, 0, status="did_not_learn", rank=1.0)
    without, with_stray = claims_of(learned), claims_of([*learned, stray])
    for before, after in zip(without, with_stray, strict=True):
        if before.id == "figure-3.learned-strong":
            assert (after.verdict, after.remark) == (FAILS, "0 of 1 runs learned")
        else:
            assert before == after


def test_a_run_that_failed_is_a_case_that_fails():
    failed = Run(0.1, 2, {"status": "failed"}, np.empty(0), np.empty(0), np.empty(0), {})
    runs = [*(make_run(decay) for decay in DECAYS), failed]
    (learned,) = [claim for claim in claims_of(runs) if claim.id == "figure-3.learned"]
    assert learned.verdict == FAILS
    assert learned.worst.name == "λ=0.1 seed=2"
    assert [row["status"] for row in end_rows(runs)] == ["complete"] * 3 + ["failed"]
    assert draw(runs, products(runs)).axes


def test_seeds_that_disagree_leave_the_sign_open():
    """Correlations −1 and +1: the mean is 0 ± 12.7."""
    runs = [make_run(decay, 0) for decay in DECAYS] + [make_run(d, 1, rank=0.5 + d) for d in DECAYS]
    (rank,) = [claim for claim in claims_of(runs) if claim.id == "figure-3.rank.vo"]
    assert rank.verdict == FAILS
    assert rank.worst.measured == pytest.approx(12.7062, abs=1e-4)


def test_a_mean_that_stays_the_same_does_not_fall_strictly():
    runs = [make_run(0.0, rank=0.5), make_run(0.1, rank=0.5), make_run(0.3)]
    assert verdicts(runs)["figure-3.rank-order"] == FAILS


def test_without_any_run_that_learned_nothing_is_judged():
    found = verdicts([make_run(decay, status="did_not_learn") for decay in DECAYS])
    assert found.pop("figure-3.learned") == FAILS
    assert set(found.values()) == {DID_NOT_RUN}


def test_single_validations_that_jump_do_not_decide():
    run = make_run(0.1)
    run.validations[:] = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.98, 1.0]
    assert accuracy(run) == 0.99  # of the last two


def test_heads_are_averaged(tmp_path):
    table = StepTable(tmp_path / "ranks.csv", ["cumulative_learning_rate", "pair", "layer", "head", *QUANTITIES])
    for step in (0, 100):
        table.append(
            [
                {"step": step, "cumulative_learning_rate": step / 200, "pair": pair, "layer": 0, "head": head}
                | {name: step + head + (pair == "vo") for name in QUANTITIES}
                for pair in ("qk", "vo")
                for head in (0, 1)
            ]
        )
    StepTable(tmp_path / "history.csv", ["val_accuracy"]).append(
        [{"step": 50, "val_accuracy": ""}, {"step": 100, "val_accuracy": 0.75}]
    )
    run = read_run(tmp_path, {"status": "complete", "steps": 100}, 0.1, 3, "val_accuracy")
    assert run.steps.tolist() == [0, 100]
    assert run.time.tolist() == [0.0, 0.5]
    assert run.validations.tolist() == [0.75]
    assert run.curves["vo", 0]["nuclear_gap"].tolist() == [1.5, 101.5]
    assert run.curves["qk", 0]["nuclear_gap"].tolist() == [0.5, 100.5]
    assert [row["nuclear_gap"] for row in curve_rows([run])] == [0.5, 100.5, 1.5, 101.5]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ranks.csv", None, r"No such file.*ranks\.csv"),
        ("ranks.csv", "step,pair\n0,qk\n", r"ranks\.csv lacks the columns"),
        ("history.csv", "step,val_accuracy\n", r"history\.csv or ranks\.csv ends before step 20"),
        ("history.csv", "step,val_accuracy\n10,", r"history\.csv or ranks\.csv ends before step 20"),
        ("summary.json", "{}", r"its summary\.json is damaged"),
        ("summary.json", "[", r"its summary\.json is damaged"),
    ],
)
def test_damaged_records_are_named_with_the_way_to_go_on(tmp_path, name, text, message):
    row = dict.fromkeys(("cumulative_learning_rate", *QUANTITIES), 1.0) | {"pair": "qk", "layer": 0}
    table = StepTable(tmp_path / "ranks.csv", list(row))
    table.append([{"step": 0, **row}])
    table.append([{"step": 20, **row}])
    (tmp_path / "history.csv").write_text("step,val_accuracy\n20,0.5\n")
    (tmp_path / "summary.json").write_text('{"status": "complete", "steps": 20}')
    assert read_run(tmp_path, read_summary(tmp_path), 0.1, 0, "val_accuracy").steps.tolist() == [0, 20]
    (tmp_path / name).unlink()
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"is damaged: .*{message}.*Remove this run, and have it trained again"):
        read_run(tmp_path, read_summary(tmp_path), 0.1, 0, "val_accuracy")


def test_readings_that_are_missing_at_the_end_are_noticed(tmp_path):
    row = dict.fromkeys(("cumulative_learning_rate", *QUANTITIES), 1.0) | {"pair": "qk", "layer": 0}
    StepTable(tmp_path / "ranks.csv", list(row)).append([{"step": 0, **row}])
    (tmp_path / "history.csv").write_text("step,val_accuracy\n20,0.5\n")
    with pytest.raises(UserError, match=r"ends before step 20"):
        read_run(tmp_path, {"status": "complete", "steps": 20}, 0.1, 0, "val_accuracy")


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [("sweep.attention_weight_decay", "0.1,1e-1", "Received: 0.1 twice"), ("seeds", "1,1", "Received: 1 twice")],
)
def test_what_stands_twice_is_refused_before_anything_is_made(key, given, message):
    with pytest.raises(UserError, match=f"{key} must hold each value once. {message}"):
        check_settings(Figure3Settings, {}, "study", [(key, given)])


def test_the_runs_are_those_of_the_config():
    assert Figure3Settings().run == load_settings(config_path("recall"))


def test_the_decay_that_is_varied_is_not_set_beside():
    with pytest.raises(UserError, match=r"set sweep\.attention_weight_decay to a list\. Received: 0\.5"):
        check_settings(Figure3Settings, {}, "study", [("optimizer.attention_weight_decay", 0.5)])


TINY = [
    *[("model.hidden_dim", 8), ("model.key_dim", 4), ("data.num_pairs", 3), ("training.batch_size", 16)],
    *[("training.steps", 20), ("training.validate_every", 10), ("training.log_every", 10), ("monitor.every", 5)],
]


@pytest.mark.slow
def test_where_every_run_fails_the_study_says_so(tmp_path):
    wild = [("optimizer.learning_rate", 1e30), ("optimizer.warmup_steps", 0), ("sweep.attention_weight_decay", [0.1])]
    directory, as_expected = run_study(STUDIES["figure-3"].load(), [*TINY, *wild, ("seeds", [0])], tmp_path / "wild")
    assert not as_expected
    claims = {claim["id"]: claim for claim in json.loads((directory / "verdict.json").read_text())["claims"]}
    assert claims.pop("figure-3.learned")["verdict"] == FAILS
    assert {claim["verdict"] for claim in claims.values()} == {DID_NOT_RUN}
    assert not (directory / "records" / "curves.csv").exists()


@pytest.mark.slow
def test_the_study_trains_draws_and_judges(tmp_path):
    """Twenty steps learn nothing: that is said, drawn, and averaged nowhere."""
    asked = [*TINY, ("sweep.attention_weight_decay", [0, 0.5]), ("seeds", [4])]
    directory, as_expected = run_study(STUDIES["figure-3"].load(), asked, tmp_path / "figure-3")
    assert not as_expected
    with open(directory / "records" / "runs.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["weight_decay"], row["seed"], row["status"]) for row in rows] == [
        ("0.0", "4", "did_not_learn"),
        ("0.5", "4", "did_not_learn"),
    ]
    assert all(math.isfinite(float(row["rate_vo_1"])) for row in rows)
    claims = {claim["id"]: claim for claim in json.loads((directory / "verdict.json").read_text())["claims"]}
    assert claims["figure-3.learned"]["verdict"] == FAILS
    assert claims["figure-3.rank.vo"]["verdict"] == DID_NOT_RUN
    for picture in ("figure-3", "figure-3-others"):
        assert (directory / f"{picture}.png").stat().st_size > 10_000
