"""The matched null against Gaussian factors drawn and measured the long way."""

import numpy as np
import pytest

from rankscope.factors import (
    FactorPair,
    balance_relative,
    diagonality,
    effective_rank,
    frobenius_bound,
    nuclear_norm,
    null,
    pseudo_rank,
    row_norm_agreement,
    singular_values,
    stable_rank,
)
from rankscope.factors.null import _unit_gaussians

NAMES = {
    "pseudo_rank",
    "pseudo_rank_hidden",
    "stable_rank",
    "effective_rank",
    "nuclear_ratio",
    "participation_ratio",
    "balance_relative",
    "row_norm_agreement",
    "diagonality_a",
    "diagonality_b",
}
GROUPED = {"balance_relative", "row_norm_agreement"}


def gaussian_pair(shape_a, shape_b=None, scale_a=1.0, scale_b=1.0, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(shape_a), rng.standard_normal(shape_b or shape_a)
    return FactorPair("qk", 0, "attention", scale_a * a, scale_b * b)


def long_way(rows_a, rows_b, key_dim, norm_a, norm_b, draws, seed):
    """Each quantity of each draw, from full Gaussian matrices scaled to the norms; name -> (draws,)."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((draws, rows_a, key_dim)), rng.standard_normal((draws, rows_b, key_dim))
    a *= norm_a / np.linalg.norm(a, axis=(1, 2), keepdims=True)
    b *= norm_b / np.linalg.norm(b, axis=(1, 2), keepdims=True)
    sigma = singular_values(a, b)
    return {
        "pseudo_rank": pseudo_rank(sigma),
        "pseudo_rank_hidden": pseudo_rank(sigma, size=min(rows_a, rows_b)),
        "stable_rank": stable_rank(sigma),
        "effective_rank": effective_rank(sigma),
        "participation_ratio": (sigma**2).sum(axis=1) ** 2 / (sigma**4).sum(axis=1),
        "nuclear_ratio": nuclear_norm(sigma) / frobenius_bound(a, b),
        "balance_relative": balance_relative(a, b),
        "row_norm_agreement": row_norm_agreement(a, b),
        "diagonality_a": diagonality(a),
        "diagonality_b": diagonality(b),
    }


@pytest.mark.parametrize(
    ("rows_a", "rows_b", "key_dim", "norm_b"),
    [(64, 64, 16, 1.0), (64, 64, 16, 3.0), (20, 50, 8, 0.8), (8, 8, 8, 2.0), (5, 30, 12, 1.0), (3, 4, 9, 2.0)],
)
def test_means_are_those_of_gaussian_factors_with_the_same_norms(rows_a, rows_b, key_dim, norm_b):
    draws = 400
    reference = long_way(rows_a, rows_b, key_dim, 1.0, norm_b, draws, seed=1)
    pair = gaussian_pair((1, rows_a, key_dim), (1, rows_b, key_dim))
    a, b = pair.a / np.linalg.norm(pair.a), norm_b * pair.b / np.linalg.norm(pair.b)
    values = null(FactorPair("qk", 0, "attention", a, b), draws=draws, seed=2)
    assert set(values) == NAMES == set(reference)
    for name, expected in reference.items():
        error = expected.std() * np.sqrt(2 / draws)  # standard error of a difference of two such means
        rounding = 1e-14  # norms far apart leave the agreement no choice: its deviation is rounding alone
        assert abs(values[name][0] - expected.mean()) < 4 * error + rounding, name


@pytest.mark.parametrize(
    ("rows", "key_dim", "ratio", "relative"),
    [(4096, 128, 0.992, 0.25), (768, 64, 0.979, 0.40), (384, 64, 0.958, 0.54)],
)
def test_published_shapes(rows, key_dim, ratio, relative):
    """Tall Gaussian factors look balanced, tight and of nearly full rank without any training."""
    values = null(gaussian_pair((1, rows, key_dim)))
    assert values["nuclear_ratio"][0] == pytest.approx(ratio, abs=1e-3)
    assert values["balance_relative"][0] == pytest.approx(relative, abs=1e-2)
    assert 0.92 <= values["pseudo_rank"][0] <= 0.94
    assert values["pseudo_rank_hidden"][0] == pytest.approx(values["pseudo_rank"][0] * key_dim / rows, rel=1e-12)


def test_each_head_has_its_own_norms():
    pair = gaussian_pair((3, 32, 8))
    a = pair.a * np.array([1.0, 2.0, 5.0])[:, np.newaxis, np.newaxis]
    together = null(FactorPair("qk", 0, "attention", a, pair.b))
    for head in range(3):
        alone = null(FactorPair("qk", 0, "attention", a[head : head + 1], pair.b[head : head + 1]))
        for name in NAMES:
            assert together[name][head] == pytest.approx(alone[name][0], rel=1e-12), name
    assert np.unique(together["stable_rank"]).size == 1
    assert np.all(np.diff(together["nuclear_ratio"]) < 0)


def test_common_scale_does_not_matter():
    pair = gaussian_pair((2, 32, 8))
    for scale in (1e-60, 1e60):
        scaled = null(FactorPair("qk", 0, "attention", scale * pair.a, scale * pair.b))
        for name, values in null(pair).items():
            np.testing.assert_allclose(scaled[name], values, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize(("shape_a", "shape_b"), [((2, 16, 4), (6, 16, 4)), ((6, 16, 4), (2, 16, 4))])
def test_grouped_heads_stack_in_balance_only(shape_a, shape_b):
    """Three heads share one: the spectrum's null is a head's, the balance's null is that of 48 rows against 16."""
    pair = gaussian_pair(shape_a, shape_b)
    values = null(pair)
    assert {values[name].shape for name in NAMES} == {(6,)}

    a, b = pair.per_head()
    alone = null(FactorPair("qk", 0, "attention", a, b))
    for name in NAMES - GROUPED:
        np.testing.assert_allclose(values[name], alone[name], rtol=1e-12, err_msg=name)

    stack_a, stack_b = pair.a.reshape(2, -1, 4), pair.b.reshape(2, -1, 4)
    stacked = null(FactorPair("qk", 0, "attention", stack_a, stack_b))
    for name in GROUPED:
        np.testing.assert_allclose(values[name], np.repeat(stacked[name], 3), rtol=1e-12, err_msg=name)


def test_zero_factors_have_no_rank():
    one, zero = np.ones((1, 6, 3)), np.zeros((1, 6, 3))
    for a, b, relative, agreement in [(one, zero, 2.0, 0.0), (zero, one, 2.0, 0.0), (zero, zero, 0.0, 1.0)]:
        values = null(FactorPair("qk", 0, "attention", a, b))
        for name in NAMES - GROUPED - {"diagonality_a", "diagonality_b"}:
            assert values[name].tolist() == [0.0], name
        assert values["row_norm_agreement"].tolist() == [agreement]
        assert (values["diagonality_a"][0] > 0) == a.any()
        assert (values["diagonality_b"][0] > 0) == b.any()
        # The measured value is 2 by definition when one factor is zero, and the null has nothing else to say.
        assert values["balance_relative"][0] == pytest.approx(relative, rel=1e-15)
        assert balance_relative(a[0], b[0]) == relative


def test_same_seed_same_null_other_seed_another():
    pair = gaussian_pair((1, 24, 6))
    first, again, other = null(pair), null(pair), null(pair, seed=1)
    for name in NAMES:
        np.testing.assert_array_equal(first[name], again[name])
    assert first["effective_rank"][0] != other["effective_rank"][0]


def test_results_are_the_callers_own():
    pair = gaussian_pair((2, 24, 6))
    before = {name: values.copy() for name, values in null(pair).items()}
    for values in null(pair).values():
        values[:] = -1
    for name, values in null(pair).items():
        np.testing.assert_array_equal(values, before[name])


def test_each_value_is_the_mean_over_the_draws():
    """Formulas and means to the digit, from the very draws: unit Gaussian factors, scaled to the norms 2 and 3."""
    rows_a, rows_b, key_dim, draws, seed = 20, 30, 6, 16, 5
    rng = np.random.default_rng(seed)
    a, b = 2 * _unit_gaussians(rng, draws, rows_a, key_dim), 3 * _unit_gaussians(rng, draws, rows_b, key_dim)
    sigma = np.linalg.svd(a @ b.swapaxes(1, 2), compute_uv=False)
    share = sigma / sigma.sum(axis=1, keepdims=True)
    gram_a, gram_b = a.swapaxes(1, 2) @ a, b.swapaxes(1, 2) @ b
    x, y = (np.diagonal(gram, axis1=1, axis2=2) for gram in (gram_a, gram_b))
    size_a, size_b, apart = (np.linalg.norm(gram, axis=(1, 2)) for gram in (gram_a, gram_b, gram_a - gram_b))
    rank = 1 + (np.cumsum(share, axis=1) < 0.95).sum(axis=1)
    expected = {
        "pseudo_rank": rank / key_dim,
        "pseudo_rank_hidden": rank / rows_a,
        "stable_rank": (sigma**2).sum(axis=1) / sigma[:, 0] ** 2,
        "effective_rank": np.exp(-(share * np.log(share)).sum(axis=1)),
        "participation_ratio": (sigma**2).sum(axis=1) ** 2 / (sigma**4).sum(axis=1),
        "nuclear_ratio": sigma.sum(axis=1) / (0.5 * (4 + 9)),
        "balance_relative": apart / (0.5 * (size_a + size_b)),
        "row_norm_agreement": 1 - np.abs(x - y).sum(axis=1) / (4 + 9),
        "diagonality_a": np.linalg.norm(x, axis=1) / size_a,
        "diagonality_b": np.linalg.norm(y, axis=1) / size_b,
    }
    pair = gaussian_pair((1, rows_a, key_dim), (1, rows_b, key_dim))
    a, b = 2 * pair.a / np.linalg.norm(pair.a), 3 * pair.b / np.linalg.norm(pair.b)
    values = null(FactorPair("qk", 0, "attention", a, b), draws=draws, seed=seed)
    assert set(values) == set(expected)
    for name, each in expected.items():
        assert values[name][0] == pytest.approx(each.mean(), rel=1e-12), name
