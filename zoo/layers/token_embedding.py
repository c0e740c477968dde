"""Tokens to vectors and, by the same table, vectors back to logits."""

from typing import Any

import keras
import numpy as np
from keras import ops

from rankscope.zoo.layers.config import constructor_arguments
from rankscope.zoo.layers.initializers import HostNormal, split_seed
from rankscope.zoo.layers.products import matmul_2d

#: Up to here a lookup is a product with one-hot rows, which are no bigger than an MLP's activations.
_ONE_HOT_LIMIT = 1024


@keras.saving.register_keras_serializable(package="rankscope")
class TokenEmbedding(keras.layers.Layer):
    """Look tokens up and add their positions; with `reverse=True`, give logits by the same table (arXiv 1608.05859).

    Args:
        vocabulary_size: int ≥ 1.
        hidden_dim: int ≥ 1; even for sinusoidal positions.
        position_encoding: `"learned"`, `"sinusoidal"` (arXiv 1706.03762, section 3.5) or `"none"`.
        stddev: float ≥ 0, of the initial token embeddings and of learned positions.
        seed: int ≥ 0, of both.

    Input: ints `(batch, tokens)`; output `(batch, tokens, hidden_dim)`. With `reverse=True`: vectors
    `(batch, tokens, hidden_dim)` to logits `(batch, tokens, vocabulary_size)`, each a dot product with a token's row.

    Raises:
        ValueError: for another position encoding, or an odd width for sinusoids.

    Example:

    >>> embedding = TokenEmbedding(vocabulary_size=5, hidden_dim=8)
    >>> vectors = embedding(ops.array([[0, 4, 1]]))
    >>> tuple(vectors.shape), tuple(embedding(vectors, reverse=True).shape)
    ((1, 3, 8), (1, 3, 5))
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int,
        position_encoding: str = "learned",
        stddev: float = 1.0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if position_encoding not in ("learned", "sinusoidal", "none"):
            raise ValueError(
                f'model.position_encoding must be "learned", "sinusoidal" or "none". Received: {position_encoding!r}'
            )
        if position_encoding == "sinusoidal" and hidden_dim % 2:
            raise ValueError(f"model.hidden_dim must be even for sinusoidal positions. Received: {hidden_dim}")
        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.position_encoding = position_encoding
        self.stddev = stddev
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the table of tokens and that of positions."""
        length = input_shape[1]
        token_seed, position_seed = split_seed(self.seed, 2)
        self.token_embedding = self.add_weight(
            shape=(self.vocabulary_size, self.hidden_dim),
            initializer=HostNormal(self.stddev, token_seed),
            name="token_embedding",
        )
        learned = self.position_encoding == "learned"
        self.position_embedding = (
            None
            if self.position_encoding == "none"
            else self.add_weight(
                shape=(length, self.hidden_dim),
                initializer=HostNormal(self.stddev, position_seed) if learned else _sinusoids,
                trainable=learned,
                name="position_embedding",
            )
        )

    def call(
        self, inputs: keras.KerasTensor, reverse: bool = False, places: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """Embed: `(B, T)` to `(B, T, D)`; or score every token of the vocabulary: `(B, T, D)` to `(B, T, V)`.

        With `places` `(T,)`, these are the tokens from there, instead of a whole sequence.
        """
        if reverse:
            return matmul_2d(inputs, ops.transpose(self.token_embedding))  # (B, T, V)
        tokens = ops.cast(inputs, "int32")
        if self.vocabulary_size <= _ONE_HOT_LIMIT:
            # The gradient of a product is a product, too, where that of a lookup is a slow scatter.
            rows = ops.one_hot(tokens, self.vocabulary_size, dtype=self.compute_dtype)  # (B, T, V)
            embedded = matmul_2d(rows, self.token_embedding)  # (B, T, D)
        else:  # one-hot rows would be as big as the logits
            embedded = ops.take(self.token_embedding, tokens, axis=0)  # (B, T, D)
        if self.position_embedding is None:
            return embedded
        if places is None:
            return embedded + self.position_embedding
        return embedded + ops.take(self.position_embedding, places, axis=0)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], reverse: bool = False
    ) -> tuple[int | None, ...]:
        """`(batch, tokens, hidden_dim)`, or with `reverse` `(batch, tokens, vocabulary_size)`."""
        return (*input_shape[:-1], self.vocabulary_size) if reverse else (*input_shape, self.hidden_dim)

    def compute_output_spec(self, inputs: keras.KerasTensor, reverse: bool = False) -> keras.KerasTensor:
        """Shape and type of the output; by default Keras would ask for the shape without `reverse`."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape, reverse), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {**super().get_config(), **constructor_arguments(self)}


def _sinusoids(shape, dtype=None):
    """Initializer of `(tokens, hidden_dim)`: sines in the first half of the columns, cosines in the second.

    Arxiv 1706.03762 interleaves them; the columns are the same in another order.
    """
    length, hidden_dim = shape
    half = hidden_dim // 2
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(half) / half)  # (T, D/2)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(dtype)
