"""Text: the next token stands beside each, validation sees other documents, and a batch depends on its step alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.data.shards import Tokens
from rankscope.data.text import TextData, load_text
from rankscope.data.tokenize import Sizes, tokenize
from rankscope.data.vocabulary import load_vocabulary

TRAIN = np.arange(1000, dtype="u2")
SMALL = TextData("counting", Tokens([TRAIN]), Tokens([np.arange(1000, 1100, dtype="u2")]), 1100, sequence_length=7)


@pytest.fixture(scope="module")
def addresses():
    return load_text()


def all_validation(data, batch_size=64):
    batches = data.validation_batches(batch_size)
    return [np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True)]


# === Batches ===


@settings(max_examples=50)
@given(step=st.integers(0, 10**6), seed=st.integers(0, 2**31 - 1), batch_size=st.integers(1, 20))
def test_a_batch_is_a_pure_function_of_seed_and_step(step, seed, batch_size):
    tokens, following = SMALL.train_batch(step, batch_size, seed)
    assert tokens.shape == following.shape == (batch_size, 7)
    assert (tokens.dtype, following.dtype) == ("int32", "int32")
    np.testing.assert_array_equal(following, tokens + 1)  # the text counts
    np.testing.assert_array_equal(np.diff(tokens, axis=1), 1)
    SMALL.train_batch(step + 1, batch_size, seed)  # leaves no trace
    np.testing.assert_array_equal(SMALL.train_batch(step, batch_size, seed)[0], tokens)


def test_other_steps_and_seeds_give_other_batches():
    first = SMALL.train_batch(3, 16, seed=1)[0]
    for step, seed in ((4, 1), (3, 2)):
        assert not np.array_equal(SMALL.train_batch(step, 16, seed)[0], first)


def test_windows_start_anywhere_and_alike():
    """993 starts, 1000 − 7, drawn 400 times each: 400 ± 20, five standard deviations are 100."""
    tokens, following = SMALL.train_batch(0, 993 * 400, seed=0)
    counts = np.bincount(tokens[:, 0], minlength=993)
    np.testing.assert_allclose(counts, 400, atol=100)
    assert len(counts) == 993
    assert following.max() == 999  # the last token is learned, too


def test_a_resumed_run_sees_the_batches_of_the_unbroken_one():
    unbroken, resumed = (SMALL.train_batches(8, 5, first_step, last_step=6) for first_step in (0, 3))
    assert (len(unbroken), len(resumed)) == (6, 3)
    for index in range(3):
        np.testing.assert_array_equal(resumed[index], unbroken[3 + index])


@pytest.mark.parametrize("batch_size", [1, 4, 14, 50])
def test_validation_windows_follow_each_other_without_overlap(batch_size):
    """99 of 100 tokens have a next one: 14 windows of 7."""
    tokens, following = all_validation(SMALL, batch_size)
    np.testing.assert_array_equal(tokens.ravel(), np.arange(1000, 1098))
    np.testing.assert_array_equal(following.ravel(), np.arange(1001, 1099))


@pytest.mark.parametrize(
    ("most", "starts"), [(1, [0]), (4, [0, 21, 49, 70]), (14, range(0, 98, 7)), (99, range(0, 98, 7))]
)
def test_fewer_validation_windows_are_spread_evenly(most, starts):
    data = TextData("counting", SMALL.train, SMALL.validation, 1100, 7, validation_windows=most)
    np.testing.assert_array_equal(all_validation(data)[0][:, 0] - 1000, starts)


def test_ids_beyond_the_vocabulary_are_an_error():
    """On some backends an embedding would make something of them and say nothing."""
    data = TextData("counting", SMALL.train, SMALL.validation, 900, 7)
    with pytest.raises(
        ValueError, match=r"shards of counting are damaged: their ids must be below 900\. Received: \d+$"
    ):
        data.train_batch(0, 100, 0)


@pytest.mark.parametrize(("length", "part", "count"), [(100, "held-out", 100), (1000, "training", 1000)])
def test_a_sequence_that_is_longer_than_the_text_is_refused(length, part, count):
    message = rf"must be less than the {count} {part} tokens of counting\. Received: {length}$"
    with pytest.raises(ValueError, match=message):
        TextData("counting", SMALL.train, SMALL.validation, 1100, length)


# === Learned ===


def test_unigram_loss_is_the_entropy_of_the_held_out_tokens():
    """Targets 1 2 1 2 0 1 2 1 of the windows: 4, 3 and 1 of 8."""
    tokens = Tokens([np.array([2, 1, 2, 1, 2, 0, 1, 2, 1], "u2")])
    data = TextData("three", tokens, tokens, 3, sequence_length=2)
    entropy = -(4 * np.log(4 / 8) + 3 * np.log(3 / 8) + np.log(1 / 8)) / 8
    assert data.unigram_loss == pytest.approx(entropy, rel=1e-12)
    assert data.learned({"val_loss": entropy - 1e-3}) is True
    assert data.learned({"val_loss": entropy + 1e-3}) is False
    assert data.learned({"val_loss": float("nan")}) is False


# === Sources ===


def test_addresses_are_held_out_one_in_ten(addresses):
    """2,389,157 tokens of 249 addresses; the tenth is Washington's of 1797 or Adams'."""
    assert (len(addresses.train), len(addresses.validation)) == (2_163_185, 225_972)
    assert addresses.vocabulary_size == 50257
    assert np.sum(addresses.validation.windows(np.array([0]), 225_972) == 50256) == 24
    assert addresses.origin == (
        "State of the Union addresses: 2163185 training and 225972 held-out tokens of gpt2, every 10th address held out"
    )
    assert len(all_validation(addresses)[0]) == 512


def test_addresses_make_the_same_batches_from_shards(addresses, tmp_path):
    index = tokenize(None, tmp_path / "tokens", jobs=1, sizes=Sizes(shard_tokens=500_000))
    assert index["bad_lines"] == index["unknown"] == 0
    shards = load_text(str(tmp_path / "tokens"))
    np.testing.assert_array_equal(shards.train_batch(5, 64, 1), addresses.train_batch(5, 64, 1))
    np.testing.assert_array_equal(all_validation(shards), all_validation(addresses))
    assert shards.unigram_loss == addresses.unigram_loss
    assert shards.origin == (
        f"{tmp_path / 'tokens'} (speeches): 2163185 training and 225972 held-out tokens of gpt2, "
        "of 225 and 24 documents"
    )


def test_characters_are_a_setting():
    data = load_text(vocabulary="characters", sequence_length=100)
    assert (data.vocabulary_size, len(data.train) + len(data.validation)) == (99, 12_181_093 + 249)
    text = load_vocabulary("characters").decode(data.validation.windows(np.array([0]), 30)[0])
    assert text.isascii()


def test_shards_of_another_vocabulary_are_refused(tmp_path):
    lines = [json.dumps({"text": "some words " * 40})] * 20
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    tokenize(tmp_path / "a.jsonl", tmp_path / "tokens", "characters", jobs=1)
    with pytest.raises(ValueError, match=r"^data\.vocabulary must be that of .*tokens, characters \(sha256 .*gpt2 \("):
        load_text(str(tmp_path / "tokens"))
    assert load_text(str(tmp_path / "tokens"), "characters", 64).vocabulary_size == 99
    with pytest.raises(ValueError, match=r"^data\.path must be a directory made by: rankscope data tokenize"):
        load_text(str(tmp_path / "a.jsonl"))
