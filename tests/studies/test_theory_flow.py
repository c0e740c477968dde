"""Lemma A.1 and Theorem 3.4: the flow and gradient descent on one number, by hand."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from rankscope.factors import imbalance
from rankscope.studies.study import StudyWriter
from rankscope.studies.theory import flow
from rankscope.studies.theory.flow import continuous, discrete
from rankscope.studies.theory.flow.path import Path, integrate
from rankscope.studies.theory.problems import Problem, descend, random_factors, random_problem
from rankscope.studies.theory.settings import MatrixSettings, PenaltySettings, TheorySettings
from rankscope.studies.verdict import CORRECTED, HOLDS
from rankscope.training.precision import float64


def one_number(l2=0.5, **changes):
    return Problem("squared", np.array([[1.0]]), l2, **changes)


def start(a, b):
    return np.array([[float(a)]]), np.array([[float(b)]])


def test_without_a_loss_the_flow_is_exponential():
    """τȧ = −λa: with λ = ½ and τ = 2 until t = 4τ/λ = 16, where a = e^{−4} of its start and Q = 3e^{−8}."""
    path = integrate(one_number(weights=0.0), start(2, 1), tau=2.0, name="")
    assert path.times[-1] == 16
    np.testing.assert_allclose(path.a[:, 0, 0], 2 * np.exp(-path.times / 4), rtol=1e-10)
    assert path.law[-1, 0, 0] == pytest.approx(3 * np.exp(-8))


def test_a_loss_does_not_change_the_law():
    path = integrate(random_problem("Cauchy", 3, 0.3, 0), random_factors(0, 3, 2, 0.5), tau=2.0, name="")
    assert path.error < 1e-9
    assert np.abs(path.a[-1] - path.a[0]).max() > 0.1
    np.testing.assert_allclose(path.imbalance, path.law, atol=path.error)


def test_the_printed_form_lacks_t():
    """Q from 4 − 1 = 3 until t = 8: 3e^{−8} as corrected; 3e^{−1/τ}, λ being ½, as printed."""
    (claim,) = continuous.lemma([integrate(one_number(), start(2, 1), tau=1.0, name="")])
    last = claim.cases[0]
    assert last.predicted == pytest.approx(3 * np.exp(-1))
    assert last.corrected == pytest.approx(3 * np.exp(-8))
    assert last.measured == pytest.approx(last.corrected, abs=last.tolerance)
    assert claim.verdict == CORRECTED


def test_gap_of_one_number_falls_at_four_lambda():
    """½(a − b)² = ½Q²/(a + b)², and a + b stays: a slope of 4λ/τ, above the 2λ/τ that ½|Q| grants."""
    paper, sharp, bounded = continuous.theorem([integrate(one_number(), start(1, 0.5), tau=1.0, name="")])
    assert [claim.verdict for claim in (paper, sharp, bounded)] == [HOLDS] * 3
    assert "Fitted late rates are 4 to 4 λ/τ" in paper.remark
    assert (paper.cases[0].predicted, sharp.cases[0].predicted) == (1, 2)
    # λF ≤ L_L2 = ½(½ − 1)² + ¼(1 + ¼).
    assert bounded.cases[0].predicted == pytest.approx(2 * (0.125 + 0.3125))


def test_exact_law_of_a_step_by_hand():
    """½(ab − 1)² + ¼(a² + b²) at a = 2, b = 1: G = 1, steps to 2 − η(1 + 1) and 1 − η(2 + ½); E = 1 − 4."""
    with float64():
        a, b = descend([one_number()], [0.25], [start(2, 1)], steps=1, every=1)
    assert (a[1, 0, 0, 0], b[1, 0, 0, 0]) == (1.5, 0.375)
    path = Path("", one_number(), 1.0, np.array([0.0, 0.25]), a[:, 0], b[:, 0])
    drive = discrete._drive(path)[0, 0, 0]
    assert drive == -3
    assert imbalance(a[1, 0], b[1, 0])[0, 0] == (1 - 0.125) ** 2 * 3 + 0.25**2 * drive


def test_rate_is_judged_where_the_loss_cannot_have_made_half_of_q():
    """η = 1, λ = ½: a step leaves ¼ of Q, and E adds 1/16: that is less than half of ¼, but later most of 1/16."""
    squares = np.array([1.0, 0.3125, 0.140625])
    path = Path("", one_number(), 1.0, np.arange(3.0), np.sqrt(squares).reshape(3, 1, 1), np.zeros((3, 1, 1)))
    (case,) = discrete._rate(path, 0.25, np.full(3, 0.0625))
    assert case.name.endswith(" 1 steps")
    assert case.measured == pytest.approx(-np.log(0.3125))
    # −2 ln(1 − ηλ) for 2ηλ = 1, and a Q between ¾ and 5/4 of what it would be.
    assert case.tolerance == pytest.approx(-2 * np.log(0.5) - np.log(0.75) - 1)


@pytest.mark.slow
@pytest.mark.parametrize(("hidden_dim", "key_dim", "stddev", "l2"), [(4, 2, 0.3, [0.3]), (2, 1, 1.0, [0.01, 5.0])])
def test_claims_come_out_as_expected(tmp_path, hidden_dim, key_dim, stddev, l2):
    settings = TheorySettings(
        model=MatrixSettings(hidden_dim=hidden_dim, key_dim=key_dim, stddev=stddev),
        optimizer=PenaltySettings(l2=l2),
        seeds=[1],
    )
    with float64():
        found, draw = flow.run(settings, StudyWriter(tmp_path))
    assert [claim.id for claim in found if not claim.as_expected] == []
    assert all(claim.cases for claim in found)
    assert (tmp_path / "records" / "flow.csv").exists()
    draw(Figure().subplots())
