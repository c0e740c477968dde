"""Section 4.4's premise: equal row norms are no balance unless Grams are diagonal; random factors nearly have both."""

import numpy as np
import pytest

from rankscope.factors import (
    QUANTITIES,
    FactorPair,
    balance_relative,
    diagonality,
    gram,
    measure,
    row_norm_agreement,
)
from rankscope.factors.premise import row_norms


def test_row_norms_are_the_diagonal_of_the_gram():
    factor = np.random.default_rng(0).standard_normal((3, 20, 5))
    np.testing.assert_allclose(row_norms(factor), np.diagonal(gram(factor), axis1=-2, axis2=-1), rtol=1e-14)


def test_equal_rows_do_not_make_balance_but_diagonal_grams_do():
    """Grams [[2, 1], [1, 2]] and [[2, −1], [−1, 2]]: the rows agree, the Grams are 2√2 apart, in units of √10."""
    a, b = (np.linalg.cholesky([[2.0, sign], [sign, 2.0]]).T for sign in (1.0, -1.0))
    assert row_norm_agreement(a, b) == pytest.approx(1.0, abs=1e-15)
    assert balance_relative(a, b) == pytest.approx(np.sqrt(8 / 10), rel=1e-14)
    assert diagonality(a) == pytest.approx(np.sqrt(8 / 10), rel=1e-14)
    assert balance_relative(np.diag([1.0, 2.0]), np.diag([1.0, -2.0])) == 0.0


def test_agreement_does_not_care_for_a_common_scale_and_is_0_beside_nothing():
    a, b = np.random.default_rng(1).standard_normal((2, 30, 6))
    assert row_norm_agreement(1e60 * a, 1e60 * b) == pytest.approx(row_norm_agreement(a, b), rel=1e-12)
    assert row_norm_agreement(a, 0 * b) == 0.0
    assert row_norm_agreement(0 * a, 0 * b) == 1.0
    assert diagonality(0 * a) == 0.0


@pytest.mark.parametrize(("rows", "key_dim"), [(4096, 128), (384, 64)])
def test_a_random_gram_is_nearly_diagonal(rows, key_dim):
    factor = np.random.default_rng(2).standard_normal((rows, key_dim))
    assert diagonality(factor) == pytest.approx(np.sqrt((rows + 2) / (rows + key_dim + 1)), rel=2e-3)


def test_measured_beside_its_null_it_is_that_of_the_group():
    rng = np.random.default_rng(3)
    pair = FactorPair("qk", 0, "attention", a=rng.standard_normal((2, 50, 6)), b=rng.standard_normal((4, 50, 6)))
    plain, reading = measure(pair), measure(pair, premise=True)
    added = set(reading.quantities) - set(plain.quantities)
    premise = [name for name, quantity in QUANTITIES.items() if quantity.of_checkpoints]
    assert added == {*premise, *(f"{name}_null" for name in premise)}
    queries = pair.b.reshape(2, 100, 6)  # the two queries of one key, one below the other
    expected = np.repeat(row_norm_agreement(pair.a, queries), 2)
    np.testing.assert_allclose(reading.quantities["row_norm_agreement"], expected, rtol=1e-12)
    np.testing.assert_allclose(reading.quantities["diagonality_a"], np.repeat(diagonality(pair.a), 2), rtol=1e-12)
    np.testing.assert_allclose(reading.quantities["diagonality_b"], diagonality(pair.b), rtol=1e-12)
    np.testing.assert_allclose(reading.row_norms[0], row_norms(pair.a), rtol=1e-12)
    np.testing.assert_allclose(reading.row_norms[1], row_norms(queries), rtol=1e-12)
