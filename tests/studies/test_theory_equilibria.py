"""Section 3.4 and appendix B: equilibria and their stability by hand, and training that ends in them."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from rankscope.studies.study import StudyWriter
from rankscope.studies.theory import equilibria
from rankscope.studies.theory.equilibria.appendix_b import EQUATIONS, Point, equation_claims, solve
from rankscope.studies.theory.equilibria.stability import Equilibrium, count_above, stability
from rankscope.studies.theory.equilibria.training import _slowest, single_matrix_claim, train
from rankscope.studies.theory.settings import MatrixSettings, PenaltySettings, TargetSettings, TheorySettings
from rankscope.studies.verdict import CORRECTED, HOLDS
from rankscope.training.precision import float64

TWO = np.array([1.0, 0.5])


def settings(singular_values, l2, key_dim=2, seeds=(1,)):
    return TheorySettings(
        model=MatrixSettings(key_dim=key_dim),
        data=TargetSettings(singular_values=singular_values),
        optimizer=PenaltySettings(l2=l2),
        seeds=list(seeds),
    )


# === Stability ===


def test_jacobian_of_one_number():
    """ȧ = (s − ab)b − λa with s = 1, λ = ¼: at 0 the rates are −λ ± s; at a = b = √¾ they are −2(s − λ) and −2λ."""
    one = np.array([1.0])
    dropped, kept = Equilibrium(one, 0.25, (), 1), Equilibrium(one, 0.25, (0,), 0)
    np.testing.assert_allclose(dropped.jacobian, [[-0.25, 1], [1, -0.25]])
    np.testing.assert_allclose(dropped.rates, [-1.25, 0.75])
    np.testing.assert_allclose(kept.rates, [-1.5, -0.5])
    assert (dropped.stable, kept.stable) == (False, True)


def test_with_no_unit_free_a_mode_has_to_beat_the_one_that_is_kept():
    """One unit: 1 in place of ½ grows at 1 − ½ and ½ in place of 1 at ½ − 1; with a free one at ½ − λ."""
    weaker, stronger = Equilibrium(TWO, 0.1, (1,), 0), Equilibrium(TWO, 0.1, (0,), 0)
    assert weaker.growth(0) == pytest.approx(0.5)
    assert stronger.growth(1) == pytest.approx(-0.5)
    assert (weaker.stable, stronger.stable) == (False, True)
    assert Equilibrium(TWO, 0.1, (0,), 1).growth(1) == pytest.approx(0.4)
    assert not Equilibrium(TWO, 0.1, (0,), 1).stable


@pytest.mark.parametrize(("kept", "free"), [((), 1), ((1,), 0), ((0, 2), 0), ((0, 2), 2), ((0, 1, 2), 1)])
def test_closed_form_of_all_rates(kept, free):
    point = Equilibrium(np.array([3.0, 2.0, 1.5, 0.25]), 0.5, kept, free)
    assert len(point.spectrum()) == 2 * 4 * (len(kept) + free)
    np.testing.assert_allclose(point.rates, point.spectrum(), atol=1e-13)
    np.testing.assert_allclose(point.problem.gradients(point.factor, point.factor), 0, atol=1e-14)


def test_rotations_are_not_the_fastest_perturbation():
    """Both kept in two units: rates −2σ = −1.8, −0.8, −2λ = −0.2 four times, … and the rotation's 0."""
    point = Equilibrium(TWO, 0.1, (0, 1), 0)
    assert point.rates[-1] == pytest.approx(0, abs=1e-14)
    assert point.fastest == pytest.approx(-0.2)


def test_zeros_that_the_printed_condition_does_not_name():
    """s = 1, ½: with one unit, keeping ½ leaves a_1 = 0 unstable although d_2 = 1 is below the number of s > λ."""
    claims, points = stability(TWO, [0.1])
    claims = {claim.id: claim for claim in claims}
    assert all(claim.verdict == HOLDS for claim in claims.values())
    assert "1 of 2 such zeros are unstable" in claims["section-3.4.unstable-zero"].remark
    assert len(points) == 1 + 3 * 2  # nothing kept needs a free unit


def test_ties_with_lambda_are_not_above_it():
    assert count_above(np.array([0.1 + 0.2]), 0.3) == 0
    claims, points = stability(np.array([1.0, 0.1 + 0.2]), [0.3])
    assert {point.kept for point in points} == {(), (0,)}
    assert all(claim.as_expected for claim in claims)


def test_many_modes_are_sampled():
    claims, points = stability(np.arange(9, 0, -1.0), [0.5])
    assert 60 < len({point.kept for point in points}) <= 100
    assert all(claim.verdict == HOLDS for claim in claims)


# === Appendix B ===


def test_equations_at_an_equilibrium_by_hand():
    """s = (1, ½), λ = ¼: A = B = diag(√¾, ½) in any basis of hidden units."""
    a = np.diag(np.sqrt(TWO - 0.25)) @ [[0.6, 0.8], [-0.8, 0.6]]
    point = Point("", TWO, 0.25, a, a)
    assert point.residual < 1e-15
    for name, _, _, left_over in EQUATIONS:
        np.testing.assert_allclose(left_over(a, a, np.diag(TWO), 0.25), 0, atol=1e-15, err_msg=name)
    claims = {claim.id: claim for claim in equation_claims([point])}
    assert claims["eq-17"].verdict == claims["eq-17"].expected == CORRECTED
    assert claims["eq-17"].worst.measured == pytest.approx(0.75)
    assert claims["eq-18"].source == "section 3.4, eq. 18"
    assert claims["appendix-b.eq-41"].source == "appendix B, eq. 41"


def test_equations_notice_what_is_no_equilibrium():
    a, b = np.diag([1.0, 0.5]), np.diag([0.9, 0.7])
    a[0, 1] = 0.1
    for name, _, _, left_over in EQUATIONS:
        assert np.abs(left_over(a, b, np.diag(TWO), 0.25)).max() > 1e-3, name


def test_distance_from_an_equilibrium_covers_errors():
    """λ = s: the residual of a = b = x is √2 x³, and x away is the equilibrium."""
    for x in (1e-2, 1e-4):
        a = np.array([[x]])
        assert x < Point("", np.array([0.5]), 0.5, a, a).distance < 5 * x


@pytest.mark.parametrize("start", range(4))
def test_solve_finds_equilibria(start):
    rng = np.random.default_rng(start)
    a, b = solve(np.diag(TWO), 0.1, tuple(rng.normal(size=(2, 2, 2))))
    np.testing.assert_allclose(a, b, atol=1e-12)
    for square, s in zip(np.sum(a**2, axis=1), TWO, strict=True):
        assert min(square, abs(square - (s - 0.1))) < 1e-12


# === Training ===


def test_slowest_rate_by_hand():
    """2λ = 0.2; |s − λ| = 0.9, 0.4; one unit: 1 − ½. A mode with s = λ is left to its 1/t."""
    assert _slowest(TWO, 0.1, 2) == pytest.approx(0.2)
    assert _slowest(TWO, 0.4, 2) == pytest.approx(0.1)
    assert _slowest(np.array([1.0, 0.9]), 0.2, 1) == pytest.approx(0.1)
    assert _slowest(TWO, 0.5, 2) == 0.5


def test_a_single_matrix_keeps_its_rank():
    with float64():
        claim = single_matrix_claim(settings([1.0, 0.5], [0.1, 3.0]), TWO)
    assert claim.verdict == HOLDS
    assert [case.measured for case in claim.cases[1::2]] == [2, 2]


@pytest.mark.slow
def test_training_ends_in_the_stable_equilibrium():
    with float64():
        runs = train(settings([1.0, 0.5], [0.1, 0.5], key_dim=1), TWO)
    found = {(run.point.l2, run.units): np.linalg.norm(run.point.a @ run.point.b.T, "nuc") for run in runs}
    assert found[0.1, 1] == pytest.approx(0.9, abs=1e-12)
    assert found[0.1, 2] == pytest.approx(0.9 + 0.4, abs=1e-12)
    critical = next(run.critical for run in runs if (run.point.l2, run.units) == (0.5, 2))
    assert 0.5 < found[0.5, 2] <= 0.5 + critical < 0.501


@pytest.mark.slow
@pytest.mark.parametrize(
    ("singular_values", "l2", "key_dim"),
    [([0.2, 0.6, 1.0], [0.3, 0.6], 2), ([1.0, 1.0, 0.5], [0.2], 5), ([0.4], [1.0], 1), ([100.0, 1.0], [0.1], 2)],
)
def test_claims_come_out_as_expected(tmp_path, singular_values, l2, key_dim):
    with float64():
        found, draw = equilibria.run(settings(singular_values, l2, key_dim), StudyWriter(tmp_path))
    assert [claim.id for claim in found if not claim.as_expected] == []
    assert all(claim.cases or claim.remark for claim in found)
    assert len({claim.id for claim in found}) == len(found)
    draw(Figure().subplots())
