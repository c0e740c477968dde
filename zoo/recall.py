"""The attention-only Transformer of section 4.1, which learns to recall associations in context."""

from typing import Any

import keras

from rankscope.zoo.layers import MultiHeadAttention, TokenEmbedding, class_logits, constructor_arguments, split_seed


@keras.saving.register_keras_serializable(package="rankscope")
class RecallTransformer(keras.Model):
    """Embedding, layers x + attention(norm(x)) without any MLP, and logits of the token after the last one.

    Two layers are the fewest that can look an answer up: the first carries each key to its value's place, the second
    finds there the key that is asked for. Attention is causal.

    Args:
        vocabulary_size: int ≥ 1.
        sequence_length: int ≥ 1.
        hidden_dim: int ≥ 1, width of a token.
        num_layers: int ≥ 1.
        num_heads: int ≥ 1.
        key_dim: int ≥ 1, of one head.
        layer_norm: bool, a layer norm before each attention and before the logits.
        position_encoding: `"learned"`, `"sinusoidal"` or `"none"`.
        embedding_stddev: float ≥ 0, of the initial embeddings of tokens and positions. From 0.02, a common value
            elsewhere, it did not learn (configs/recall.yaml has the numbers).
        seed: int ≥ 0, of initial weights.

    Input: tokens, ints `(batch, sequence_length)`. Output: logits `(batch, vocabulary_size)`.

    Raises:
        ValueError: for another position encoding, or an odd width for sinusoids.

    Example:

    >>> model = RecallTransformer(vocabulary_size=40, sequence_length=41)
    >>> model.count_params(), tuple(model(keras.ops.ones((2, 41), dtype="int32")).shape)
    (24512, (2, 40))
    """

    def __init__(
        self,
        vocabulary_size: int,
        sequence_length: int,
        hidden_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 1,
        key_dim: int = 32,
        layer_norm: bool = True,
        position_encoding: str = "learned",
        embedding_stddev: float = 1.0,
        seed: int = 0,
        **kwargs,
    ):
        embedding_seed, head_seed, *attention_seeds = split_seed(seed, 2 + num_layers)
        # === Layers ===
        embedding = TokenEmbedding(
            vocabulary_size, hidden_dim, position_encoding, embedding_stddev, seed=embedding_seed, name="embedding"
        )
        attentions = [
            MultiHeadAttention(
                num_heads,
                key_dim,
                causal=True,
                last_only=index == num_layers - 1,  # of the last layer only the last token is read
                seed=attention_seed,
                name=f"attention_{index}",
            )
            for index, attention_seed in enumerate(attention_seeds)
        ]

        def norm(name):
            return keras.layers.LayerNormalization(epsilon=1e-6, name=name) if layer_norm else keras.layers.Identity()

        head = class_logits(hidden_dim, vocabulary_size, head_seed, use_bias=False)
        # === Functional model ===
        inputs = keras.Input((sequence_length,), dtype="int32", name="tokens")
        tokens = embedding(inputs)  # (B, T, D)
        for index, attention in enumerate(attentions):
            attended = attention(norm(f"norm_{index}")(tokens))  # (B, T, D), of the last layer (B, 1, D)
            tokens = (tokens[:, -1:] if attention.last_only else tokens) + attended
        last = norm("norm")(tokens[:, -1])  # (B, D)
        super().__init__(inputs=inputs, outputs=head(last), **kwargs)
        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.sequence_length = sequence_length
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.layer_norm = layer_norm
        self.position_encoding = position_encoding
        self.embedding_stddev = embedding_stddev
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {"name": self.name, "trainable": self.trainable, **constructor_arguments(self)}
