"""The nuclear gap between its bounds."""

import re

import numpy as np
import pytest
from any_pair import factors
from hypothesis import example, given, settings

from rankscope.factors import (
    frobenius_bound,
    nuclear_gap,
    nuclear_gap_bound,
    nuclear_gap_bound_frobenius,
    nuclear_gap_bound_sharp,
    nuclear_gap_lower_bound,
)

laws = settings(deadline=None, derandomize=True, max_examples=100)


def test_bounds_by_hand():
    a, b = [[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    # Q = diag(3, −4), ‖A‖_F² = 5, ‖B‖_F² = 6
    assert nuclear_gap_bound_sharp(a, b) == 3.5
    assert nuclear_gap_bound_frobenius(a, b) == pytest.approx(np.sqrt(7) * (np.sqrt(5) + np.sqrt(6)) / 2, rel=1e-14)


@laws
@given(factors())
@example((np.array([[2e-60]]), np.array([[0.0]])))  # whose fourth powers are near the end of float64
def test_bounds_are_ordered(pair):
    """0 ≤ the converse ≤ gap ≤ ½‖Q‖_* ≤ with Frobenius norms ≤ Prop. A.4.

    Gap and Q are differences, rounded at the scale of their terms.
    """
    a, b = pair
    rounding = 1e-14 * frobenius_bound(a, b)
    ladder = [0.0, nuclear_gap_lower_bound(a, b), nuclear_gap(a, b)]
    ladder += [bound(a, b) for bound in (nuclear_gap_bound_sharp, nuclear_gap_bound_frobenius, nuclear_gap_bound)]
    assert np.all(np.diff(ladder) >= -rounding)


def test_sharp_bound_is_attained_by_a_zero_factor():
    a = np.random.default_rng(4).standard_normal((8, 3))
    assert nuclear_gap_bound_sharp(a, np.zeros((5, 3))) == pytest.approx(nuclear_gap(a, np.zeros((5, 3))), rel=1e-14)


def test_bounds_keep_leading_axes():
    a, b = np.random.default_rng(5).standard_normal((2, 4, 6, 3))
    for bound in (nuclear_gap_bound_sharp, nuclear_gap_bound_frobenius):
        np.testing.assert_allclose(bound(a, b), [bound(*pair) for pair in zip(a, b, strict=True)], rtol=1e-14)


def test_sharp_bound_falls_with_the_imbalance_and_the_bound_of_the_paper_with_its_root():
    """(1 + δ, 1) has the gap ½δ², ½‖Q‖_* = δ and Prop. A.4's √(2δ): 5e-13, 1e-6 and 1.4e-3 at δ = 1e-6."""
    a, b = [[1 + 1e-6]], [[1.0]]
    assert nuclear_gap(a, b) == pytest.approx(0.5e-12, abs=1e-15)
    assert nuclear_gap_bound_sharp(a, b) == pytest.approx(1e-6, rel=1e-6)
    assert nuclear_gap_bound(a, b) == pytest.approx(np.sqrt(2e-6), rel=1e-6)


def test_lower_bound_is_attained_by_one_column_and_zero_for_zero_factors():
    a, b = np.random.default_rng(5).standard_normal((2, 6, 1))
    assert nuclear_gap_lower_bound(a, b) == pytest.approx(nuclear_gap(a, b), rel=1e-12)
    assert nuclear_gap_lower_bound(0 * a, 0 * b) == 0.0


@pytest.mark.parametrize("bound", [frobenius_bound, nuclear_gap, nuclear_gap_bound, nuclear_gap_lower_bound])
@pytest.mark.parametrize("entry", [5e-324, 7.5e-162, 9e-71, 2e70, 1e300])
def test_factors_whose_fourth_powers_float64_cannot_hold_are_refused(bound, entry):
    """(7.5e-162)² is 5.6e-323, which float64 rounds to 4.9e-323 or 5.9e-323: such bounds need not be ordered."""
    factor, zero = np.array([[entry]]), np.array([[0.0]])
    received = re.escape(f"between 1e-70 and 1e+70 in magnitude. Received: {entry:g}")
    for a, b in ((factor, zero), (zero, -factor)):
        with pytest.raises(ValueError, match=received):
            bound(a, b)


@pytest.mark.parametrize("entry", [1e-70, 1e70, float(np.finfo(np.float32).max), 1.4e-45])
def test_at_the_ends_of_the_range_numbers_are_exact(entry):
    """All of float32 is within; ½(x² + 0) is the gap, and ½‖Q‖_* equals it."""
    a, b = np.full((3, 1), entry), np.zeros((3, 1))
    assert nuclear_gap(a, b) == pytest.approx(1.5 * entry * entry, rel=1e-14)
    assert nuclear_gap_bound_sharp(a, b) == pytest.approx(1.5 * entry * entry, rel=1e-14)
