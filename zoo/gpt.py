"""The language model of section 4.2 and table 2: GPT-2's pre-norm Transformer with ReLU and a tied vocabulary table."""

from typing import Any

import keras

from rankscope.zoo.layers import HostNormal, TokenEmbedding, constructor_arguments, split_seed, transformer_blocks


@keras.saving.register_keras_serializable(package="rankscope")
class GPT(keras.Model):
    """Embedding, causal blocks of attention and ReLU MLP, layer norm, projection, logits of each next token.

    Table 2 has "no input- but output-embedding": we read one vocabulary table that tokens and logits share, nothing
    after the lookup, and a projection `hidden_dim → hidden_dim` with bias before the logits. So the defaults with
    GPT-2's 50,257 tokens and 1,024 positions have 125,030,400 parameters, table 1's "125Mio".

    Args:
        vocabulary_size: int ≥ 1.
        sequence_length: int ≥ 1, tokens.
        hidden_dim: int ≥ 1, width of a token. Table 2 prints 756; its 12 heads × 64 make 768.
        num_layers: int ≥ 1, N of table 2.
        num_heads: int ≥ 1.
        key_dim: int ≥ 1, of one head.
        mlp_dim: int ≥ 1, or None for `4 · hidden_dim`.
        position_encoding: `"learned"`, `"sinusoidal"` or `"none"`; table 2 says "standard".
        embedding_dropout: float in [0, 1), after the positions are added; there is no other.
        use_bias: bool, biases of query, key and value, as in GPT-2.
        stddev: float ≥ 0, of initial weights; those before a residual have `stddev / (2√N)`. Biases start at 0.
        remat: bool, each block is computed again in the backward pass, instead of keeping its activations.
        seed: int ≥ 0, of initial weights and dropout.

    Input: tokens, ints `(batch, sequence_length)`. Output: logits `(batch, sequence_length, vocabulary_size)`, in the
    compute dtype: at this size they are the largest tensor of a step, and the loss makes them float32.

    Raises:
        ValueError: for another position encoding, or an odd width for sinusoids.

    Example:

    >>> model = GPT(vocabulary_size=11, sequence_length=6, hidden_dim=8, num_layers=2, num_heads=2, key_dim=4)
    >>> model.count_params(), tuple(model(keras.ops.ones((3, 6), dtype="int32")).shape)
    (1968, (3, 6, 11))
    """

    def __init__(
        self,
        vocabulary_size: int,
        sequence_length: int,
        hidden_dim: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        key_dim: int = 64,
        mlp_dim: int | None = None,
        position_encoding: str = "learned",
        embedding_dropout: float = 0.1,
        use_bias: bool = True,
        stddev: float = 0.02,
        remat: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        embedding_seed, dropout_seed, projection_seed, *block_seeds = split_seed(seed, 3 + num_layers)
        # === Layers ===
        embedding = TokenEmbedding(
            vocabulary_size, hidden_dim, position_encoding, stddev, seed=embedding_seed, name="embedding"
        )
        dropout = keras.layers.Dropout(embedding_dropout, seed=dropout_seed, name="embedding_dropout")
        blocks = transformer_blocks(
            block_seeds,
            num_heads=num_heads,
            key_dim=key_dim,
            mlp_dim=mlp_dim or 4 * hidden_dim,
            activation="relu",
            use_bias=use_bias,
            causal=True,
            stddev=stddev,
            output_stddev=stddev / (2 * num_layers**0.5),
            remat=remat,
        )
        norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        projection = keras.layers.Dense(
            hidden_dim, kernel_initializer=HostNormal(stddev, projection_seed), name="projection"
        )
        # === Functional model ===
        inputs = keras.Input((sequence_length,), dtype="int32", name="tokens")
        tokens = dropout(embedding(inputs))  # (B, T, D)
        for block in blocks:
            tokens = block(tokens)
        logits = embedding(projection(norm(tokens)), reverse=True)  # (B, T, V)
        super().__init__(inputs=inputs, outputs=logits, **kwargs)
        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.sequence_length = sequence_length
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.mlp_dim = mlp_dim
        self.position_encoding = position_encoding
        self.embedding_dropout = embedding_dropout
        self.use_bias = use_bias
        self.stddev = stddev
        self.remat = remat
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {"name": self.name, "trainable": self.trainable, **constructor_arguments(self)}
