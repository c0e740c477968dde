"""Verdicts: when a claim holds, holds with a correction, fails, or did not run, and what is written of it."""

import json
import math

import pytest

from rankscope.studies.verdict import Case, Claim, print_claims

pytestmark = pytest.mark.once


def claim(*cases, **kwargs):
    return Claim("id", "eq. 1", "one", cases, **kwargs)


@pytest.mark.parametrize(
    ("relation", "measured", "verdict"),
    [
        ("=", 1.1, "holds"),
        ("=", 0.9, "holds"),
        ("=", 1.2, "fails"),
        ("=", 0.8, "fails"),
        ("≤", -9, "holds"),
        ("≤", 1.1, "holds"),
        ("≤", 1.2, "fails"),
        ("≥", 9, "holds"),
        ("≥", 0.9, "holds"),
        ("≥", 0.8, "fails"),
        ("=", math.nan, "fails"),
        ("≤", -math.inf, "fails"),
    ],
)
def test_a_case_within_its_tolerance_holds(relation, measured, verdict):
    assert claim(Case("only", 1.0, measured, 0.125), relation=relation).verdict == verdict


def test_one_case_outside_is_enough_to_fail_and_is_the_deciding_one():
    failing = claim(Case("in", 1.0, 1.0, 0.1), Case("out", 2.0, 2.5, 0.1), Case("near", 3.0, 3.09, 0.1))
    assert failing.verdict == "fails"
    assert failing.worst.name == "out"
    assert [row["holds"] for row in failing.rows()] == [True, False, True]


def test_of_a_claim_that_holds_the_case_nearest_to_failing_decides():
    assert claim(Case("far", 1.0, 1.0, 0.1), Case("near", 3.0, 3.09, 0.1)).worst.name == "near"


def test_a_correction_counts_where_the_printed_form_fails():
    cases = [Case("agrees", 1.0, 1.0, 0.1, corrected=1.0), Case("refutes", 2.0, 1.0, 0.1, corrected=1.0)]
    corrected = claim(*cases, correction="half of it")
    assert corrected.verdict == "holds with a correction"
    assert corrected.entry()["case"] == "refutes"
    assert (corrected.entry()["predicted"], corrected.entry()["corrected"]) == (2.0, 1.0)
    assert claim(cases[0], correction="half of it").verdict == "holds"
    assert claim(Case("neither", 2.0, 5.0, 0.1, corrected=1.0), correction="half of it").verdict == "fails"


def test_of_a_claim_without_expectation_every_verdict_is_as_expected():
    for measured in (1.0, 2.0):
        free = claim(Case("only", 1.0, measured, 0.1), expected=None)
        assert free.as_expected
        assert free.entry()["expected"] is None


def test_a_claim_without_a_case_did_not_run_and_is_expected_not_to():
    idle = claim()
    assert (idle.verdict, idle.expectation, idle.as_expected) == ("did not run", "did not run", True)
    assert idle.entry()["measured"] is None


def test_an_explained_failure_is_as_expected_and_an_unexplained_success_is_not():
    case = Case("only", 1.0, 2.0, 0.1)
    assert claim(case, expected="fails").as_expected
    assert not claim(case).as_expected
    assert not claim(Case("only", 1.0, 1.0, 0.1), expected="fails").as_expected


def test_entries_are_json_even_for_infinite_numbers():
    entry = claim(Case("only", math.inf, math.nan, 0.1)).entry()
    assert json.loads(json.dumps(entry, allow_nan=False))["verdict"] == "fails"


def test_the_table_names_each_claim_and_explains_what_does_not_hold(capsys):
    print_claims([claim(Case("only", 1.0, 2.0, 0.1), expected="fails", remark="for a reason")])
    shown = capsys.readouterr().out
    assert "id: one [fails] for a reason" in shown
