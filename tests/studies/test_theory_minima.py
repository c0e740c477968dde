"""Lemma 3.2 and Theorem 3.3: losses and their derivatives, training side by side, and stationary points by hand."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from rankscope.factors import imbalance
from rankscope.studies.study import StudyWriter
from rankscope.studies.theory import minima
from rankscope.studies.theory.minima import claims
from rankscope.studies.theory.minima.stationary import Rest, balanced_factors, thresholded_minimum
from rankscope.studies.theory.problems import (
    ENTRY_LOSSES,
    LOSSES,
    Problem,
    descend,
    random_factors,
    random_problem,
    train_kernels,
)
from rankscope.studies.theory.settings import MatrixSettings, PenaltySettings, TheorySettings
from rankscope.training.precision import float64


def scalar(l2=0.25, target=1.0, **changes):
    """½(ab − 1)² + ⅛(a² + b²)."""
    return Problem("squared", np.array([[target]]), l2, **changes)


def at(problem, a, b):
    return Rest("squared", 0, problem, np.atleast_2d(a).astype(float), np.atleast_2d(b).astype(float))


# === Problems ===


@pytest.mark.parametrize("loss", ENTRY_LOSSES)
def test_derivatives_are_those_of_the_loss(loss):
    entry, step = ENTRY_LOSSES[loss], 1e-5
    w, y = np.linspace(-3, 3, 13), np.where(np.arange(13) % 3, 1.0, -1.0)
    slope = (entry.value(np, w + step, y) - entry.value(np, w - step, y)) / (2 * step)
    bend = (entry.slope(w + step, y) - entry.slope(w - step, y)) / (2 * step)
    np.testing.assert_allclose(entry.slope(w, y), slope, atol=1e-9)
    np.testing.assert_allclose(entry.bend(w, y), bend, atol=1e-9)
    assert np.abs(entry.bend(np.linspace(-9, 9, 1801), 1.0)).max() == pytest.approx(entry.steepest, rel=1e-4)


def test_hessian_by_hand():
    """½(ab − 1)² + ⅛(a² + b²) at a = 2, b = 3: [[b² + ¼, 2ab − 1], [2ab − 1, a² + ¼]]."""
    np.testing.assert_allclose(scalar().hessian(np.array([[2.0]]), np.array([[3.0]])), [[9.25, 11], [11, 4.25]])


@pytest.mark.parametrize("loss", LOSSES)
def test_hessian_is_the_gradients_derivative(loss):
    problem = replace(random_problem(loss, 4, 0.3, 0), inputs=np.random.default_rng(1).normal(size=(4, 4)))
    a, b = random_factors(0, 4, 2, 1.0)
    da, db = random_factors(1, 4, 2, 1e-5)
    ahead, behind = (np.ravel(problem.gradients(a + sign * da, b + sign * db)) for sign in (1, -1))
    np.testing.assert_allclose(2 * problem.hessian(a, b) @ np.ravel([da, db]), ahead - behind, atol=1e-12)
    assert np.linalg.eigvalsh(problem.hessian(a, b))[-1] <= problem.sharpness(a, b)


@pytest.mark.parametrize("l2", [1e-3, 0.3, 100.0])
@pytest.mark.parametrize("loss", LOSSES)
def test_random_problems_keep_some_singular_values_and_not_all(loss, l2):
    pull = np.linalg.norm(random_problem(loss, 8, l2, 3).slope(np.zeros((8, 8))), 2)
    assert 0.05 - 1e-12 <= l2 / pull <= 0.6 + 1e-12


# === Training side by side ===


def test_each_replica_descends_its_own_problem_at_its_own_rate():
    problems, rates = [random_problem(loss, 4, 0.3, 1) for loss in LOSSES], [0.1, 0.2, 0.3, 0.4, 0.5]
    starts = [random_factors(seed, 4, 2, 0.5) for seed in range(5)]
    with float64():
        a, b = descend(problems, rates, starts, steps=2, every=1)
    for index, (problem, rate, (x, y)) in enumerate(zip(problems, rates, starts, strict=True)):
        for step in range(3):
            np.testing.assert_allclose(a[step, index], x, atol=1e-14)
            np.testing.assert_allclose(b[step, index], y, atol=1e-14)
            by_x, by_y = problem.gradients(x, y)
            x, y = x - rate * by_x, y - rate * by_y


def test_columns_of_zeros_stay_zero():
    start = tuple(factor * [1.0, 0.0] for factor in random_factors(0, 3, 2, 0.5))
    with float64():
        a, b = descend([random_problem("log-cosh", 3, 0.3, 0)], [0.1], [start], steps=5, every=5, momentum=0.9)
    assert not a[-1, 0, :, 1].any()
    assert not b[-1, 0, :, 1].any()
    assert a[-1, 0, :, 0].all()


def test_a_single_kernel_descends_too():
    """½(w − 1)² + ⅛w² from 0 at η = ½: ½, then ½ − ½(−½ + ⅛) = 11/16."""
    with float64():
        (kernel,) = train_kernels([scalar()], [0.5], [np.zeros((1, 1, 1))], steps=2, every=1)
    assert kernel.ravel().tolist() == [0, 0.5, 0.6875]


# === Stationary points ===


@pytest.mark.parametrize("loss", LOSSES)
def test_lemma_3_2_holds_at_every_point_with_gradients(loss):
    """λ(AᵀA − BᵀB) = Aᵀ∇_A − ∇_Bᵀ B, whatever the loss."""
    problem, (a, b) = random_problem(loss, 5, 0.3, 0), random_factors(0, 5, 3, 1.0)
    by_a, by_b = problem.gradients(a, b)
    np.testing.assert_allclose(problem.l2 * imbalance(a, b), a.T @ by_a - by_b.T @ b, atol=1e-13)
    assert np.linalg.norm(imbalance(a, b)) <= at(problem, a, b).imbalance_bound()


def test_minimum_of_one_number_by_hand():
    """σ = s − λ = ¾: G = λ exactly, curvatures 2(s − λ) = 3/2 and 2λ = ½; from 0 they are λ ± s."""
    root = np.sqrt(0.75)
    minimum, saddle = at(scalar(), root, root), at(scalar(), 0, 0)
    assert (minimum.rank, saddle.rank) == (1, 0)
    assert minimum.pull == pytest.approx(1)
    assert saddle.pull == 4
    assert minimum.at_rest
    assert saddle.at_rest
    np.testing.assert_allclose(minimum.curvatures(), [0.5, 1.5])
    np.testing.assert_allclose(saddle.curvatures(), [-0.75, 1.25])
    assert minimum.perturbed()[0] > 0 > saddle.curvatures().min()
    assert not at(scalar(), 1, 1).at_rest


def test_rotations_of_columns_are_no_curvatures():
    """Two columns and rank 1: of 8 eigenvalues one is that of the rotation."""
    problem = Problem("squared", np.diag([1.0, 0.1]), 0.25)
    a = np.array([[np.sqrt(0.75), 0], [0, 0]]) @ [[0.6, 0.8], [-0.8, 0.6]]
    curvatures = at(problem, a, a).curvatures()
    np.testing.assert_allclose(np.sort(curvatures), [0.15, 0.35, 0.5, 0.5, 0.9, 1.1, 1.5], atol=1e-12)


def test_thresholding_by_hand():
    """[[0, 2], [1, 0]] has the singular values 2 and 1; half of each is taken."""
    w = thresholded_minimum(Problem("squared", np.array([[0.0, 2.0], [1.0, 0.0]]), 0.5))
    np.testing.assert_allclose(w, [[0, 1.5], [0.5, 0]], atol=1e-12)


def test_thresholding_satisfies_the_optimality_condition():
    """G = λUVᵀ + Z with ‖Z‖ ≤ λ, Z orthogonal to U and V."""
    problem = random_problem("log-cosh", 6, 0.5, 0)
    w = thresholded_minimum(problem)
    u, sigma, v = np.linalg.svd(w)
    rank = int((sigma > 1e-9).sum())
    assert 0 < rank < 6
    inside = u.T @ -problem.slope(w) @ v.T
    np.testing.assert_allclose(inside[:rank, :rank], 0.5 * np.eye(rank), atol=1e-10)
    np.testing.assert_allclose(inside[:rank, rank:], 0, atol=1e-10)
    assert np.linalg.norm(inside[rank:, rank:], 2) <= 0.5


def test_balanced_factors_are_balanced():
    w = np.random.default_rng(0).normal(size=(3, 3))
    a, b = balanced_factors(w, 5)
    assert a.shape == (3, 5)
    np.testing.assert_allclose(a @ b.T, w, atol=1e-14)
    np.testing.assert_allclose(imbalance(a, b), 0, atol=1e-14)


# === Claims ===


def test_the_abstracts_penalty_takes_twice_as_much():
    """¼(a² + b²) is the abstract's penalty with λ = ¼: it takes ½ from 1, not ¼."""
    case = claims._threshold(at(scalar(l2=0.5), np.sqrt(0.5), np.sqrt(0.5)))
    assert (case.predicted, case.corrected) == (0.25, 0.5)
    assert case.measured == pytest.approx(0.5, rel=1e-14)


def test_factors_out_of_balance_cost_more():
    """One column, R = ½: λ(¼σ + 4σ)/2 − λσ with λ = ¼ and σ = ¾, which is the bound itself."""
    case = claims._unbalanced(at(scalar(), np.sqrt(0.75), np.sqrt(0.75)))
    assert case.measured == pytest.approx(0.25 * 0.75 * (4.25 / 2 - 1))
    assert case.predicted == pytest.approx(case.measured)


def test_too_few_columns_cost_more():
    """diag(2, 1) and λ = ¼: without the second column L_* is ½ in place of ¼ − 1/32, by (1 − λ)²/2."""
    problem = Problem("squared", np.diag([2.0, 1.0]), 0.25)
    few, enough = (at(problem, *balanced_factors(thresholded_minimum(problem), columns)) for columns in (1, 2))
    case = claims._above(few, enough)
    assert case.measured == pytest.approx(0.75**2 / 2)
    assert case.predicted == pytest.approx(case.measured)


@pytest.mark.slow
@pytest.mark.parametrize(("hidden_dim", "key_dim", "l2"), [(4, 2, [0.3]), (2, 5, [0.001, 40.0])])
def test_claims_come_out_as_expected(tmp_path, hidden_dim, key_dim, l2):
    settings = TheorySettings(
        model=MatrixSettings(hidden_dim=hidden_dim, key_dim=key_dim), optimizer=PenaltySettings(l2=l2), seeds=[1]
    )
    with float64():
        found, draw = minima.run(settings, StudyWriter(tmp_path))
    assert [claim.id for claim in found if not claim.as_expected] == []
    assert len({claim.id for claim in found}) == len(found)
    assert (tmp_path / "records" / "minima.csv").exists()
    draw(Figure().subplots())
