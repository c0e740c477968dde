"""Schatten quasi-norms, and chains of L factors between balance and Prop. A.5's bound."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankscope.factors import (
    chain_bound_applies,
    chain_gap,
    chain_gap_bound,
    chain_imbalances,
    imbalance,
    nuclear_gap,
    nuclear_gap_bound,
    schatten_norm,
)

laws = settings(deadline=None, derandomize=True, max_examples=100)
spectra = hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1))
powers = st.floats(0.1, 8)


def orthogonal(rng, size):
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def balanced_chain(rng, length, root, outer=7):
    """A_l = O_{l−1} diag(root) O_lᵀ with orthogonal O, the outer two taller: W has the singular values root^L."""
    inner = len(root)
    bases = [np.linalg.qr(rng.standard_normal((outer, inner)))[0]]
    bases += [orthogonal(rng, inner) for _ in range(length - 1)]
    bases += [np.linalg.qr(rng.standard_normal((outer, inner)))[0]]
    return [(left * root) @ right.T for left, right in pairwise(bases)]


def random_chain(rng, length, inner, rows, columns):
    widths = [rows, *[inner] * (length - 1), columns]
    return [rng.standard_normal(shape) * 10 ** rng.uniform(-1, 1) for shape in pairwise(widths)]


def nuclear(matrix):
    return np.linalg.svd(matrix, compute_uv=False).sum()


# === Schatten ===


def test_schatten_by_hand():
    assert schatten_norm([3.0, 4.0], 1) == 7
    assert schatten_norm([3.0, 4.0], 2) == 5
    assert schatten_norm([3.0, 4.0], np.inf) == 4
    assert schatten_norm([8.0, 1.0], 2 / 3) == pytest.approx(5**1.5, rel=1e-14)  # 8^{2/3} = 4
    assert schatten_norm([[0.0, 0.0], [0.0, 2.0]], 0.5).tolist() == [0, 2]


@laws
@given(st.integers(0, 2**32))
def test_schatten_one_and_two_are_the_nuclear_and_the_frobenius_norm(seed):
    w = np.random.default_rng(seed).standard_normal((6, 4))
    sigma = np.linalg.svd(w, compute_uv=False)
    assert schatten_norm(sigma, 1) == pytest.approx(np.linalg.norm(w, "nuc"), rel=1e-13)
    assert schatten_norm(sigma, 2) == pytest.approx(np.linalg.norm(w), rel=1e-13)


@laws
@given(spectra, powers, powers)
def test_schatten_falls_in_p_down_to_the_largest_value(sigma, one, other):
    low, high = schatten_norm(sigma, min(one, other)), schatten_norm(sigma, max(one, other))
    assert low >= high * (1 - 1e-13)
    assert high >= sigma.max()


@laws
@given(st.integers(0, 2**32), st.floats(0.1, 1))
def test_the_power_of_a_quasi_norm_keeps_the_triangle_inequality(seed, p):
    w, v = np.random.default_rng(seed).standard_normal((2, 5, 4))
    both, one, other = (schatten_norm(np.linalg.svd(x, compute_uv=False), p) ** p for x in (w + v, w, v))
    assert both <= (one + other) * (1 + 1e-13)


def test_a_quasi_norm_itself_breaks_the_triangle_inequality():
    """diag(1, 0) + diag(0, 1) at p = ½: (1 + 1)² = 4 > 1 + 1, the step that the paper's proof must not take."""
    assert schatten_norm([1.0, 1.0], 0.5) == 4
    assert schatten_norm([1.0, 0.0], 0.5) == 1


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1e306])
@pytest.mark.parametrize("p", [0.25, 1, 2, 8])
def test_schatten_of_extreme_scales(scale, p):
    sigma = np.array([4.0, 2.0, 1.0])
    assert schatten_norm(scale * sigma, p) / scale == pytest.approx(schatten_norm(sigma, p), rel=1e-13)


@pytest.mark.parametrize("p", [0, -1, float("nan")])
def test_schatten_refuses_powers_that_are_not_positive(p):
    with pytest.raises(ValueError, match=r"p must be positive\. Received: "):
        schatten_norm([1.0], p)


# === Chains ===


def test_chain_by_hand():
    """Scalars 4, 2, 1: imbalances 12 and 3, gap 7 − 4, and ⅓(16 + 4 + 1) e^{2/3} 3^{4/3} 12^{1/3}."""
    chain = [[[4.0]], [[2.0]], [[1.0]]]
    assert [q.item() for q in chain_imbalances(chain)] == [12, 3]
    assert chain_gap(chain) == pytest.approx(3, rel=1e-14)
    assert chain_gap_bound(chain) == pytest.approx(7 * np.exp(2 / 3) * 3 ** (4 / 3) * 12 ** (1 / 3), rel=1e-14)
    assert not chain_bound_applies(chain)  # 12 against 1/81


def test_bound_of_a_chain_takes_its_largest_inner_dimension():
    """Inner dimensions 2 and 1: r = 2, nuclear norms 2, 1, 1, imbalances 3 and 0: ⅔(4 + 1 + 1)(e² 3⁴ 3)^{1/3}."""
    chain = [[[2.0, 0.0]], [[1.0], [0.0]], [[1.0]]]
    assert chain_gap_bound(chain) == pytest.approx(4 * (243 * np.exp(2)) ** (1 / 3), rel=1e-14)


def test_chain_of_two_is_a_pair():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((9, 3)), rng.standard_normal((6, 3))
    (q,) = chain_imbalances([a, b.T])
    np.testing.assert_array_equal(q, imbalance(a, b))
    assert chain_gap([a, b.T]) == pytest.approx(nuclear_gap(a, b), rel=1e-13)
    # Both carry √‖Q‖_* (‖A‖_* + ‖B‖_*)/2; A.5 multiplies it by r · e · 2².
    assert chain_gap_bound([a, b.T]) == pytest.approx(3 * np.e * 4 * nuclear_gap_bound(a, b), rel=1e-13)


def test_chain_against_the_dense_product_in_a_batch():
    rng = np.random.default_rng(1)
    chain = [rng.standard_normal(shape) for shape in [(2, 9, 3), (2, 3, 3), (3, 3), (2, 3, 8)]]
    gaps, bounds, applies = chain_gap(chain), chain_gap_bound(chain), chain_bound_applies(chain)
    assert gaps.shape == bounds.shape == applies.shape == (2,)
    for i in range(2):
        first, second, third, last = chain[0][i], chain[1][i], chain[2], chain[3][i]
        sigma = np.linalg.svd(first @ second @ third @ last, compute_uv=False)[:3]
        squares = [np.sum(np.square(x)) for x in (first, second, third, last)]
        assert gaps[i] == pytest.approx(np.mean(squares) - np.sqrt(sigma).sum(), rel=1e-12)
        pairs = [(first, second), (second, third), (third, last)]
        largest = max(nuclear(left.T @ left - right @ right.T) for left, right in pairs)
        cubes = [nuclear(x) ** 3 for x in (first, second, third, last)]
        assert bounds[i] == pytest.approx(3 * np.mean(cubes) * np.sqrt(np.e) * 4 * largest**0.25, rel=1e-12)
        assert applies[i] == (largest <= min(cubes) ** (4 / 3) / 256)


@laws
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
def test_gap_of_a_chain_is_not_negative(seed, length, inner, rows, columns):
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, length, inner, rows, columns)
    largest = np.prod([np.linalg.norm(x, 2) for x in chain])
    # Products of low rank: zeros of 1e-15 σ₁ enter by their power 2/L.
    assert chain_gap(chain) >= -inner * (1e-15 * largest) ** (2 / length)


@laws
@given(st.integers(0, 2**32), st.integers(2, 5), st.lists(st.floats(0.5, 2), min_size=1, max_size=4))
def test_balanced_chain_has_no_gap(seed, length, root):
    chain = balanced_chain(np.random.default_rng(seed), length, np.array(root))
    assert max(np.abs(q).max() for q in chain_imbalances(chain)) < 1e-13
    assert abs(chain_gap(chain)) < 1e-12
    assert chain_bound_applies(chain)


def test_rounding_of_a_deficient_balanced_chain_is_as_stated():
    """Rank 1 of 3, L = 4: two singular values of 1e-16 come in as their roots, 1e-8."""
    chain = balanced_chain(np.random.default_rng(2), 4, np.array([1.0, 0.0, 0.0]))
    assert abs(chain_gap(chain)) < 1e-7


@laws
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(1, 4), st.floats(-6, -1), st.floats(-0.5, 1))
def test_bound_of_a_chain_holds_where_it_applies(seed, length, inner, noise, scale):
    rng = np.random.default_rng(seed)
    chain = balanced_chain(rng, length, rng.uniform(0.5, 2, inner))
    chain = [10**scale * (x + 10**noise * rng.standard_normal(x.shape)) for x in chain]
    assume(chain_bound_applies(chain))
    assert chain_gap(chain) <= chain_gap_bound(chain)


def test_bound_of_a_small_chain_fails_without_its_assumption():
    """(c, c, 0): gap ⅔c², bound ⅔c² e^{2/3} 3^{4/3} c^{2/3}, smaller as soon as c^{2/3} < 0.1187."""
    for c, holds in ((0.1, True), (0.01, False)):
        chain = [[[c]], [[c]], [[0.0]]]
        assert chain_gap(chain) == pytest.approx(2 / 3 * c**2, rel=1e-14)
        assert chain_gap_bound(chain) == pytest.approx(2 / 3 * np.exp(2 / 3) * 3 ** (4 / 3) * c ** (8 / 3), rel=1e-13)
        assert not chain_bound_applies(chain)
        assert (chain_gap(chain) <= chain_gap_bound(chain)) == holds


def test_assumption_depends_on_the_scale():
    """A₁ = A₂ = 1, A₃ = 1 + 1/1000: ε = 2e-3 ≤ 1/81; at a tenth of the scale 2e-5 > 1e-3/81 = 1.2e-5."""
    chain = [np.array([[1.0]]), np.array([[1.0]]), np.array([[1.001]])]
    assert chain_bound_applies(chain)
    assert not chain_bound_applies([0.1 * x for x in chain])


def test_imbalances_of_a_linear_network_decay_at_twice_the_decay_whatever_its_depth():
    """½‖A₁A₂A₃ − S‖² + (λ/2) Σ‖A_l‖² with gradients H_l: Q_l' = (1 − 2ηλ) Q_l + η²(H_lᵀH_l − H_{l+1}H_{l+1}ᵀ)."""
    rng = np.random.default_rng(3)
    first, second, third = rng.standard_normal((3, 4, 4)) / 2
    residual = first @ second @ third - rng.standard_normal((4, 4))
    chain, rate, l2 = [first, second, third], 0.1, 0.5
    gradients = [residual @ (second @ third).T, first.T @ residual @ third.T, (first @ second).T @ residual]
    gradients = [g + l2 * x for x, g in zip(chain, gradients, strict=True)]
    stepped = chain_imbalances([x - rate * g for x, g in zip(chain, gradients, strict=True)])
    for before, after, squares in zip(chain_imbalances(chain), stepped, chain_imbalances(gradients), strict=True):
        np.testing.assert_allclose(after, (1 - 2 * rate * l2) * before + rate**2 * squares, rtol=0, atol=1e-13)


@pytest.mark.parametrize("function", [chain_imbalances, chain_gap, chain_gap_bound, chain_bound_applies])
def test_what_is_no_chain_is_refused(function):
    with pytest.raises(ValueError, match=r"at least two factors\. Received: shapes \[\(3, 3\)\]"):
        function([np.eye(3)])
    with pytest.raises(ValueError, match=r"as many rows.*Received: shapes \[\(5, 3\), \(5, 3\)\]"):
        function([np.ones((5, 3)), np.ones((5, 3))])  # the shape that the paper prints for A_L
