"""What a FactorPair accepts, refuses and says of itself."""

import dataclasses

import numpy as np
import pytest

from rankscope.factors import FactorPair


def pair_of(shape_a, shape_b, kind="qk"):
    return FactorPair(kind, 3, "block_3/attention", a=np.ones(shape_a, "float32"), b=np.ones(shape_b, "float32"))


def test_dimensions():
    pair = pair_of((4, 64, 16), (4, 64, 16))
    assert (pair.heads, pair.hidden_dim, pair.key_dim) == (4, 64, 16)


def test_rectangular_product_of_a_linear_network():
    pair = pair_of((1, 5, 3), (1, 9, 3), kind="product")
    assert (pair.heads, pair.hidden_dim, pair.key_dim) == (1, 5, 3)


@pytest.mark.parametrize(("heads_a", "heads_b"), [(2, 6), (6, 2)])
def test_heads_are_the_larger_axis(heads_a, heads_b):
    assert pair_of((heads_a, 8, 4), (heads_b, 8, 4)).heads == 6


def test_per_head_gives_consecutive_heads_the_factor_they_share():
    a = np.arange(2.0).reshape(2, 1, 1)
    b = np.arange(6.0).reshape(6, 1, 1)
    per_head_a, per_head_b = FactorPair("qk", 0, "attention", a, b).per_head()
    assert per_head_a.ravel().tolist() == [0, 0, 0, 1, 1, 1]
    assert per_head_b.ravel().tolist() == [0, 1, 2, 3, 4, 5]


def test_per_head_is_float64_and_copies_only_to_convert_or_to_repeat():
    single = pair_of((2, 8, 4), (2, 8, 4)).per_head()
    assert [factor.dtype for factor in single] == [np.float64, np.float64]
    a, b = np.ones((2, 8, 4)), np.ones((2, 8, 4))
    per_head_a, per_head_b = FactorPair("vo", 0, "attention", a, b).per_head()
    assert per_head_a is a
    assert per_head_b is b


def test_frozen_and_short_in_print():
    pair = pair_of((1, 2, 2), (1, 2, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.layer = 4
    assert repr(pair) == "FactorPair(pair='qk', layer=3, path='block_3/attention')"


@pytest.mark.parametrize(
    ("shape_a", "shape_b", "message"),
    [
        ((8, 4), (1, 8, 4), "must have shape"),
        ((1, 8, 4), (1, 1, 8, 4), "must have shape"),
        ((1, 0, 4), (1, 8, 4), "may be empty"),
        ((1, 8, 4), (0, 8, 4), "may be empty"),
        ((1, 8, 4), (1, 8, 5), "same key_dim"),
        ((2, 8, 4), (3, 8, 4), "must divide"),
    ],
)
def test_shapes_that_are_no_pair_are_refused(shape_a, shape_b, message):
    with pytest.raises(ValueError, match=message) as error:
        pair_of(shape_a, shape_b)
    text = str(error.value)
    assert text.startswith("Factor pair 'qk' at 'block_3/attention': ")
    assert text.endswith(f"Received: a of shape {shape_a}, b of shape {shape_b}")
    assert "\n" not in text


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"one of qk, vo, product\. Received: 'kq'"):
        pair_of((1, 2, 2), (1, 2, 2), kind="kq")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["a", "b"])
def test_values_that_are_not_finite_are_refused_with_the_path(name, bad):
    factors = {"a": np.ones((2, 3, 2), "float16"), "b": np.ones((2, 3, 2), "float16")}
    factors[name][1, 2, 0] = bad
    with pytest.raises(ValueError, match=f"Received: 1 of 12 values of {name} are NaN or infinite") as error:
        FactorPair("vo", 0, "block_0/attention", **factors)
    assert str(error.value).startswith("Factor pair 'vo' at 'block_0/attention': ")
