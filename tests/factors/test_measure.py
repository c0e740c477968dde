"""One reading of a pair: names, order, and every number against a dense computation head by head."""

import numpy as np
import pytest

from rankscope.factors import (
    QUANTITIES,
    FactorPair,
    columns_of,
    effective_rank,
    measure,
    null,
    pseudo_rank,
    stable_rank,
)


def gaussian_pair(shape_a, shape_b=None, kind="qk", seed=0):
    rng = np.random.default_rng(seed)
    return FactorPair(kind, 0, "attention", rng.standard_normal(shape_a), 1.5 * rng.standard_normal(shape_b or shape_a))


RECORDED = tuple(name for name, quantity in QUANTITIES.items() if not quantity.of_checkpoints)
NULLED = tuple(name for name in RECORDED if QUANTITIES[name].expected is not None)


def dense(pair):
    """All RECORDED quantities from the formed products, head by head and, for the balance, group by group."""
    a, b = pair.per_head()
    group = pair.heads // min(len(pair.a), len(pair.b))
    columns = {name: [] for name in RECORDED}
    for head in range(pair.heads):
        sigma = np.zeros(pair.key_dim)
        values = np.linalg.svd(a[head] @ b[head].T, compute_uv=False)[: pair.key_dim]
        sigma[: len(values)] = values
        gram_a, gram_b = a[head].T @ a[head], b[head].T @ b[head]
        bound = 0.5 * (np.trace(gram_a) + np.trace(gram_b))
        first = head // group * group
        members = range(first, first + group)
        # The shared factor counts once, its partners are summed.
        group_a, group_b = (
            factor[first].T @ factor[first]
            if len(stored) < pair.heads
            else sum(factor[m].T @ factor[m] for m in members)
            for factor, stored in ((a, pair.a), (b, pair.b))
        )
        discrepancy = np.linalg.norm(group_a - group_b)
        nuclear_norms = np.linalg.norm(a[head], "nuc") + np.linalg.norm(b[head], "nuc")
        row = {
            "pseudo_rank": pseudo_rank(sigma),
            "pseudo_rank_hidden": pseudo_rank(sigma) * pair.key_dim / pair.hidden_dim,
            "stable_rank": stable_rank(sigma),
            "effective_rank": effective_rank(sigma),
            "nuclear_norm": sigma.sum(),
            "frobenius_bound": bound,
            "nuclear_gap": bound - sigma.sum(),
            "nuclear_gap_bound": np.sqrt(np.linalg.norm(gram_a - gram_b, "nuc")) * nuclear_norms / 2,
            "balance_discrepancy": discrepancy,
            "balance_relative": discrepancy / (0.5 * (np.linalg.norm(group_a) + np.linalg.norm(group_b))),
            "nuclear_ratio": sigma.sum() / bound,
            "participation_ratio": (sigma**2).sum() ** 2 / (sigma**4).sum(),
        }
        for name, value in row.items():
            columns[name].append(value)
    return columns


def test_contract_of_the_columns():
    """These names and this order are what ranks.csv promises."""
    assert RECORDED == (
        "pseudo_rank",
        "pseudo_rank_hidden",
        "stable_rank",
        "effective_rank",
        "nuclear_norm",
        "frobenius_bound",
        "nuclear_gap",
        "nuclear_gap_bound",
        "balance_discrepancy",
        "balance_relative",
        "nuclear_ratio",
        "participation_ratio",
    )
    assert {"pseudo_rank", "effective_rank", "balance_relative", "nuclear_ratio"} < set(NULLED)
    reading = measure(gaussian_pair((3, 20, 4)))
    assert list(reading.quantities) == columns_of() == [*RECORDED, *(f"{name}_null" for name in NULLED)]
    assert reading.singular_values.shape == (3, 4)
    for values in reading.quantities.values():
        assert values.shape == (3,)
        assert values.dtype == np.float64


@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [
        ((4, 64, 16), (4, 64, 16)),
        ((1, 30, 8), (1, 50, 8)),  # a linear network's
        ((2, 32, 8), (6, 32, 8)),  # grouped queries, "qk"
        ((6, 32, 8), (2, 32, 8)),  # grouped queries, "vo"
        ((1, 32, 8), (4, 32, 8)),  # multi-query
        ((2, 5, 8), (4, 5, 8)),  # key_dim above hidden_dim
        ((1, 1, 1), (1, 1, 1)),
    ],
)
def test_every_number_is_that_of_the_dense_product(shape_a, shape_b):
    pair = gaussian_pair(shape_a, shape_b)
    reading = measure(pair)
    for name, expected in dense(pair).items():
        np.testing.assert_allclose(reading.quantities[name], expected, rtol=1e-11, err_msg=name)


def test_null_columns_are_the_matched_null():
    for pair in (gaussian_pair((4, 64, 16)), gaussian_pair((2, 32, 8), (6, 32, 8))):
        quantities, expected = measure(pair).quantities, null(pair)
        for name in NULLED:
            np.testing.assert_allclose(quantities[f"{name}_null"], expected[name], rtol=1e-12, err_msg=name)


def test_gaussian_pair_is_its_own_null():
    """Gaussian factors have to look like Gaussian factors: within a few per cent, head by head."""
    rng = np.random.default_rng(1)
    quantities = measure(FactorPair("qk", 0, "attention", *rng.standard_normal((2, 4, 256, 32)))).quantities
    for name in NULLED:
        # The largest singular value of one head alone, on which the stable rank rests, varies by more.
        values = quantities[name].mean() if name == "stable_rank" else quantities[name]
        np.testing.assert_allclose(values, quantities[f"{name}_null"], rtol=0.05, err_msg=name)


def test_gap_stays_within_its_bound_for_grouped_heads():
    """The group's balance can hold while a head's does not: the bound is the head's own."""
    key = np.ones((1, 2, 1))
    query = np.array([[[1.0], [0.0]], [[0.0], [1.0]]])  # two queries of norm 1 for one key of norm √2
    quantities = measure(FactorPair("qk", 0, "attention", key, query)).quantities
    np.testing.assert_allclose(quantities["balance_discrepancy"], [0.0, 0.0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(quantities["nuclear_gap"], 1.5 - np.sqrt(2), rtol=1e-14)
    np.testing.assert_allclose(quantities["nuclear_gap_bound"], (np.sqrt(2) + 1) / 2, rtol=1e-14)

    for seed in range(5):
        quantities = measure(gaussian_pair((2, 12, 4), (8, 12, 4), seed=seed)).quantities
        assert np.all(quantities["nuclear_gap"] >= 0)
        assert np.all(quantities["nuclear_gap"] <= quantities["nuclear_gap_bound"])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_low_precision_factors_are_read_exactly_and_left_alone(dtype):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 3, 40, 8)).astype(dtype)
    before = a.copy(), b.copy()
    low = measure(FactorPair("vo", 1, "attention", a, b))
    high = measure(FactorPair("vo", 1, "attention", a.astype("float64"), b.astype("float64")))
    for name in RECORDED:
        np.testing.assert_array_equal(low.quantities[name], high.quantities[name], err_msg=name)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


def test_zero_head_among_others_is_flagged_by_rank_zero():
    pair = gaussian_pair((3, 20, 4))
    pair.b[1] = 0
    quantities = measure(pair).quantities
    for name in ("pseudo_rank", "pseudo_rank_hidden", "stable_rank", "effective_rank", "nuclear_norm", "nuclear_ratio"):
        assert (quantities[name] == 0).tolist() == [False, True, False], name
    assert quantities["nuclear_gap"][1] == quantities["frobenius_bound"][1] > 0
    assert quantities["balance_relative"][1] == pytest.approx(2.0, rel=1e-15)
    assert (quantities["pseudo_rank_null"] == 0).tolist() == [False, True, False]


def test_pair_of_zeros_is_all_zeros():
    reading = measure(FactorPair("product", 0, "linear", np.zeros((1, 6, 3)), np.zeros((1, 5, 3))))
    assert not reading.singular_values.any()
    for name, values in reading.quantities.items():
        assert values.tolist() == [0.0], name


@pytest.mark.parametrize("scale", [1e-40, 1e38])
def test_scale_moves_the_norms_and_nothing_else(scale):
    """Over the whole range of float32."""
    pair = gaussian_pair((2, 20, 4))
    plain = measure(pair).quantities
    scaled = measure(FactorPair("qk", 0, "attention", scale * pair.a, scale * pair.b)).quantities
    in_squares = {"nuclear_norm", "frobenius_bound", "nuclear_gap", "nuclear_gap_bound", "balance_discrepancy"}
    for name, values in plain.items():
        unit = scale**2 if name in in_squares else 1.0
        np.testing.assert_allclose(scaled[name] / unit, values, rtol=1e-11, err_msg=name)


def test_gap_is_stored_as_computed_also_below_zero():
    """A = B is balanced, so each gap is rounding of either sign."""
    a = np.random.default_rng(4).standard_normal((64, 12, 4))
    quantities = measure(FactorPair("qk", 0, "attention", a, a)).quantities
    gap = quantities["nuclear_gap"]
    np.testing.assert_array_equal(gap, quantities["frobenius_bound"] - quantities["nuclear_norm"])
    assert np.all(np.abs(gap) < 1e-14 * quantities["frobenius_bound"])
    assert gap.min() < 0


def test_low_rank_pair_stands_out_from_its_null():
    rng = np.random.default_rng(3)
    basis = rng.standard_normal((2, 16))
    a, b = rng.standard_normal((4, 64, 2)) @ basis, rng.standard_normal((4, 64, 2)) @ basis
    quantities = measure(FactorPair("qk", 0, "attention", a, b)).quantities
    assert np.all(quantities["pseudo_rank"] <= 2 / 16)
    assert np.all(quantities["pseudo_rank_null"] > 0.85)


def drawn(rng, shape_a, shape_b, norms_a, norms_b):
    """Gaussian factors with the Frobenius norms of each head; (heads of each, rows, key_dim)."""
    pair = []
    for shape, norms in ((shape_a, norms_a), (shape_b, norms_b)):
        factor = rng.standard_normal(shape)
        pair.append(factor * (norms / np.linalg.norm(factor, axis=(1, 2)))[:, np.newaxis, np.newaxis])
    return pair


def dense_columns(a, b):
    """Everything that has a null, (heads,) each, from formed products and plain sums, without any of our functions."""
    heads, groups, key_dim = max(len(a), len(b)), min(len(a), len(b)), a.shape[2]
    hidden_dim, size = min(a.shape[1], b.shape[1]), heads // groups
    columns = {}
    for head in range(heads):
        own_a, own_b = a[head * len(a) // heads], b[head * len(b) // heads]
        sigma = np.linalg.svd(own_a @ own_b.T, compute_uv=False)[:key_dim]
        share = sigma / sigma.sum()
        count = 1 + np.count_nonzero(np.cumsum(share) < 0.95)
        group = head // size
        gram_a, gram_b = (
            sum(matrix.T @ matrix for matrix in factor[group * len(factor) // groups :][: len(factor) // groups])
            for factor in (a, b)
        )
        x, y = np.diag(gram_a), np.diag(gram_b)
        sizes = [np.sqrt(np.square(gram).sum()) for gram in (gram_a - gram_b, gram_a, gram_b)]
        row = {
            "pseudo_rank": count / key_dim,
            "pseudo_rank_hidden": count / hidden_dim,
            "stable_rank": np.square(sigma).sum() / sigma[0] ** 2,
            "effective_rank": np.exp(-(share * np.log(share)).sum()),
            "participation_ratio": np.square(sigma).sum() ** 2 / (sigma**4).sum(),
            "nuclear_ratio": sigma.sum() / (0.5 * (np.square(own_a).sum() + np.square(own_b).sum())),
            "balance_relative": 2 * sizes[0] / (sizes[1] + sizes[2]),
            "row_norm_agreement": 1 - np.abs(x - y).sum() / (x + y).sum(),
        }
        for side, factor in (("a", own_a), ("b", own_b)):
            gram = factor.T @ factor
            row[f"diagonality_{side}"] = np.sqrt(np.square(np.diag(gram)).sum() / np.square(gram).sum())
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in columns.items()}


@pytest.mark.parametrize(
    ("shape_a", "shape_b"), [((3, 40, 6), (3, 24, 6)), ((2, 20, 5), (4, 20, 5)), ((4, 16, 5), (2, 30, 5))]
)
def test_recorded_nulls_are_means_over_gaussian_draws(shape_a, shape_b):
    """Brute force: many Gaussian pairs with the norms of each head, measured from formed products."""
    rng, draws, recorded_draws = np.random.default_rng(6), 600, 16
    norms_a, norms_b = rng.uniform(0.5, 2, shape_a[0]), rng.uniform(1, 4, shape_b[0])
    pair = FactorPair("vo", 0, "attention", *drawn(rng, shape_a, shape_b, norms_a, norms_b))
    recorded = measure(pair, premise=True).quantities
    samples = [dense_columns(*drawn(rng, shape_a, shape_b, norms_a, norms_b)) for _ in range(draws)]
    nulled = {name.removesuffix("_null") for name in recorded if name.endswith("_null")}
    assert nulled == set(samples[0])
    for name in nulled:
        values = np.array([sample[name] for sample in samples])  # (draws, heads)
        error = values.std(axis=0) * np.sqrt(1 / draws + 1 / recorded_draws)
        distance = np.abs(recorded[f"{name}_null"] - values.mean(axis=0))
        assert np.all(distance <= 4 * error + 1e-14), (name, distance / error)


def test_recorded_values_are_those_of_the_formed_products():
    """The same brute force on one pair, key heads shared, every quantity that has a null, figure 5's included."""
    pair = gaussian_pair((2, 20, 5), (6, 20, 5))
    recorded = measure(pair, premise=True).quantities
    for name, expected in dense_columns(pair.a, pair.b).items():
        np.testing.assert_allclose(recorded[name], expected, rtol=1e-12, err_msg=name)
