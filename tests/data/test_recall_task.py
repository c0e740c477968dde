"""Associative recall: sequences that can be answered, noise that is what it says, and no batch twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.data.recall import RecallTask

TASK = RecallTask()
CLEAN = RecallTask(label_noise=0.0)
WHERE = {"step": st.integers(0, 10**6), "seed": st.integers(0, 2**31 - 1)}


def looked_up(tokens):
    """The token after the first appearance of the last one, for each row: `(B,)`."""
    first = np.argmax(tokens == tokens[:, -1:], axis=1)
    return tokens[np.arange(len(tokens)), first + 1]


# === Sequences ===


@settings(max_examples=50)
@given(**WHERE, num_pairs=st.integers(2, 30), batch_size=st.integers(1, 50), distinct_values=st.booleans())
def test_the_answer_of_a_sample_can_be_read_in_its_context(step, seed, num_pairs, batch_size, distinct_values):
    task = RecallTask(num_pairs, label_noise=0.0, distinct_values=distinct_values)
    tokens, answers = task.train_batch(step, batch_size, seed)
    assert tokens.shape == (batch_size, task.sequence_length) == (batch_size, 2 * num_pairs + 1)
    assert (tokens.dtype, answers.dtype) == ("int32", "int32")
    np.testing.assert_array_equal(answers, looked_up(tokens))
    # Every key once before the last token, at even places; values between them.
    np.testing.assert_array_equal(np.sort(tokens[:, :-1:2], axis=1), np.tile(np.arange(num_pairs), (batch_size, 1)))
    values = tokens[:, 1::2]
    assert num_pairs <= values.min() <= values.max() < task.vocabulary_size == 2 * num_pairs
    assert not distinct_values or np.all(np.diff(np.sort(values, axis=1)) == 1)


def test_keys_values_and_questions_are_uniform():
    """Of 12,000 sequences of 3 pairs: counts 4,000 ± 52, four standard deviations are 207."""
    tokens, answers = RecallTask(3, label_noise=0.0).train_batch(0, 12_000, seed=1)
    for column, lowest in [(0, 0), (1, 3), (2, 0), (3, 3), (4, 0), (5, 3), (6, 0)]:
        np.testing.assert_allclose(np.bincount(tokens[:, column] - lowest, minlength=3), 4000, atol=207)
    asked = np.argmax(tokens == tokens[:, -1:], axis=1)  # the place of the pair, apart from its key
    np.testing.assert_allclose(np.bincount(asked, minlength=5), [4000, 0, 4000, 0, 4000], atol=207)
    np.testing.assert_allclose(np.bincount(answers)[3:], 4000, atol=207)


def test_mappings_are_fresh_in_every_sequence():
    """So the last key alone says nothing: each of the 20 answers follows a given key alike."""
    tokens, answers = CLEAN.train_batch(0, 40_000, seed=0)
    counts = np.zeros((20, 20))
    np.add.at(counts, (tokens[:, -1], answers - 20), 1)
    np.testing.assert_allclose(counts, 100, atol=50)  # five standard deviations


# === Noise ===


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
def test_the_rate_of_wrong_labels_is_the_noise_less_its_lucky_hits(noise):
    """A random label is the right one in 1 of 20: four standard deviations of a binomial."""
    tokens, labels = RecallTask(label_noise=noise).train_batch(3, 40_000, seed=2)
    rate = noise * (1 - 1 / 20)
    assert np.mean(labels != looked_up(tokens)) == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 40_000))
    assert 20 <= labels.min() <= labels.max() < 40


def test_noise_changes_labels_only():
    for one, other in zip(TASK.train_batch(7, 500, 1), CLEAN.train_batch(7, 500, 1), strict=True):
        assert np.mean(one != other) < 0.1
    np.testing.assert_array_equal(TASK.train_batch(7, 500, 1)[0], CLEAN.train_batch(7, 500, 1)[0])


def test_wrong_labels_are_uniform():
    tokens, labels = RecallTask(label_noise=0.99).train_batch(0, 40_000, seed=0)
    wrong = labels[labels != looked_up(tokens)]
    np.testing.assert_allclose(np.bincount(wrong)[20:], len(wrong) / 20, atol=5 * np.sqrt(len(wrong) / 20))


# === Batches ===


@settings(max_examples=50)
@given(**WHERE)
def test_a_batch_is_a_pure_function_of_seed_and_step(step, seed):
    tokens, labels = TASK.train_batch(step, 16, seed)
    TASK.train_batch(step + 1, 16, seed)  # leaves no trace
    again, labels_again = TASK.train_batch(step, 16, seed)
    np.testing.assert_array_equal(again, tokens)
    np.testing.assert_array_equal(labels_again, labels)
    for other in (TASK.train_batch(step + 1, 16, seed), TASK.train_batch(step, 16, (seed + 1) % 2**31)):
        assert not np.array_equal(other[0], tokens)


def test_no_sequence_comes_twice_in_training_or_validation():
    batches = [TASK.train_batch(step, 128, seed)[0] for seed in (0, 1) for step in range(100)]
    batches += [CLEAN.validation_batches(2048)[0][0], RecallTask(validation_seed=1).validation_batches(2048)[0][0]]
    rows = np.concatenate(batches)
    assert len({row.tobytes() for row in rows}) == len(rows) == 2 * 100 * 128 + 2 * 2048


def test_a_resumed_run_sees_the_batches_of_the_unbroken_one():
    unbroken, resumed = (TASK.train_batches(8, 5, first_step, last_step=6) for first_step in (0, 3))
    assert (len(unbroken), len(resumed)) == (6, 3)
    for index in range(3):
        for one, other in zip(resumed[index], unbroken[3 + index], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_validation_is_clean_and_seen_once_in_order(batch_size):
    task = RecallTask(label_noise=0.9, validation_sequences=10)
    batches = task.validation_batches(batch_size)
    sizes = [len(batches[index][1]) for index in range(len(batches))]
    assert sizes == {1: [1] * 10, 3: [3, 3, 3, 1], 10: [10], 64: [10]}[batch_size]
    tokens, answers = (np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True))
    np.testing.assert_array_equal(answers, looked_up(tokens))
    np.testing.assert_array_equal(tokens, task.validation_batches(10)[0][0])


def test_validation_has_a_stream_of_its_own():
    """A run whose seed is validation's draws as many sequences at once, and never the held-out ones.

    Its steps draw from the streams of (seed, step). NumPy fills up with zeros: (seed,) and (seed, 0, 0) would be that
    of step 0.
    """
    for seed in (0, 3):
        task = RecallTask(label_noise=0.0, validation_sequences=64, validation_seed=seed)
        held_out, _ = task.validation_batches(64)[0]
        for step in range(4):
            assert not np.array_equal(task.train_batch(step, 64, seed)[0], held_out)


def test_the_held_out_sequences_are_those_of_earlier_versions():
    """By hand: keys, values, then the questions, from NumPy's stream of (validation_seed, 0, 1)."""
    rng = np.random.default_rng((5, 0, 1))
    keys = rng.permuted(np.tile(np.arange(3), (2, 1)), axis=1)
    values = rng.integers(3, 6, size=(2, 3), dtype=np.int32)
    asked = rng.integers(3, size=2)
    tokens, answers = RecallTask(num_pairs=3, validation_sequences=2, validation_seed=5).validation_batches(2)[0]
    assert tokens[:, :-1:2].tolist() == keys.tolist() == [[0, 1, 2], [0, 2, 1]]
    assert tokens[:, 1::2].tolist() == values.tolist()
    assert (tokens[:, -1].tolist(), answers.tolist()) == (keys[[0, 1], asked].tolist(), values[[0, 1], asked].tolist())


# === The task ===


@pytest.mark.parametrize("num_pairs", [1, 0, -3])
def test_fewer_than_two_pairs_are_refused(num_pairs):
    with pytest.raises(ValueError, match=rf"^data\.num_pairs must be at least 2\. Received: {num_pairs}$"):
        RecallTask(num_pairs)


@pytest.mark.parametrize(("accuracy", "learned"), [(1.0, True), (0.95, True), (0.949, False), (0.05, False)])
def test_learned_is_a_clean_accuracy_of_95_percent(accuracy, learned):
    assert TASK.learned({"accuracy": 0.5, "val_accuracy": accuracy}) is learned
    assert TASK.learned({"val_accuracy": float("nan")}) is False


def test_its_origin_tells_what_it_is():
    assert TASK.origin == (
        "recall: 20 pairs a sequence, fresh ones at every step, 0.05 of their labels random; "
        "2048 clean sequences held out by seed 0"
    )
