"""Text from a run that has trained a language model."""

from collections.abc import Iterator
from itertools import chain, islice, takewhile
from pathlib import Path
from textwrap import shorten

import keras

from rankscope.data.vocabulary import load_vocabulary, stream
from rankscope.errors import UserError
from rankscope.program import typed
from rankscope.records import read_summary
from rankscope.training.settings import read_settings
from rankscope.zoo.generate import generate
from rankscope.zoo.registry import MODELS


def sample(
    run: Path, prompt: str = "", length: int = 500, temperature: float = 0.8, top_k: int | None = None, seed: int = 0
) -> Iterator[str]:
    """A prompt and how the run's model goes on with it, piece by piece as it is written.

    Args:
        run: directory of a run that has ended, of a model that writes text; on any backend.
        prompt: text; an empty one stands for the start of a document.
        length: int ≥ 1, tokens to add at most; the text ends earlier where the model ends the document (EOS).
        temperature: float ≥ 0; 0 always takes the likeliest token.
        top_k: int ≥ 1, only so many likeliest tokens are drawn from; None: all.
        seed: int ≥ 0; one seed, one text.

    Raises:
        UserError: for another kind of run or directory, one without a whole model, a prompt with characters that the
            model does not know, or a number out of its range.
    """
    settings = read_settings(run)
    listed = MODELS[settings.model.name]
    if not listed.writes_text:
        writers = " or ".join(name for name, other in MODELS.items() if other.writes_text)
        raise UserError(f"Only a {writers} writes text. Received: {run}, a run of the model {listed.name}")
    if length < 1:
        raise UserError(f"The length must be at least 1. Received: {length}")
    try:
        vocabulary = load_vocabulary(settings.data.vocabulary)
        unknown = [sign for sign in sorted(set(prompt)) if vocabulary.encode(sign)[0] == vocabulary.unknown]
        if unknown:
            raise ValueError(
                f"The vocabulary {vocabulary.name} lacks signs of the prompt. Received: {''.join(unknown)!r}"
            )
        eos = vocabulary.size - 1
        start = vocabulary.encode(prompt).tolist() or [eos]
        tokens = generate(_load_model(run, listed.load(), vocabulary.size), start, temperature, top_k, seed)
    except ValueError as error:
        raise UserError(str(error)) from error
    written = takewhile(lambda token: token != eos, islice(tokens, length))
    return stream(vocabulary, chain(start if prompt else [], written))


def _load_model(run, kind, vocabulary_size):
    path = run / "model.keras"
    if not path.is_file():
        status = read_summary(run)["status"]
        remedy = f"; go on with it: {typed('fit', '--resume', str(run))}" if status == "unfinished" else ""
        raise UserError(f"{run} has no model.keras, its status is {status}{remedy}")
    try:
        model = keras.models.load_model(path, compile=False)
    except MemoryError:
        raise
    except Exception as error:  # what damage raises is up to zip, HDF5, JSON and Keras
        raise UserError(f"{path} is damaged: {shorten(str(error), 200)}") from error
    if not isinstance(model, kind) or model.vocabulary_size != vocabulary_size:
        raise UserError(f"{path} is not the model of this run's settings.yaml")
    return model
