"""The ablations of figure 3, on curves whose shares of the law are known."""

import numpy as np
import pytest

from rankscope.studies.figure_3.ablations import claims_of, draw, share, variations
from rankscope.studies.figure_3.settings import AblationSettings
from rankscope.studies.runs import Run
from rankscope.studies.verdict import DID_NOT_RUN, FAILS, HOLDS
from tests.studies.test_figure_3 import make_run

DECAYS = (0.0, 0.1, 0.3)
NAMES = ("figure-3", "epsilon", "cosine", "no-layer-norm", "sgd")


def runs_of(law, decays=DECAYS):
    """Two seeds whose imbalance falls as exp(−law·λt)."""
    return [make_run(decay, seed, law=law) for decay in decays for seed in (0, 1)]


def test_sgd_takes_the_same_step_of_decay():
    settings = AblationSettings()
    of = {variation.name: variation.changes for variation in variations(settings)}
    changes = of["sgd"]
    eta = changes["optimizer.learning_rate"]
    assert eta * changes["optimizer.weight_decay"] == pytest.approx(3e-3 * 0.1)
    steps = [eta * decay for decay in changes["sweep.attention_weight_decay"]]
    assert steps == pytest.approx([3e-3 * decay for decay in settings.sweep.attention_weight_decay])
    assert of["figure-3"] == {}


def test_the_share_of_the_law_is_the_ratio_of_the_exponents():
    assert share(make_run(0.3), ("vo", 0)) == pytest.approx(1.0)
    assert share(make_run(0.3, law=1.5), ("vo", 0), until=6.0) == pytest.approx(0.75)


def test_each_variation_is_judged_by_what_figure_3_itself_reaches():
    slow = runs_of(1.2)
    runs = {"figure-3": slow, "epsilon": runs_of(1.8), "cosine": slow, "no-layer-norm": runs_of(0.5), "sgd": runs_of(2)}
    found = {claim.id.rpartition(".")[2]: claim for claim in claims_of(runs)}
    assert {name: claim.verdict for name, claim in found.items()} == {
        **dict.fromkeys(("ended", "sgd", "epsilon", "cosine"), HOLDS),
        "no-layer-norm": FAILS,
    }
    assert all(claim.as_expected for claim in found.values())
    assert found["epsilon"].remark == "λ=0.1: 0.90 for 0.60 at 2λΣη = 2.4; λ=0.3: 0.90 for 0.60 at 2λΣη = 7.2"
    assert found["sgd"].remark.endswith("with λ = 0, 1.00 to 1.00 of it remains")
    assert found["ended"].remark == "did not learn: none"
    assert len(draw(runs).axes) == 2 * 5


def test_less_than_a_time_constant_is_not_judged():
    runs = {name: runs_of(1.2, (0.04, 0.1)) for name in NAMES}  # 2λΣη = 0.96 and 2.4
    epsilon = next(claim for claim in claims_of(runs) if claim.id == "figure-3-ablations.epsilon")
    assert [case.name for case in epsilon.cases] == ["λ=0.1"]


def test_what_did_not_learn_is_judged_nowhere_else():
    strayed = [make_run(decay, status="did_not_learn") for decay in DECAYS]
    runs = dict.fromkeys(NAMES, strayed)
    ended, *others = claims_of(runs)
    assert ended.verdict == HOLDS
    assert ended.remark.startswith("did not learn: figure-3, λ=0 seed=0; figure-3, λ=0.1 seed=0;")
    assert {claim.verdict for claim in others} == {DID_NOT_RUN}
    assert draw(runs).axes


def test_a_run_that_failed_is_a_case_that_fails():
    failed = Run(0.1, 0, {"status": "failed"}, np.empty(0), np.empty(0), np.empty(0), {})
    ended, *_ = claims_of({name: [failed] for name in NAMES})
    assert ended.verdict == FAILS
