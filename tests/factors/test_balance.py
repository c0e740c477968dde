"""Balance, the nuclear gap, and the chain 0 ≤ gap ≤ ½‖Q‖_* ≤ Prop. A.4's bound."""

import numpy as np
import pytest
from any_pair import factors
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.factors import (
    balance_discrepancy,
    balance_relative,
    frobenius_bound,
    gram,
    imbalance,
    nuclear_gap,
    nuclear_gap_bound,
    nuclear_norm,
    singular_values,
)

laws = settings(deadline=None, derandomize=True, max_examples=150)


def orthogonal(rng, size):
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def balanced_pair(rng, rows_a=12, rows_b=9, key_dim=5):
    """A = U √S Oᵀ, B = V √S Oᵀ from the SVD of a random product (Prop. 3.1)."""
    product = rng.standard_normal((rows_a, key_dim)) @ rng.standard_normal((key_dim, rows_b))
    u, s, vt = np.linalg.svd(product)
    root, o = np.sqrt(s[:key_dim]), orthogonal(rng, key_dim)
    return u[:, :key_dim] * root @ o.T, vt[:key_dim].T * root @ o.T


def imbalance_norm(a, b):
    """‖Q‖_* by a plain SVD of Q."""
    return np.linalg.svd(imbalance(a, b), compute_uv=False).sum()


def test_by_hand():
    a, b = [[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    assert gram(a).tolist() == [[4, 0], [0, 1]]
    assert imbalance(a, b).tolist() == [[3, 0], [0, -4]]
    assert balance_discrepancy(a, b) == 5
    assert balance_relative(a, b) == pytest.approx(5 / (0.5 * (np.sqrt(17) + np.sqrt(26))), rel=1e-15)
    assert frobenius_bound(a, b) == 5.5
    # ABᵀ = [[2, 0, 0], [0, 1, 2]]: σ = √5, 2
    assert nuclear_gap(a, b) == pytest.approx(5.5 - (np.sqrt(5) + 2), rel=1e-14)
    # ‖Q‖_* = 7, ‖A‖_* = 3, ‖B‖_* = 1 + √5
    assert nuclear_gap_bound(a, b) == pytest.approx(np.sqrt(7) * (4 + np.sqrt(5)) / 2, rel=1e-14)


def test_against_dense_products_in_a_batch():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 20, 6)), rng.standard_normal((3, 15, 6))
    for head in range(3):
        q = a[head].T @ a[head] - b[head].T @ b[head]
        nuclear = [np.linalg.norm(x, "nuc") for x in (a[head] @ b[head].T, q, a[head], b[head])]
        bound = 0.5 * (np.linalg.norm(a[head]) ** 2 + np.linalg.norm(b[head]) ** 2)
        expected = {
            imbalance: q,
            balance_discrepancy: np.linalg.norm(q),
            frobenius_bound: bound,
            nuclear_gap: bound - nuclear[0],
            nuclear_gap_bound: np.sqrt(nuclear[1]) * (nuclear[2] + nuclear[3]) / 2,
        }
        for function, value in expected.items():
            np.testing.assert_allclose(function(a, b)[head], value, rtol=0, atol=1e-12 * bound)


def test_zero_factors():
    zero, one = np.zeros((4, 2)), np.eye(2)
    for function in (balance_discrepancy, balance_relative, frobenius_bound, nuclear_gap, nuclear_gap_bound):
        assert function(zero, zero) == 0
    assert balance_relative(one, zero) == 2
    assert nuclear_gap(one, zero) == 1  # the whole Frobenius bound ½ · 2
    assert nuclear_gap_bound(one, zero) == pytest.approx(np.sqrt(2), rel=1e-15)  # √2 · (2 + 0)/2


def test_float32_is_squared_in_float64():
    tiny = np.full((1, 1), 1e-30, "float32")
    assert frobenius_bound(tiny, tiny) == pytest.approx(1e-60, rel=1e-6)
    assert balance_discrepancy(tiny, 2 * tiny) == pytest.approx(3e-60, rel=1e-6)


def test_huge_and_tiny_factors_of_the_stated_range():
    a, b = np.array([[2.0]]), np.array([[1.0]])
    for scale in (1e-70, 1e69):
        assert balance_relative(scale * a, scale * b) == pytest.approx(1.2, rel=1e-14)


@laws
@given(factors())
def test_gap_lies_between_zero_and_its_bounds(pair):
    a, b = pair
    gap, scale = nuclear_gap(a, b), frobenius_bound(a, b)
    half_norm = 0.5 * imbalance_norm(a, b)
    assert gap >= -1e-12 * scale
    assert gap <= half_norm + 1e-12 * scale
    assert half_norm <= nuclear_gap_bound(a, b) + 1e-12 * scale


@laws
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_gap_is_zero_after_balancing(seed, key_dim):
    a, b = balanced_pair(np.random.default_rng(seed), key_dim=key_dim)
    scale = frobenius_bound(a, b)
    assert balance_relative(a, b) < 1e-13
    assert abs(nuclear_gap(a, b)) < 1e-13 * scale
    assert nuclear_gap_bound(a, b) < 1e-6 * scale  # the square root of a rounding error of Q


def test_balancing_keeps_the_product_and_removes_the_gap():
    """The same product before and after: the gap is a property of the factors, not of W."""
    rng = np.random.default_rng(1)
    a, b = balanced_pair(rng)
    stretch = np.diag([4.0, 2.0, 1.0, 1.0, 0.5])
    moved_a, moved_b = a @ stretch, b @ np.linalg.inv(stretch)
    np.testing.assert_allclose(moved_a @ moved_b.T, a @ b.T, rtol=0, atol=1e-13)
    assert nuclear_gap(moved_a, moved_b) > 1
    assert abs(nuclear_gap(a, b)) < 1e-13


@laws
@given(factors(), st.floats(1.5, 8.0))
def test_scaling_one_factor_against_the_other_moves_the_imbalance_only(pair, c):
    """(A, B) → (cA, B/c), c > 1: tr Q grows by (c² − 1)‖A‖² + (1 − c⁻²)‖B‖², the spectrum stays."""
    a, b = pair
    scale = singular_values(a, b)[0]
    size_a, size_b = np.square(a).sum(), np.square(b).sum()
    np.testing.assert_allclose(
        singular_values(c * a, b / c), singular_values(a, b), rtol=0, atol=1e-12 * max(scale, np.sqrt(size_a * size_b))
    )
    growth = np.trace(imbalance(c * a, b / c)) - np.trace(imbalance(a, b))
    expected = (c**2 - 1) * size_a + (1 - c**-2) * size_b
    assert growth == pytest.approx(expected, rel=1e-12)
    assert (growth > 0) == (size_a + size_b > 0)


def test_change_of_basis_keeps_the_spectrum_and_changes_the_imbalance():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((30, 6)), rng.standard_normal((20, 6))
    basis = rng.standard_normal((6, 6))
    inverse = np.linalg.inv(basis)
    moved_a, moved_b = a @ basis, b @ inverse.T
    sigma = singular_values(a, b)
    np.testing.assert_allclose(singular_values(moved_a, moved_b), sigma, rtol=0, atol=1e-12 * sigma[0])
    expected = basis.T @ gram(a) @ basis - inverse @ gram(b) @ inverse.T
    np.testing.assert_allclose(imbalance(moved_a, moved_b), expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    assert abs(balance_discrepancy(moved_a, moved_b) - balance_discrepancy(a, b)) > 1


@laws
@given(factors(), st.integers(0, 2**32))
def test_rotation_keeps_everything(pair, seed):
    """(A, B) → (AO, BO): the same product, and Q turned to OᵀQO."""
    a, b = pair
    o = orthogonal(np.random.default_rng(seed), a.shape[1])
    scale = frobenius_bound(a, b)
    tolerance = 1e-13 * scale
    np.testing.assert_allclose(singular_values(a @ o, b @ o), singular_values(a, b), rtol=0, atol=tolerance)
    for function in (balance_discrepancy, frobenius_bound, nuclear_gap):
        assert function(a @ o, b @ o) == pytest.approx(function(a, b), rel=0, abs=10 * tolerance)
    assert balance_relative(a @ o, b @ o) == pytest.approx(balance_relative(a, b), rel=0, abs=1e-12)
    # A square root stands in Prop. A.4: its square is what rounds in proportion.
    moved, bound = nuclear_gap_bound(a @ o, b @ o), nuclear_gap_bound(a, b)
    assert moved**2 == pytest.approx(bound**2, rel=1e-12, abs=100 * tolerance * scale)


def test_gap_equals_the_defect_of_the_cauchy_schwarz_steps_for_one_column():
    """With key_dim 1, ‖ABᵀ‖_* = ‖A‖‖B‖, so the gap is ½(‖A‖ − ‖B‖)²."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((7, 1)), rng.standard_normal((9, 1))
    norms = np.linalg.norm(a), np.linalg.norm(b)
    assert nuclear_norm(singular_values(a, b)) == pytest.approx(norms[0] * norms[1], rel=1e-14)
    assert nuclear_gap(a, b) == pytest.approx(0.5 * (norms[0] - norms[1]) ** 2, abs=1e-13)
