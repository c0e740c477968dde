"""Every variable is in exactly one decay group, and the groups are the ones we promise."""

import doctest
import math
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankscope.optimizers import decay as decay_module
from rankscope.optimizers.decay import attention_decays, checked_decay, decay_table


def variable(path, shape, role=None):
    return SimpleNamespace(path=path, name=path.rsplit("/", 1)[-1], shape=shape, factor_role=role)


# A transformer block as Keras names and shapes it, untagged where a layer tags nothing.
BLOCK = [
    variable("gpt/embedding/embeddings", (50, 8)),
    variable("gpt/position/embeddings", (16, 8)),
    variable("gpt/block/norm/gamma", (8,)),
    variable("gpt/block/norm/beta", (8,)),
    variable("gpt/block/attention/query/kernel", (8, 2, 4), "query"),
    variable("gpt/block/attention/query/bias", (2, 4)),
    variable("gpt/block/attention/query_norm/scale", (2, 4)),
    variable("gpt/block/attention/key/kernel", (8, 2, 4), "key"),
    variable("gpt/block/attention/value/kernel", (8, 2, 4), "value"),
    variable("gpt/block/attention/output/kernel", (2, 4, 8), "output"),
    variable("gpt/block/attention/output/bias", (8,)),
    variable("gpt/block/mlp/kernel", (8, 32)),
    variable("linear/factor_0", (8, 8), "factor"),
    variable("temperature", ()),
]


def by_path(**settings):
    return {row.path: row for row in decay_table(BLOCK, **settings)}


def test_docstrings_run():
    result = doctest.testmod(decay_module)
    assert result.attempted > 0
    assert result.failed == 0


def test_groups_of_a_block():
    groups = {row.path: row.group for row in decay_table(BLOCK, 0.1)}
    assert list(groups.items()) == [
        ("gpt/embedding/embeddings", "weights"),
        ("gpt/position/embeddings", "weights"),
        ("gpt/block/norm/gamma", "one-dimensional"),
        ("gpt/block/norm/beta", "one-dimensional"),
        ("gpt/block/attention/query/kernel", "qk"),
        ("gpt/block/attention/query/bias", "one-dimensional"),
        ("gpt/block/attention/query_norm/scale", "one-dimensional"),
        ("gpt/block/attention/key/kernel", "qk"),
        ("gpt/block/attention/value/kernel", "vo"),
        ("gpt/block/attention/output/kernel", "vo"),
        ("gpt/block/attention/output/bias", "one-dimensional"),
        ("gpt/block/mlp/kernel", "weights"),
        ("linear/factor_0", "product"),
        ("temperature", "one-dimensional"),
    ]


def test_biases_and_gains_do_not_decay_unless_asked():
    rows = [row for row in decay_table(BLOCK, 0.1) if row.group == "one-dimensional"]
    assert [row.decay for row in rows] == [0.0] * 6
    rows = [row for row in decay_table(BLOCK, 0.1, decay_one_dimensional=True) if row.group == "one-dimensional"]
    assert [row.decay for row in rows] == [0.1] * 6


@pytest.mark.parametrize(
    ("attention", "qk", "vo"),
    [
        (None, 0.1, 0.1),
        (0.0, 0.0, 0.0),
        (1, 1.0, 1.0),
        ({"qk": 0.5}, 0.5, 0.1),
        ({"vo": 0.5, "qk": None}, 0.1, 0.5),
        ({"qk": 0.2, "vo": 0.3}, 0.2, 0.3),
    ],
)
def test_attention_decay(attention, qk, vo):
    rows = by_path(weight_decay=0.1, attention_weight_decay=attention)
    found = {role: rows[f"gpt/block/attention/{role}/kernel"].decay for role in ("query", "key", "value", "output")}
    assert found == {"query": qk, "key": qk, "value": vo, "output": vo}
    assert rows["linear/factor_0"].decay == 0.1


def test_first_pattern_wins_over_later_patterns_and_over_all_rules():
    rows = by_path(
        weight_decay=0.1, attention_weight_decay=0.2, decay_groups={"query": 0.3, "attention": 0.4, "norm": 0.5}
    )
    assert rows["gpt/block/attention/query/kernel"].decay == 0.3
    assert rows["gpt/block/attention/query/bias"].group == "query"
    assert rows["gpt/block/attention/key/kernel"].decay == 0.4
    assert rows["gpt/block/norm/gamma"].decay == 0.5
    assert rows["gpt/block/mlp/kernel"].decay == 0.1


def test_time_constants():
    rows = {row.path: row.time_constant for row in decay_table(BLOCK, 0.125, 0.25, learning_rate=0.5)}
    assert rows["gpt/block/mlp/kernel"] == 16.0
    assert rows["gpt/block/attention/key/kernel"] == 8.0
    assert rows["gpt/block/norm/gamma"] == math.inf
    assert by_path(weight_decay=0.125)["gpt/block/mlp/kernel"].time_constant is None


def message(**settings):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each test below matches the whole message)
        decay_table(BLOCK, **{"weight_decay": 0.1, **settings})
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_pattern_without_a_match_is_refused_with_the_nearest_paths():
    text = message(decay_groups={"mlp": 0.2, "embeding/embeddings": 0.0})
    assert text.startswith("No variable's path matches the decay pattern 'embeding/embeddings'. Nearest paths: gpt/emb")
    assert "mlp" not in text.split("Nearest")[0]


def test_a_pattern_that_governs_nothing_is_refused_but_a_redundant_one_is_not():
    text = message(decay_groups={"attention": 0.4, "attention/query": 0.3})
    assert "'attention/query' governs nothing" in text
    assert "earlier pattern 'attention' takes gpt/block/attention/query/kernel and gives it 0.4. Received: 0.3" in text
    assert by_path(weight_decay=0.1, decay_groups={"attention": 0.4, "attention/query": 0.4})


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "0.1", True, None])
def test_decays_must_be_finite_and_not_negative(wrong):
    assert f"Received: {wrong!r}" in message(weight_decay=wrong)
    assert f"Received: {wrong!r}" in message(decay_groups={"mlp": wrong})
    if wrong is not None:
        assert f"Received: {wrong!r}" in message(attention_weight_decay=wrong)
        assert f"Received: {wrong!r}" in message(attention_weight_decay={"vo": wrong})


def test_other_wrong_settings():
    assert "'ov'" in message(attention_weight_decay={"ov": 0.1})
    assert "regular expression" in message(decay_groups={"(": 0.1})
    with pytest.raises(ValueError, match=r"`factor_role` of q must be one of .* Received: 'querry'"):
        decay_table([variable("q", (2, 2), "querry")], 0.1)


PIECES = [
    "query",
    "kernel",
    "^gpt",
    "block/attention",
    "bias$",
    "norm",
    ".",
    "embeddings",
    "factor",
    "nowhere",
    "(ke|va)",
]


@given(
    decay_groups=st.dictionaries(st.sampled_from(PIECES), st.sampled_from([0.0, 0.25, 0.5]), max_size=4),
    weight_decay=st.floats(0, 1),
    attention=st.none() | st.floats(0, 1) | st.dictionaries(st.sampled_from(["qk", "vo"]), st.floats(0, 1)),
    one_dimensional=st.booleans(),
)
def test_every_variable_is_in_exactly_one_group(decay_groups, weight_decay, attention, one_dimensional):
    try:
        rows = decay_table(BLOCK, weight_decay, attention, decay_groups, one_dimensional)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        assert any(repr(pattern) in refusal for pattern in decay_groups)
        return
    assert [(row.path, row.shape) for row in rows] == [(v.path, v.shape) for v in BLOCK]
    decay_of = {
        "weights": weight_decay,
        "product": weight_decay,
        "one-dimensional": weight_decay if one_dimensional else 0.0,
        **attention_decays(weight_decay, attention),
        **decay_groups,
    }
    for row in rows:
        assert row.decay == decay_of[row.group]
        matching = [pattern for pattern in decay_groups if re.search(pattern, row.path)]
        assert row.group == matching[0] if matching else row.group not in decay_groups


@given(st.floats(min_value=0, allow_infinity=False))
def test_every_finite_decay_from_zero_up_is_accepted(decay):
    assert checked_decay("weight_decay", decay) == decay
