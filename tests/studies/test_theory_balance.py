"""Eqs. 3 to 9, Prop. 3.1 and Prop. A.4, by hand and by search; and whether the search would find a violation."""

import numpy as np
import pytest
from hypothesis import given, target
from hypothesis import settings as options
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.figure import Figure

from rankscope import factors
from rankscope.studies.theory import balance
from rankscope.studies.theory.balance.gap import BOUNDS, CLIMBS, climb, climbed_ratio, ratio_of
from rankscope.studies.theory.balance.norms import proposition_3_1
from rankscope.studies.theory.balance.pairs import balanced_pairs
from rankscope.studies.theory.settings import TheorySettings

pytestmark = pytest.mark.once


class Tables:
    """In place of a StudyWriter."""

    def __init__(self):
        self.rows = {}

    def table(self, name, rows):
        self.rows[name] = list(rows)


def sides(name, a, b):
    small, large = BOUNDS[name][-1](np.array([a], dtype=float), np.array([b], dtype=float))
    return small[0], large[0]


@pytest.mark.parametrize(
    ("name", "small", "large"),
    [
        ("prop-a.4.first-of-a", 10, 20),  # |15 − 25| and √16 · 5
        ("prop-a.4.first-of-b", 6, 12),  # |15 − 9| and √16 · 3
        ("prop-a.4.second", 2, 16),  # ½(25 + 9) − 15 and √16 · ½(5 + 3)
        ("prop-a.4.sharper", 2, 8),  # ½ · 16
        ("prop-a.4.order", 8, 16),
        ("prop-a.4.powers-stormer", 4, 16),  # (5 − 3)² and |25 − 9|
    ],
)
def test_sides_by_hand(name, small, large):
    assert sides(name, [[5]], [[3]]) == pytest.approx((small, large), rel=1e-14)


def test_where_the_bounds_are_attained():
    """B = 0: the sharper bound for any A, Prop. A.4 for A of rank one; for A = diag(3, 4) it is √25 · 7/2."""
    nothing = np.zeros((2, 2))
    assert sides("prop-a.4.sharper", np.diag([3, 4]), nothing) == pytest.approx((12.5, 12.5))
    assert sides("prop-a.4.second", np.diag([3, 0]), nothing) == pytest.approx((4.5, 4.5))
    assert sides("prop-a.4.second", np.diag([3, 4]), nothing) == pytest.approx((12.5, 17.5))


entries = st.floats(-1, 1).map(lambda x: x if abs(x) > 1e-60 else 0.0)  # the range that factors/ states
shapes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@st.composite
def pairs(draw):
    rows_a, rows_b, key_dim = draw(shapes)
    a = draw(hnp.arrays(np.float64, (1, rows_a, key_dim), elements=entries))
    b = draw(hnp.arrays(np.float64, (1, rows_b, key_dim), elements=entries))
    if factors.frobenius_bound(a, b)[0] < 1e-6:
        a[0, 0, 0] = 1.0
    return a, b


@pytest.mark.parametrize("name", BOUNDS)
def test_no_pair_violates_a_bound(name):
    @options(max_examples=60)
    @given(pairs())
    def search(pair):
        ratio = ratio_of(BOUNDS[name][-1], *pair)[0]
        target(ratio)
        assert ratio <= 1

    search()


@pytest.mark.parametrize("shape", CLIMBS)
def test_climbing_would_find_a_bound_that_is_a_little_too_small(shape):
    def too_small(a, b):
        return factors.nuclear_gap(a, b), 0.95 * factors.nuclear_gap_bound_sharp(a, b)

    assert climbed_ratio(too_small, shape, seed=0) > 1.04


def test_climb_reaches_the_top():
    point, top = climb(lambda points: 1 - np.square(points - [1.0, -2.0]).sum(axis=-1), np.zeros(2))
    np.testing.assert_allclose(point, [1, -2], atol=1e-5)
    assert top == pytest.approx(1, abs=1e-10)


def verdicts(claims):
    return {claim.id: claim.verdict for claim in claims}


def test_balanced_pairs_are_balanced_and_rebuilt():
    a, b = balanced_pairs(np.random.default_rng(0), (5, 3, 4), stddev=0.3, rank=2)
    assert np.abs(factors.imbalance(a, b)).max() < 1e-15
    assert set(verdicts(proposition_3_1({"pair": (a, b)})).values()) == {"holds"}


def test_pairs_out_of_balance_are_not_rebuilt():
    """A = 2I, B = I: ‖ABᵀ‖_* = 4 of ½(8 + 2) = 5, and √2 O is neither 2I nor I."""
    pair = np.array([2 * np.eye(2)]), np.array([np.eye(2)])
    rebuilt, tight = proposition_3_1({"pair": pair})
    assert rebuilt.verdict == tight.verdict == "fails"
    assert tight.worst.measured == pytest.approx(0.8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [{}, {"hidden_dim": 1, "key_dim": 3}, {"hidden_dim": 5, "key_dim": 5, "stddev": 0.01}, {"stddev": 2.0}]
)
def test_everything_holds(model):
    tables = Tables()
    claims, draw = balance.run(TheorySettings(model=model, seeds=[3]), tables)
    assert set(verdicts(claims).values()) == {"holds"}
    assert all(claim.cases for claim in claims)
    for row in tables.rows["balance_bounds"]:
        assert row["gap"] <= row["half_imbalance"] + 1e-13
        assert row["half_imbalance"] <= row["prop_a4"] + 1e-13
    axis = Figure().subplots()
    draw(axis)
    assert axis.get_xscale() == axis.get_yscale() == "log"
    assert axis.get_xlabel()
    assert axis.get_ylabel()
