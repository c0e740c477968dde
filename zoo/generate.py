"""Text from a trained language model: one token after the other, none of them computed twice."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

from rankscope.zoo.gpt import GPT


def generate(
    gpt: GPT, prompt: Sequence[int], temperature: float = 1.0, top_k: int | None = None, seed: int = 0
) -> Iterator[int]:
    """Tokens that follow a prompt, drawn from softmax(logits / temperature), for as long as one asks for them.

    Once the context is as long as the model's sequences, its last half is kept and read anew. Tokens are drawn by
    NumPy: a seed gives the same ones again, on every backend as far as rounding of the logits allows.

    Args:
        gpt: model.
        prompt: token ids, at least one; of a longer one than the model's sequences only the end is read.
        temperature: float ≥ 0; 0 always takes the likeliest token.
        top_k: int ≥ 1, only so many likeliest tokens are drawn from; None: all.
        seed: int ≥ 0.

    Raises:
        ValueError: for an empty prompt, or a number out of its range.

    Example:

    >>> gpt = GPT(vocabulary_size=11, sequence_length=6, hidden_dim=8, num_layers=2, num_heads=2, key_dim=4)
    >>> tokens = generate(gpt, prompt=[3, 1], seed=1)
    >>> all(0 <= next(tokens) < 11 for _ in range(10))
    True
    """
    if not 0 <= temperature < np.inf:
        raise ValueError(f"The temperature must be a finite number, at least 0. Received: {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1. Received: {top_k}")
    if seed < 0:
        raise ValueError(f"The seed must be at least 0. Received: {seed}")
    if not len(prompt):
        raise ValueError("The prompt must have at least one token")
    return _generate(gpt, list(prompt), temperature, top_k, np.random.default_rng(seed))


def _generate(gpt, context, temperature, top_k, rng):
    decoder, length = Decoder(gpt), gpt.sequence_length
    context = context[-length:]
    while True:
        decoder.read(context[:-1])
        for position in range(len(context) - 1, length):
            logits = decoder.step(context[-1], position)  # (V,)
            context.append(draw(logits, temperature, top_k, rng))
            yield context[-1]
        context = context[-max(1, length // 2) :]


def draw(logits: np.ndarray, temperature: float, top_k: int | None, rng: np.random.Generator) -> int:
    """Draw a token from softmax(logits / temperature) of the `top_k` largest logits `(V,)`.

    >>> draw(np.array([0.0, 2.0, 1.0]), temperature=0, top_k=None, rng=np.random.default_rng(0))
    1
    """
    # The largest of logits + Gumbel noise is such a draw (Gumbel-max), and temperature 0 is no special case.
    noisy = logits.astype("float64") + temperature * rng.gumbel(size=logits.shape)  # (V,)
    if top_k is None:
        return int(np.argmax(noisy))
    kept = np.argsort(-logits, kind="stable")[:top_k]  # (k,)
    return int(kept[np.argmax(noisy[kept])])


class Decoder(keras.Model):
    """A GPT that reads token by token, and remembers keys and values of the context.

    Two shapes only ever reach the backend's compiler: the whole context, and a single token. The caches are variables,
    so that they stay on the device: Keras' `predict_on_batch` compiles the step and carries them on.

    Args:
        gpt: the model, whose variables are shared.

    Example:

    >>> gpt = GPT(vocabulary_size=11, sequence_length=6, hidden_dim=8, num_layers=2, num_heads=2, key_dim=4)
    >>> decoder = Decoder(gpt)
    >>> decoder.read([3, 1])
    >>> decoder.step(4, position=2).shape
    (11,)
    """

    def __init__(self, gpt: GPT):
        super().__init__()
        self.gpt = gpt
        self.blocks = [gpt.get_layer(f"block_{index}") for index in range(gpt.num_layers)]
        shape = (2, 1, gpt.sequence_length, gpt.num_heads, gpt.key_dim)
        self.caches = [
            self.add_weight(shape, "zeros", block.compute_dtype, trainable=False, autocast=False)
            for block in self.blocks
        ]
        self.built = True

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Logits `(1, V)` of what follows the last of the tokens `(1, S)` at the places `(S,)`."""
        tokens, places = inputs
        embedding, norm, projection = map(self.gpt.get_layer, ("embedding", "norm", "projection"))
        vectors = embedding(tokens, places=places)  # (1, S, D)
        for block, cache in zip(self.blocks, self.caches, strict=True):
            vectors, written = block(vectors, cache=cache.value, places=places)  # (1, S, D)
            cache.assign(written)
        last = projection(norm(vectors[:, -1:]))  # (1, 1, D)
        return ops.cast(embedding(last, reverse=True)[:, 0], "float32")  # (1, V)

    def read(self, tokens: Sequence[int]) -> None:
        """Start a context with these tokens, at most as many as fit."""
        length = self.gpt.sequence_length
        padded = np.zeros((1, length), "int32")
        padded[0, : len(tokens)] = tokens  # what comes after them is written over before anybody sees it
        if len(tokens):
            self.predict_on_batch([padded, np.arange(length, dtype="int32")])

    def step(self, token: int, position: int) -> np.ndarray:
        """Read the token at a place whose earlier ones are read, and give logits `(V,)` of the one that follows it."""
        return self.predict_on_batch([np.array([[token]], "int32"), np.array([position], "int32")])[0]
