"""Generating: logits with a cache are those of the whole, tokens are drawn from them, contexts slide."""

from itertools import islice

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.zoo import GPT
from rankscope.zoo.generate import Decoder, draw, generate

LENGTH = 8


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def make_model(**settings):
    """Weights large enough that tokens and places matter, biases small enough that no token always wins."""
    sizes = {"vocabulary_size": 11, "sequence_length": LENGTH, "hidden_dim": 8, "num_layers": 2, "num_heads": 2}
    model = GPT(**{**sizes, "key_dim": 3, **settings})
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        drawn = rng.normal(0, 0.1 if variable.path.endswith(("bias", "beta")) else 0.5, variable.shape)
        variable.assign(drawn + variable.path.endswith("gamma"))
    return model


def whole(model, tokens):
    """Logits `(T, V)` of all tokens at once."""
    padded = np.zeros((1, model.sequence_length), "int32")
    padded[0, : len(tokens)] = tokens
    return ops.convert_to_numpy(ops.cast(model.predict_on_batch(padded)[0], "float32"))[: len(tokens)]


def tokens_of(model, count=LENGTH):
    return np.random.default_rng(1).integers(0, model.vocabulary_size, count)


def cached(decoder, tokens, read):
    """Logits `(T − read, V)`: some tokens read at once, the others one by one."""
    decoder.read(tokens[:read])
    return np.stack([decoder.step(tokens[place], place) for place in range(read, len(tokens))])


# === The cache ===


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"position_encoding": "sinusoidal"},
        {"position_encoding": "none"},
        {"remat": True, "use_bias": False, "mlp_dim": 5},
        {"vocabulary_size": 1025},  # a lookup instead of a product
    ],
    ids=["learned", "sinusoidal", "none", "remat", "lookup"],
)
def test_logits_with_a_cache_are_those_of_the_whole(settings):
    """At every place, whatever is read at once; one decoder, so that each context finds a longer one's remains."""
    model = make_model(**settings)
    tokens, decoder = tokens_of(model), Decoder(model)
    expected = whole(model, tokens)
    for read in reversed(range(LENGTH)):
        np.testing.assert_allclose(cached(decoder, tokens, read), expected[read:], atol=1e-5, rtol=1e-5)


def test_a_cache_matters():
    """Without the tokens that were read, the logits are others: the test above compares something."""
    model = make_model()
    tokens = tokens_of(model)
    forgetful = Decoder(model)
    assert np.abs(forgetful.step(tokens[5], 5) - whole(model, tokens)[5]).max() > 0.1


def test_places_that_are_not_written_yet_are_not_seen():
    model = make_model()
    tokens, decoder = tokens_of(model), Decoder(model)
    for cache in decoder.caches:
        cache.assign(ops.full(cache.shape, 1000.0))
    np.testing.assert_allclose(cached(decoder, tokens, 0), whole(model, tokens), atol=1e-5, rtol=1e-5)


def test_a_later_token_changes_nothing_before_it():
    model = make_model()
    decoder, tokens = Decoder(model), tokens_of(model)
    other = np.where(np.arange(LENGTH) == 5, (tokens + 1) % 11, tokens)
    one, two = cached(decoder, tokens, 2), cached(decoder, other, 2)
    np.testing.assert_array_equal(one[:3], two[:3])
    assert (np.abs(one[3:] - two[3:]).max(axis=1) > 1e-3).all()


def test_in_mixed_precision_the_cache_is_of_the_compute_dtype(policy):
    """Logits to 2⁻⁸, bfloat16's rounding, of the largest, once for each of the 2 layers' 2 branches."""
    policy("mixed_bfloat16")
    model = make_model()
    tokens, decoder = tokens_of(model), Decoder(model)
    assert {keras.backend.standardize_dtype(cache.dtype) for cache in decoder.caches} == {"bfloat16"}
    expected = whole(model, tokens)
    np.testing.assert_allclose(cached(decoder, tokens, 3), expected[3:], atol=4 * 2**-8 * np.abs(expected).max())


def test_the_compiler_sees_two_shapes_only(monkeypatch):
    """Calls of the decoder in Python: none any more after a read and two steps, over all lengths and windows."""
    if keras.backend.backend() == "torch":
        pytest.skip("torch calls Python at each step")
    calls = []
    call = Decoder.call
    monkeypatch.setattr(Decoder, "call", lambda *args, **kwargs: calls.append(1) or call(*args, **kwargs))
    tokens = generate(make_model(), [1, 2, 3])
    list(islice(tokens, 2))
    traced = len(calls)
    assert traced >= 2
    list(islice(tokens, 3 * LENGTH))
    assert len(calls) == traced


def test_the_model_stays_as_it_was():
    model = make_model()
    before = [(variable.path, ops.convert_to_numpy(variable.value)) for variable in model.variables]
    list(islice(generate(model, [1, 2]), 2 * LENGTH))
    after = [(variable.path, ops.convert_to_numpy(variable.value)) for variable in model.variables]
    assert [path for path, _ in after] == [path for path, _ in before]
    for (_, one), (_, other) in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


# === Tokens ===


def greedy(model, context, count):
    """The likeliest tokens, each by a whole forward pass; of a full context the last half is kept."""
    context, length, found = list(context)[-model.sequence_length :], model.sequence_length, []
    for _ in range(count):
        if len(context) > length:
            context = context[-max(1, length // 2) :]
        context.append(int(whole(model, context)[-1].argmax()))
        found.append(context[-1])
    return found


@pytest.mark.parametrize("prompt", [1, 2, 5, LENGTH, LENGTH + 3])
def test_temperature_0_takes_the_likeliest_token_of_the_whole_over_sliding_contexts(prompt):
    model = make_model()
    start = tokens_of(model, prompt)
    expected = greedy(model, start, 3 * LENGTH)
    assert len(set(expected)) > 2
    assert list(islice(generate(model, start, temperature=0), 3 * LENGTH)) == expected


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_contexts_slide_too(length):
    model = make_model(sequence_length=length)
    assert list(islice(generate(model, [4], temperature=0), 5)) == greedy(model, [4], 5)


def test_one_token_to_choose_from_or_hardly_any_warmth_is_greedy():
    model = make_model()
    expected = greedy(model, [3, 1], 2 * LENGTH)
    for settings in ({"top_k": 1}, {"top_k": 1, "temperature": 5.0}, {"temperature": 1e-6}):
        assert list(islice(generate(model, [3, 1], **settings), 2 * LENGTH)) == expected


def test_a_seed_is_one_text():
    model = make_model()
    one, same, other = (list(islice(generate(model, [3, 1], seed=seed), 2 * LENGTH)) for seed in (0, 0, 1))
    assert one == same
    assert one != other


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3), (1.0, 100)])
def test_tokens_are_drawn_by_their_probabilities(temperature, top_k):
    """Frequencies of 20,000 draws, to 4 standard deviations."""
    logits = np.array([0.3, -1.0, 2.0, 1.0, 0.3], "float32")
    kept = np.argsort(-logits, kind="stable")[:top_k]  # of the two 0.3, the first
    probabilities = np.zeros(5)
    probabilities[kept] = np.exp(logits[kept] / temperature)
    probabilities /= probabilities.sum()
    rng = np.random.default_rng(0)
    drawn = np.bincount([draw(logits, temperature, top_k, rng) for _ in range(20_000)], minlength=5) / 20_000
    np.testing.assert_array_less(np.abs(drawn - probabilities), 4 * np.sqrt(probabilities / 20_000) + 1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, r"^The temperature must be a finite number, at least 0\. Received: -1$"),
        ({"temperature": float("nan")}, r"^The temperature must be .* Received: nan$"),
        ({"temperature": float("inf")}, r"^The temperature must be .* Received: inf$"),
        ({"top_k": 0}, r"^top_k must be at least 1\. Received: 0$"),
        ({"seed": -1}, r"^The seed must be at least 0\. Received: -1$"),
        ({"prompt": []}, r"^The prompt must have at least one token$"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        generate(make_model(), **{"prompt": [1], **settings})
