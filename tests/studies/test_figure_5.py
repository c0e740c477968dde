"""Section 4.4 on checkpoints: what is claimed, what chance gives, and the two real models."""

import json

import numpy as np
import pytest

from rankscope.errors import UserError
from rankscope.studies.figure_5 import STUDY, WEIGHTS, claims_of
from rankscope.studies.study import run_study
from rankscope.studies.verdict import FAILS, HOLDS
from tests.analysis.small_checkpoints import checkpoint

pytestmark = pytest.mark.once


def verdicts(**sizes):
    from rankscope.analysis import analyze_checkpoint

    analyses = [analyze_checkpoint(checkpoint(seed=seed, **sizes)) for seed in (0, 1)]
    return {claim.id.removeprefix("figure-5."): claim.verdict for claim in claims_of(analyses)}


def test_tall_gaussian_factors_meet_the_paper_s_claims_and_not_the_null_s():
    """They need no training for it: 512 rows, 8 columns."""
    found = verdicts(layers=3, heads=8, kv_heads=8, hidden_dim=512)
    assert (found["diagonal"], found["rows"], found["nuclear"]) == (HOLDS, HOLDS, HOLDS)


def test_small_factors_are_not_nearly_balanced_by_chance():
    found = verdicts(layers=3, heads=8, kv_heads=8, hidden_dim=16)
    assert (found["diagonal"], found["nuclear"]) == (FAILS, FAILS)


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="missing does not exist"):
        run_study(STUDY, [("checkpoints", [{"path": "missing"}])], tmp_path / "study", echo=lambda line: None)
    assert not (tmp_path / "study").exists()


@pytest.mark.skipif(not (WEIGHTS / ".complete").exists(), reason="needs: make weights")
def test_the_two_real_models_come_to_the_expected_verdicts(tmp_path):
    directory, as_expected = run_study(STUDY, run_dir=tmp_path / "study", echo=lambda line: None)
    assert as_expected
    claims = {claim["id"]: claim for claim in json.loads((directory / "verdict.json").read_text())["claims"]}
    assert claims["figure-5.nuclear"]["verdict"] == HOLDS
    assert np.isclose(claims["figure-5.nuclear"]["measured"], 0.930, atol=5e-4)
    assert {path.name for path in directory.iterdir()} >= {"figure-5.png", "figure-5.svg", "records.csv"}
    assert len((directory / "records" / "heads.csv").read_text().splitlines()) == 1 + 2 * 144
