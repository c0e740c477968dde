"""Prop. A.5 by hand and by search, and the training of chains on a real Keras model."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import given, target
from hypothesis import settings as options
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.figure import Figure

from rankscope import factors
from rankscope.studies.theory import chains
from rankscope.studies.theory.chains import bounds, descent, proof
from rankscope.studies.theory.settings import TheorySettings
from rankscope.training.precision import float64


class Tables:
    """In place of a StudyWriter."""

    def __init__(self):
        self.rows = {}

    def table(self, name, rows):
        self.rows[name] = list(rows)


def scalars(*values):
    return [np.array([[[float(value)]]]) for value in values]


def diagonals(*squares):
    """A_l² = diag(…)."""
    return [np.sqrt(np.array([np.diag(values)], dtype=float)) for values in squares]


# === Bounds ===


def test_printed_bound_by_hand():
    """1, 1, 0.1: |0.1^{2/3} − 0.01| = 0.205 and 0.1² e^{2/3} 3^{4/3} 0.99^{1/3} = 0.084, but ε = 0.99 > 1e-3/81."""
    small, large = bounds._printed(scalars(1, 1, 0.1))
    assert small[-1, 0] == pytest.approx(0.1 ** (2 / 3) - 0.01, rel=1e-14)
    assert large[-1, 0] == pytest.approx(0.01 * np.exp(2 / 3) * 3 ** (4 / 3) * 0.99 ** (1 / 3), rel=1e-14)
    assert small[-1, 0] > 2 * large[-1, 0]
    assert not factors.chain_bound_applies(scalars(1, 1, 0.1))


def test_printed_bounds_average_to_the_second_display():
    chain = bounds.random_chains(0, 3, 5, 2)
    np.testing.assert_allclose(bounds._printed(chain)[1].mean(axis=0), factors.chain_gap_bound(chain), rtol=1e-12)


def test_linear_bound_by_hand():
    """4, 2, 1: P = 8^{2/3} = 4, ‖Q‖ 12 and 3; |4 − 16|, |4 − 4|, |4 − 1| and the gap 3 against ⅔ (12 + 3)."""
    small, large = bounds._linear(scalars(4, 2, 1))
    np.testing.assert_allclose(small[:, 0], [12, 0, 3], atol=1e-13)
    assert large[0] == 15
    small, large = bounds._linear_average(scalars(4, 2, 1))
    assert (small[0], large[0]) == pytest.approx((3, 10))


def test_linear_bound_is_attained():
    """Squares 0 1 1 of one mode and 1 1 0 of the other: P = 0, the Q are diag(−1, 0) and diag(0, 1)."""
    chain = diagonals([0, 1], [1, 1], [1, 0])
    small, large = bounds._linear(chain)
    assert small[1, 0] == large[0] == pytest.approx(2)
    small, large = bounds._linear_average(chain)
    assert small[0] == large[0] == pytest.approx(4 / 3)


def test_repaired_bound_by_hand():
    """1, 2: P = 2, ε = 3: |2 − 1| against (1 + √12)² − 1, |2 − 4| against (2 + √12)² − 4."""
    small, large = bounds._repaired(scalars(1, 2))
    np.testing.assert_allclose(small[:, 0], [1, 2])
    np.testing.assert_allclose(large[:, 0], [(1 + 12**0.5) ** 2 - 1, (2 + 12**0.5) ** 2 - 4])


def test_scaling_to_the_assumption():
    """1, 1, 1.1 misses it: 0.21 against 1/81. Scaled by 81 · 0.21 it just meets it; L = 2 cannot be scaled to it."""
    chain = scalars(1, 1, 1.1)
    scaled = [17.01 * factor for factor in chain]
    small, large = bounds._printed(scaled)
    assert bounds._under_assumption(bounds._printed, chain)[0] == pytest.approx((small / large).max(), rel=1e-6)
    assert factors.chain_bound_applies([1.001 * factor for factor in scaled])
    assert not factors.chain_bound_applies([0.999 * factor for factor in scaled])
    assert (
        bounds._under_assumption(bounds._printed, scalars(1, 3))[0] < bounds._ratio(bounds._printed, scalars(1, 3))[0]
    )


@st.composite
def any_chain(draw):
    depth, inner, outer = draw(st.integers(2, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    widths = [outer, *[inner] * (depth - 1), outer]
    chain = [
        draw(hnp.arrays(np.float64, (1, *shape), elements=st.floats(-1, 1).map(lambda x: x if abs(x) > 1e-12 else 0.0)))
        for shape in pairwise(widths)
    ]
    if max(np.abs(factor).max() for factor in chain) < 1e-3:
        chain[0][0, 0, 0] = 1.0
    return chain


@pytest.mark.slow
@pytest.mark.parametrize("sides", [bounds._linear, bounds._linear_average, bounds._repaired])
def test_no_chain_violates_a_bound_of_ours(sides):
    @options(max_examples=100)
    @given(any_chain())
    def search(chain):
        ratio = bounds._ratio(sides, chain)[0]
        target(ratio)
        assert ratio <= 1

    search()


@pytest.mark.parametrize("sides", [bounds._linear, bounds._linear_average])
@pytest.mark.parametrize("depth", bounds.DEPTHS)
def test_climbing_would_find_a_bound_that_is_a_little_too_small(sides, depth):
    def too_small(chain):
        small, large = sides(chain)
        return small, 0.9 * large

    assert bounds.climbed(lambda chain: bounds._ratio(too_small, chain), depth, inner=2, seed=0) > 1.05


def test_printed_bound_fails_without_its_assumption_from_three_matrices_on():
    claim = bounds.without_assumption([0])
    assert claim.verdict == claim.expected == "fails"
    held = {case.name[:3]: [] for case in claim.cases if case.name.startswith("L=")}
    for case in claim.cases:
        if case.name.startswith("L="):
            held[case.name[:3]].append(claim.within(case))
    assert held == {"L=2": [True, True], "L=3": [False, False], "L=4": [False, False]}


def test_shape_of_the_last_matrix():
    claim = bounds.shape(8, 4)
    assert claim.verdict == claim.expected == "holds with a correction"
    assert (claim.worst.predicted, claim.worst.measured) == (8, 4)


def test_steps_of_the_proof():
    trials = {f"L={depth}": bounds.random_chains(0, depth, 4, 2) for depth in (2, 3)}
    claims = {claim.id: claim for claim in proof.steps(trials, [0])}
    assert all(claim.as_expected for claim in claims.values())
    assert [case.measured for case in claims["a.5.quasi-norm-triangle"].cases] == pytest.approx([2, 2**1.5, 4])
    assert [case.predicted for case in claims["a.5.quasi-norm-triangle"].cases] == [2, 2, 2]
    # 0.1 against 0.1^{L/2}, for r = 1.
    assert [case.predicted for case in claims["a.5.schatten-nuclear"].cases[::2]] == pytest.approx(
        [0.1, 0.1**1.5, 0.01]
    )


def test_alignment_by_hand():
    """√(A_lA_lᵀ) of 2, 5, −3 are 2, 5, 3: Δ is 0, 3, 1, and ε = 21."""
    assert proof._alignment(scalars(2, 5, -3))[0] == pytest.approx(3 / 21**0.5)


# === Rest points ===


@pytest.mark.parametrize("l2", [0.0, 0.1, 0.7, 1.0, 2.0])
def test_rest_point_of_two_matrices_is_shrinkage(l2):
    assert descent.rest_point(1.0, l2, depth=2) == pytest.approx(factors.shrinkage([1.0], l2)[0], abs=1e-15)


@pytest.mark.parametrize("depth", [3, 4, 7])
def test_rest_point_is_a_minimum(depth):
    def objective(sigma):
        return 0.5 * (sigma - 2.0) ** 2 + 0.5 * 0.3 * depth * sigma ** (2 / depth)

    sigma = descent.rest_point(2.0, 0.3, depth)
    assert 0 < sigma < 2
    assert objective(sigma) < min(objective(0.99 * sigma), objective(1.01 * sigma))


def test_rest_point_jumps_to_zero():
    """L = 4: s = σ + λ/√σ is smallest, 3 (λ/2)^{2/3}, at σ = (λ/2)^{2/3}: 1 for λ = 2 (1/3)^{3/2} = 0.3849."""
    assert descent.rest_point(1.0, 0.384, depth=4) > 1 / 3
    assert descent.rest_point(1.0, 0.386, depth=4) == 0


# === Training ===


@pytest.fixture
def every_step(monkeypatch):
    """A few steps, read one by one."""
    monkeypatch.setattr(descent, "STEPS", 6)
    monkeypatch.setattr(descent, "EVERY", 1)
    with float64():
        return descent.descend(TheorySettings(seeds=[0, 1]))


def test_a_step_shrinks_each_imbalance_by_two_eta_lambda(every_step):
    """Q_l' = (1 − 2ηλ)Q_l + η²(g_lᵀg_l − g_{l+1}g_{l+1}ᵀ) to the last digit, g the gradients; whatever L."""
    assert [run.depth for run in every_step] == [2, 3, 4]
    for run in every_step:
        eta = run.learning_rate
        gradients = [(factor[:-1] - factor[1:]) / eta for factor in run.chain]
        stirred = factors.chain_imbalances(gradients)
        for q, source in zip(factors.chain_imbalances(run.chain), stirred, strict=True):
            law = (1 - 2 * eta * run.l2[:, None, None]) * q[:-1] + eta**2 * source
            np.testing.assert_allclose(q[1:], law, rtol=0, atol=1e-14)


def test_what_is_trained_is_the_loss_with_its_penalty(every_step):
    """A₁' = A₁ − η((W − S)(A₂ … A_L)ᵀ + λA₁), and descent lowers the loss by η/2 ‖g‖² at least."""
    for run in every_step:
        first, *others = run.chain
        rest = others[0]
        for factor in others[1:]:
            rest = rest @ factor
        slope = (run.product - np.diag(run.target)) @ rest.swapaxes(-1, -2) + run.l2[:, None, None] * first
        np.testing.assert_allclose(first[1:], (first - run.learning_rate * slope)[:-1], rtol=0, atol=1e-15)
        squares = sum(np.square(np.diff(factor, axis=0)).sum(axis=(-2, -1)) for factor in run.chain)
        assert (run.loss[:-1] - run.loss[1:] >= 0.5 * squares / run.learning_rate).all()


def test_replicas_have_their_own_seed_and_penalty(every_step):
    run = every_step[0]
    assert list(zip(run.l2.tolist(), run.seeds.tolist(), strict=True)) == [
        (l2, seed) for l2 in (0.1, 0.3, 0.5) for seed in (0, 1)
    ]
    start = run.chain[0][0]  # (R, 5, 4)
    np.testing.assert_array_equal(start[0], start[2])
    assert not np.array_equal(start[0], start[1])
    assert not np.array_equal(run.chain[0][1][0], run.chain[0][1][2])


def test_floatx_is_as_before(every_step):
    assert keras.config.floatx() == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("model", [{}, {"hidden_dim": 3, "key_dim": 8, "stddev": 2.0}])
def test_everything_is_as_expected(model):
    tables = Tables()
    with float64():
        claims, draw = chains.run(TheorySettings(model=model, seeds=[0]), tables)
    verdicts = {claim.id: claim.verdict for claim in claims}
    assert {claim.id for claim in claims if not claim.as_expected} == set()
    assert verdicts["a.5.balance"] == verdicts["a.5.time-constant"] == verdicts["a.5.rest-point"] == "holds"
    assert {row["depth"] for row in tables.rows["chain_balance"]} == {2, 3, 4}
    axis = Figure().subplots()
    draw(axis)
    assert axis.get_yscale() == "log"
    assert axis.get_xlabel()
    assert axis.get_ylabel()
