"""The range that linear_algebra.py states: within it numbers are exact at any size, outside of it they are refused.

The reference is computed in long double, which reaches to 1e±4932, for one column: there every norm is a length.
"""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rankscope import factors
from rankscope.factors import FactorPair, measure
from rankscope.factors.linear_algebra import LARGEST, SMALLEST

laws = settings(deadline=None, derandomize=True, max_examples=300)
wide = pytest.mark.skipif(np.finfo(np.longdouble).maxexp < 4096, reason="long double is no wider than float64 here")
#: Powers of ten from the smallest subnormal number to nearly the largest.
exponents = st.integers(-323, 306)


def columns(seed, exponent_a, exponent_b):
    """A and B with one column of 3 and 4 entries, of one to ten times a power of ten, as float64."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], 7)
    a, b = np.split(signs * rng.uniform(1, 10, 7), [3])
    return (float(f"1e{exponent_a}") * a)[:, np.newaxis], (float(f"1e{exponent_b}") * b)[:, np.newaxis]


def lengths(a, b):
    return (np.sqrt(np.square(np.longdouble(x)).sum()) for x in (a, b))


#: Function → its value for columns of lengths x and y, and what its rounding is relative to.
REFERENCE = {
    factors.frobenius_bound: lambda x, y: ((x * x + y * y) / 2, 0),
    factors.nuclear_gap: lambda x, y: ((x - y) ** 2 / 2, x * x + y * y),
    factors.balance_discrepancy: lambda x, y: (abs(x * x - y * y), x * x + y * y),
    factors.balance_relative: lambda x, y: (2 * abs(x * x - y * y) / (x * x + y * y), 1),
    factors.row_norm_agreement: lambda x, y: (1 - abs(x * x - y * y) / (x * x + y * y), 1),
    factors.nuclear_gap_bound_sharp: lambda x, y: (abs(x * x - y * y) / 2, x * x + y * y),
    factors.nuclear_gap_bound: lambda x, y: (np.sqrt(abs(x * x - y * y)) * (x + y) / 2, x * x + y * y),
    factors.nuclear_gap_bound_frobenius: lambda x, y: (np.sqrt(abs(x * x - y * y)) * (x + y) / 2, x * x + y * y),
    factors.nuclear_gap_lower_bound: lambda x, y: ((x - y) ** 2 / 2, x * x + y * y),
}


def within_range(factor):
    return SMALLEST <= np.abs(factor).max() <= LARGEST


@wide
@pytest.mark.parametrize("function", REFERENCE, ids=lambda function: function.__name__)
def test_any_magnitude_is_exact_or_refused(function):
    @laws
    @given(st.integers(0, 2**32), exponents, exponents)
    @example(0, -162, -162)  # squares are subnormal
    @example(0, -80, -80)  # fourth powers are
    @example(0, 300, 0)
    @example(0, -71, 69)
    def law(seed, exponent_a, exponent_b):
        a, b = columns(seed, exponent_a, exponent_b)
        if not (within_range(a) and within_range(b)):
            with pytest.raises(ValueError, match=r"must lie between 1e-70 and 1e\+70"):
                function(a, b)
            return
        expected, scale = REFERENCE[function](*lengths(a, b))
        assert abs(np.longdouble(function(a, b)) - expected) <= 1e-14 * (expected + scale)

    law()


@wide
@laws
@given(st.integers(0, 2**32), exponents, exponents)
@example(0, -200, -200)  # the product of both is 0 in float64
@example(0, 200, 200)
@example(0, 250, -250)
def test_singular_values_of_any_magnitude_are_exact_or_refused(seed, exponent_a, exponent_b):
    a, b = columns(seed, exponent_a, exponent_b)
    left, right = np.longdouble(np.abs(a).max()), np.longdouble(np.abs(b).max())
    if not all(1e-290 <= size <= 1e290 for size in (left, right, left * right)):
        with pytest.raises(ValueError, match=r"must lie between 1e-290 and 1e\+290"):
            factors.singular_values(a, b)
        return
    x, y = lengths(a, b)
    (sigma,) = factors.singular_values(a, b)
    assert sigma == pytest.approx(float(x * y), rel=1e-14)
    assert factors.pseudo_rank([sigma]) == factors.stable_rank([sigma]) == 1


def test_one_matrix_of_a_stack_outside_the_range_is_refused():
    """Beside a head of size 1, one of 1e-100 would have the imbalance 0 in units of 0."""
    small = np.array([1.0, 1e-100])[:, np.newaxis, np.newaxis] * np.ones((2, 3, 2))
    with pytest.raises(ValueError, match="Received: 1e-100"):
        factors.balance_relative(small, 2 * small)
    with pytest.raises(ValueError, match=r"Factor pair 'qk' at 'here', factor b: .* Received: 1e-100"):
        FactorPair("qk", 0, "here", np.ones((2, 3, 2)), small)
    small[1] = 0.0
    assert factors.balance_relative(small, 2 * small).tolist() == [pytest.approx(1.2, rel=1e-14), 0.0]


@settings(laws, max_examples=60)
@given(st.integers(0, 2**32), st.integers(-149, 125), st.integers(-149, 125))
def test_all_of_float32_is_measured(seed, exponent_a, exponent_b):
    """Small whole numbers times powers of two, which float32 holds exactly down to its last subnormal number."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-3, 4, (2, 2, 6, 3)).astype(np.float64)
    scaled = [np.ldexp(x, e).astype(np.float32) for x, e in ((a, exponent_a), (b, exponent_b))]
    quantities = measure(FactorPair("qk", 0, "attention", *scaled), premise=True).quantities
    # The same pair with both sizes near 1, as far as their ratio allows.
    middle = (exponent_a + exponent_b) // 2
    near = [np.ldexp(x, e - middle) for x, e in ((a, exponent_a), (b, exponent_b))]
    expected = measure(FactorPair("qk", 0, "attention", *near), premise=True).quantities
    for name, values in quantities.items():
        squared = factors.QUANTITIES[name.removesuffix("_null")].values.startswith("≥ 0, in squared units")
        unit = 4.0**middle if squared else 1.0
        scale = expected["frobenius_bound"] if squared else 1.0
        np.testing.assert_array_less(np.abs(values / unit - expected[name]), 1e-11 * scale + 1e-300, err_msg=name)


@settings(laws, max_examples=100)
@given(st.integers(0, 2**32), st.integers(2, 9), st.integers(-225, 225))
def test_a_chain_of_any_length_has_the_gap_of_one_of_size_one(seed, length, exponent):
    """In units of its square; a product of nine factors of 2^225 is beyond float64."""
    rng = np.random.default_rng(seed)
    chain = [rng.uniform(0.5, 2, (2, 2)) for _ in range(length)]
    scaled = [np.ldexp(x, exponent) for x in chain]
    scale = sum(np.square(x).sum() for x in chain) / length
    assert abs(factors.chain_gap(scaled) / 4.0**exponent - factors.chain_gap(chain)) <= 1e-7 * scale
    expected, growth = factors.chain_gap_bound(chain), (length - 1) * exponent + 2 * exponent / length
    power_of_two = np.log2(expected) + growth
    assert factors.chain_bound_applies(scaled) in (True, False)
    if abs(power_of_two) > 1025:
        with pytest.raises(ValueError, match=rf"takes the power {length - 1} of nuclear norms"):
            factors.chain_gap_bound(scaled)
    elif abs(power_of_two) < 1020:
        assert np.log2(factors.chain_gap_bound(scaled)) == pytest.approx(power_of_two, abs=1e-11)


def test_a_balanced_chain_of_tiny_factors_has_no_gap():
    """Five factors of 1e-70: their product, 1e-350, is no float64, and the gap of equal numbers is 0."""
    chain = [np.array([[1e-70]])] * 5
    assert factors.chain_gap(chain) == pytest.approx(0.0, abs=1e-154)
    assert factors.chain_bound_applies(chain)
