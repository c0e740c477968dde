"""Text for language models: windows of tokens and the tokens that come next."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from rankscope.data.batches import StepBatches
from rankscope.data.dataset import Dataset
from rankscope.data.documents import addresses_folder, find_files
from rankscope.data.shards import Tokens, open_tokens, read_index
from rankscope.data.vocabulary import VocabularyName, load_vocabulary

_HELD_OUT_EVERY = 10


def perplexity(loss: float) -> float:
    """exp of a mean loss in nats a token: among how many equally likely tokens a model chooses; ∞ beyond float64.

    >>> perplexity(0.0), perplexity(800.0)
    (1.0, inf)
    """
    return math.exp(loss) if loss < 700 else math.inf


@dataclass(frozen=True)
class TextData(Dataset):
    """Tokens of documents, one after the other with EOS behind each, in a training and a held-out part.

    Args:
        origin: str, one line for people: what it is, how much of it is held out.
        train: tokens to be learned from.
        validation: tokens of other documents.
        vocabulary_size: int, all ids are below it.
        sequence_length: int ≥ 1, T, tokens that a model sees of a window.
        validation_windows: int ≥ 1 or None, at most so many windows are validated on, evenly spread; None: all.

    Raises:
        ValueError: where a part is shorter than one window, T + 1 tokens.
    """

    origin: str
    train: Tokens = field(repr=False)
    validation: Tokens = field(repr=False)
    vocabulary_size: int
    sequence_length: int
    validation_windows: int | None = None
    kind = "text"
    metrics = ()  # an accuracy would read all logits once more
    of_loss: ClassVar = {"perplexity": perplexity}
    unit = "tokens"

    def __post_init__(self):
        for name, tokens in [("training", self.train), ("held-out", self.validation)]:
            if len(tokens) <= self.sequence_length:
                raise ValueError(
                    f"data.sequence_length must be less than the {len(tokens)} {name} tokens of {self.origin}. "
                    f"Received: {self.sequence_length}"
                )

    @property
    def units_per_sample(self) -> int:
        """T."""
        return self.sequence_length

    def train_batch(self, step: int, batch_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The training batch of a step, a pure function of `(step, seed)`.

        Windows start anywhere, in the midst of a document, too, and may reach over EOS into the next one. Each start is
        drawn anew: nothing grows with the size of the text, at the price that one pass over it misses 1/e of it.

        Returns:
            int32 tokens `(batch_size, T)` and the tokens that come next `(batch_size, T)`.
        """
        rng = np.random.default_rng((seed, step))
        return self._batch(self.train, rng.integers(len(self.train) - self.sequence_length, size=batch_size))

    def validation_batches(self, batch_size: int) -> StepBatches:
        """Windows of the held-out documents that do not overlap, each once, in order, the last batch possibly short."""
        starts = self._validation_starts

        def draw(index):
            return self._batch(self.validation, starts[index * batch_size : (index + 1) * batch_size])

        return StepBatches(draw, 0, -(-len(starts) // batch_size))

    def learned(self, metrics: dict[str, float]) -> bool:
        """Whether `val_loss` is below `unigram_loss`: who gets there makes use of the context."""
        return bool(metrics["val_loss"] < self.unigram_loss)

    @cached_property
    def unigram_loss(self) -> float:
        """The least loss in nats a token, on the windows of validation, of a model that does not look at the context.

        It is the entropy of their own frequencies, which no such model knows: those of the training text do worse.
        """
        counts = np.zeros(self.vocabulary_size, dtype=np.int64)
        batches = self.validation_batches(256)
        for index in range(len(batches)):
            counts += np.bincount(batches[index][1].ravel(), minlength=self.vocabulary_size)
        frequencies = counts[counts > 0] / counts.sum()
        return float(-np.sum(frequencies * np.log(frequencies)))

    @cached_property
    def _validation_starts(self):
        windows = (len(self.validation) - 1) // self.sequence_length
        count = min(windows, self.validation_windows or windows)
        return np.arange(count) * windows // count * self.sequence_length

    def _batch(self, tokens, starts):
        windows = tokens.windows(starts, self.sequence_length + 1)  # (B, T + 1)
        if windows.max() >= self.vocabulary_size:
            raise ValueError(
                f"The shards of {self.origin} are damaged: their ids must be below {self.vocabulary_size}. "
                f"Received: {windows.max()}"
            )
        return windows[:, :-1], windows[:, 1:]


def load_text(
    path: str | None = None,
    vocabulary: VocabularyName = "gpt2",
    sequence_length: int = 256,
    validation_windows: int | None = 512,
) -> TextData:
    """Tokens of a directory that `data tokenize` has made, or of 249 addresses that come with a package.

    Args:
        path: of a directory with an index.json; None for the State of the Union addresses, 1790 to 2026 (public
            domain), 2.39 million GPT-2 tokens or 12.2 million characters, tokenized anew in a second or two.
        vocabulary: `"gpt2"` or `"characters"`; that of the directory, if one is given.
        sequence_length: int ≥ 1, T.
        validation_windows: int ≥ 1 or None, at most so many windows are validated on, evenly spread; None: all.

    Raises:
        ValueError: for a directory that is none of ours, of another vocabulary or damaged, a package that is missing,
            or a sequence that is longer than the text.

    Example:

    >>> data = load_text(vocabulary="characters", sequence_length=64)
    >>> tokens, following = data.train_batch(step=0, batch_size=8, seed=0)
    >>> tokens.shape, following.shape, bool(np.all(tokens[:, 1:] == following[:, :-1]))
    ((8, 64), (8, 64), True)
    """
    words = load_vocabulary(vocabulary)
    if path is None:
        train, validation, origin = _addresses(vocabulary)
    else:
        directory = Path(path)
        index = read_index(directory)
        if index.vocabulary.sha256 != words.sha256:
            raise ValueError(
                f"data.vocabulary must be that of {directory}, {index.vocabulary.name} "
                f"(sha256 {index.vocabulary.sha256[:12]}…). "
                f"Received: {vocabulary} (sha256 {words.sha256[:12]}…)"
            )
        train, validation = (open_tokens(directory, index, part) for part in ("train", "validation"))
        origin = (
            f"{directory} ({index.source.name}): {len(train)} training and {len(validation)} held-out tokens of "
            f"{vocabulary}, of {index.documents['train']} and {index.documents['validation']} documents"
        )
    return TextData(origin, train, validation, words.size, sequence_length, validation_windows)


def _addresses(vocabulary):
    words = load_vocabulary(vocabulary)
    eos = np.array([words.size - 1], dtype=np.uint16)
    files, _ = find_files(addresses_folder())
    documents = [np.concatenate([words.encode(path.read_bytes().decode()), eos]) for path in files]
    held_out = documents[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY]
    kept = [ids for number, ids in enumerate(documents, 1) if number % _HELD_OUT_EVERY]
    train, validation = np.concatenate(kept), np.concatenate(held_out)
    origin = (
        f"State of the Union addresses: {len(train)} training and {len(validation)} held-out tokens of {vocabulary}, "
        f"every {_HELD_OUT_EVERY}th address held out"
    )
    return Tokens([train]), Tokens([validation]), origin
