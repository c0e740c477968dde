"""Spectra against dense SVDs of the formed product, and the laws of the ranks."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankscope.factors import effective_rank, nuclear_norm, pseudo_rank, singular_values, stable_rank
from rankscope.factors.spectrum import reduce_rows

laws = settings(deadline=None, derandomize=True, max_examples=80)
RANKS = [pseudo_rank, stable_rank, effective_rank]


def dense_singular_values(a, b):
    """The reference: form A Bᵀ and decompose it; (..., key_dim), padded with zeros."""
    key_dim = a.shape[-1]
    sigma = np.linalg.svd(a @ np.swapaxes(b, -1, -2), compute_uv=False)[..., :key_dim]
    missing = key_dim - sigma.shape[-1]
    return np.concatenate([sigma, np.zeros((*sigma.shape[:-1], missing))], axis=-1)


def orthonormal(rng, rows, columns):
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


def factors_with_spectrum(rng, sigma, rows_a, rows_b):
    """A and B with the singular values of A Bᵀ prescribed, and neither factor diagonal or balanced."""
    key_dim = len(sigma)
    left, right = orthonormal(rng, rows_a, key_dim), orthonormal(rng, rows_b, key_dim)
    mix = orthonormal(rng, key_dim, key_dim) * np.linspace(0.5, 2.0, key_dim)  # orthogonal × diagonal
    return (left * sigma) @ mix.T, right @ np.linalg.inv(mix)


def cases():
    rng = np.random.default_rng(0)
    ordinal = np.arange(1, 17)
    deficient = rng.standard_normal((64, 5)) @ rng.standard_normal((5, 16))
    full = rng.standard_normal((64, 16))
    zero = np.zeros((64, 16))
    return {
        "full rank": (full, rng.standard_normal((64, 16))),
        "power law": factors_with_spectrum(rng, ordinal**-1.5, 64, 64),
        "exponential decay": factors_with_spectrum(rng, np.exp(-2.0 * ordinal), 64, 64),
        "rectangular product": (rng.standard_normal((40, 16)), rng.standard_normal((90, 16))),
        "one factor tiny": (full, 1e-12 * rng.standard_normal((64, 16))),
        "one factor huge": (1e100 * full, rng.standard_normal((64, 16))),
        "one factor rank 5": (deficient, full),
        "both factors rank 5": (deficient, rng.standard_normal((64, 5)) @ rng.standard_normal((5, 16))),
        "equal columns": (np.repeat(full[:, :1], 16, axis=1), full),
        "one factor zero": (zero, full),
        "both factors zero": (zero, zero),
        "key_dim above both rows": (rng.standard_normal((4, 16)), rng.standard_normal((6, 16))),
        "key_dim above the rows of one": (rng.standard_normal((4, 16)), full),
        "square": (rng.standard_normal((16, 16)), rng.standard_normal((16, 16))),
        "batch": (rng.standard_normal((2, 3, 32, 8)), rng.standard_normal((2, 3, 32, 8))),
        "broadcast batch": (rng.standard_normal((1, 32, 8)), rng.standard_normal((3, 32, 8))),
    }


@pytest.mark.parametrize("name", cases())
def test_singular_values_are_those_of_the_dense_product(name):
    a, b = cases()[name]
    computed, expected = singular_values(a, b), dense_singular_values(a, b)
    assert computed.shape == expected.shape
    assert computed.dtype == np.float64
    assert np.all(np.abs(computed - expected) <= 1e-12 * expected[..., :1])
    assert np.all(np.diff(computed, axis=-1) <= 0)


def test_prescribed_spectrum_is_found():
    sigma = np.arange(1, 17) ** -1.5
    a, b = factors_with_spectrum(np.random.default_rng(1), sigma, 64, 48)
    np.testing.assert_allclose(singular_values(a, b), sigma, rtol=0, atol=1e-14)


def test_values_that_the_shape_forbids_are_exact_zeros():
    rng = np.random.default_rng(2)
    sigma = singular_values(rng.standard_normal((3, 8)), rng.standard_normal((5, 8)))
    assert sigma.shape == (8,)
    assert np.count_nonzero(sigma[:3]) == 3
    assert np.count_nonzero(sigma[3:]) == 0


def test_float32_factors_are_measured_in_float64():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 64, 16)).astype("float32")
    expected = dense_singular_values(a.astype("float64"), b.astype("float64"))
    np.testing.assert_allclose(singular_values(a, b), expected, rtol=0, atol=1e-12 * expected[0])


def test_differing_key_dims_are_refused():
    with pytest.raises(ValueError, match=r"same key_dim.*Received: 3 and 4"):
        singular_values(np.ones((5, 3)), np.ones((5, 4)))


def test_reduced_rows_keep_the_gram():
    x = np.random.default_rng(4).standard_normal((3, 50, 7))
    reduced = reduce_rows(x)
    assert reduced.shape == (3, 7, 7)
    np.testing.assert_allclose(np.swapaxes(reduced, 1, 2) @ reduced, np.swapaxes(x, 1, 2) @ x, rtol=0, atol=1e-12)
    assert reduce_rows(reduced) is reduced


def cholesky_singular_values(a, b):
    """The cheaper route that is not taken: AᵀA = L Lᵀ instead of A = Q R."""
    lower_a, lower_b = np.linalg.cholesky(a.T @ a), np.linalg.cholesky(b.T @ b)
    return np.linalg.svd(lower_a.T @ lower_b, compute_uv=False)


def test_cholesky_of_a_rank_deficient_gram_fails_where_qr_does_not():
    a, b = np.array([[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]), np.eye(2)  # AᵀA = [[4, 4], [4, 4]]: the second pivot is 0
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_singular_values(a, b)
    np.testing.assert_allclose(singular_values(a, b), [2 * np.sqrt(2), 0.0], rtol=0, atol=1e-15)


def test_cholesky_of_a_nearly_deficient_gram_loses_half_the_digits_where_qr_does_not():
    rng = np.random.default_rng(5)
    sigma = np.array([1.0, 1e-2, 1e-7])
    a, b = orthonormal(rng, 20, 3) * sigma @ orthonormal(rng, 3, 3), np.eye(3)
    # Rounding of 1e-16 in AᵀA, whose last eigenvalue is 1e-14, is 1e-16 / (2 · 1e-7) in its root.
    assert abs(cholesky_singular_values(a, b)[2] - 1e-7) > 1e-11
    np.testing.assert_allclose(singular_values(a, b), sigma, rtol=0, atol=1e-15)


# === Ranks ===


@pytest.mark.parametrize(
    ("sigma", "threshold", "expected"),
    [
        ([1.0, 0.0, 0.0, 0.0], 0.95, 0.25),
        ([95.0, 5.0], 0.95, 0.5),
        ([94.0, 6.0], 0.95, 1.0),
        ([1.0] * 20, 0.95, 19 / 20),
        ([0.1] * 20, 0.95, 19 / 20),  # 20 · 0.1 is not 2 in floats; 19 values still hold 95 %
        ([1.0] * 100, 0.55, 55 / 100),  # 0.55 · 100 = 55.00000000000001 in floats
        ([1.0] * 8, 1.0, 1.0),
        ([1.0, 1.0, 1e-17, 1e-17], 1.0, 0.5),  # threshold 1 stops at rounding
        ([3.0, 1.0], 1e-300, 0.5),
    ],
)
def test_pseudo_rank_by_hand(sigma, threshold, expected):
    assert pseudo_rank(sigma, threshold) == expected


def test_pseudo_rank_of_the_other_size():
    sigma = [12.0, 6.0, 1.0, 1.0]
    assert pseudo_rank(sigma) == 3 / 4
    assert pseudo_rank(sigma, size=np.int64(64)) == 3 / 64


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
def test_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match=r"\(0, 1\]. Received: "):
        pseudo_rank([1.0], threshold)


def test_size_below_one_is_refused():
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        pseudo_rank([1.0], size=0)


def test_ranks_by_hand():
    assert stable_rank([2.0, 1.0, 1.0]) == 1.5
    # shares ½, ¼, ¼: entropy ½ log 2 + ½ log 4 = 1.5 log 2
    np.testing.assert_allclose(effective_rank([2.0, 1.0, 1.0]), 2**1.5, rtol=1e-15)
    assert nuclear_norm([2.0, 1.0, 1.0]) == 4.0


@pytest.mark.parametrize("function", [*RANKS, nuclear_norm])
def test_zero_product_gives_zero_and_leading_axes_are_kept(function):
    sigma = np.array([[[3.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [2.0, 2.0]]])
    values = function(sigma)
    assert values.shape == (2, 2)
    assert values[0, 1] == 0
    each = [[function(row) for row in block] for block in sigma]
    np.testing.assert_array_equal(values, each)
    assert function(np.zeros(5)) == 0


@pytest.mark.parametrize("function", RANKS)
@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-160, 1e150, 1e307])
def test_extreme_scales_are_no_different(function, scale):
    assert function(np.array([8.0, 4.0, 2.0, 0.0]) * scale) == pytest.approx(function([8.0, 4.0, 2.0, 0.0]), rel=1e-14)


spectra = hnp.arrays(np.float64, st.integers(1, 24), elements=st.floats(0, 1)).map(lambda x: np.sort(x)[::-1])
thresholds = st.floats(1e-6, 1.0)


@laws
@given(spectra, thresholds)
def test_pseudo_rank_is_positive_and_at_most_one(sigma, threshold):
    rank = pseudo_rank(sigma, threshold)
    if sigma[0] > 0:
        assert 1 / len(sigma) <= rank <= np.count_nonzero(sigma) / len(sigma)
    else:
        assert rank == 0


@laws
@given(spectra, thresholds, thresholds)
def test_pseudo_rank_is_monotone_in_the_threshold(sigma, one, other):
    assert pseudo_rank(sigma, min(one, other)) <= pseudo_rank(sigma, max(one, other))


@laws
@given(spectra, thresholds, st.floats(-140, 140))
def test_ranks_are_free_of_scale(sigma, threshold, exponent):
    assume(sigma[0] == 0 or sigma[sigma > 0][-1] > 1e-150)  # scaled values stay clear of the denormals
    scaled = sigma * 10.0**exponent
    assert pseudo_rank(scaled, threshold) == pseudo_rank(sigma, threshold)
    assert stable_rank(scaled) == pytest.approx(stable_rank(sigma), rel=1e-13)
    assert effective_rank(scaled) == pytest.approx(effective_rank(sigma), rel=1e-13)


@laws
@given(spectra)
def test_ranks_are_ordered(sigma):
    """σ₁-based stable rank ≤ entropy-based effective rank ≤ number of nonzero values."""
    assert stable_rank(sigma) <= effective_rank(sigma) * (1 + 1e-13)
    assert effective_rank(sigma) <= np.count_nonzero(sigma) * (1 + 1e-13)


# === Symmetries of the factors ===


@laws
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 12), st.integers(1, 12))
def test_spectrum_survives_every_change_of_basis(seed, key_dim, rows_a, rows_b):
    """(A, B) → (A R, B R⁻ᵀ) has the same product."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((rows_a, key_dim)), rng.standard_normal((rows_b, key_dim))
    basis = orthonormal(rng, key_dim, key_dim) * np.exp2(rng.integers(-3, 4, key_dim))
    moved = singular_values(a @ basis, b @ np.linalg.inv(basis).T)
    # Rounding grows with the size of the moved factors, up to 2³ each.
    np.testing.assert_allclose(moved, singular_values(a, b), rtol=0, atol=1e-15 * 64 * 64 * key_dim)
