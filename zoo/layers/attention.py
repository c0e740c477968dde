"""Multi-head attention whose four kernels are tagged as two factor pairs."""

from typing import Any

import keras
from keras import ops

from rankscope.zoo.layers.config import constructor_arguments
from rankscope.zoo.layers.factor_tags import tag
from rankscope.zoo.layers.initializers import HostNormal, split_seed, xavier_stddev
from rankscope.zoo.layers.products import matmul_2d


@keras.saving.register_keras_serializable(package="rankscope")
class MultiHeadAttention(keras.layers.Layer):
    """Self-attention, eq. 1 of the paper, with kernels that optimizer, monitor and readers recognise by their tag.

    One head adds `P W_V E φ((Eᵀ W_Kᵀ W_Q E) ⊙ M)` to the tokens; φ is the softmax over keys of logits scaled by
    `key_dim ** -0.5`. Kernels are the transposes of the paper's matrices: `query_kernel`, `key_kernel` and
    `value_kernel` are `(hidden_dim, num_heads, key_dim)`, `output_kernel` is `(num_heads, key_dim, hidden_dim)`.
    Unlike `keras.layers.MultiHeadAttention`, biases are off by default, as in the paper.

    Args:
        num_heads: int ≥ 1.
        key_dim: int ≥ 1, size of queries, keys and values of one head.
        use_bias: bool, biases of query, key and value, of shape `(num_heads, key_dim)`.
        use_output_bias: bool, a bias of shape `(hidden_dim,)` after the output projection.
        causal: bool, M lets a token see itself and earlier ones only.
        last_only: bool, only the last token looks around, at all of them: for a last layer of which only this token is
            read on. The same numbers as `[:, -1:]` of the whole, in less time.
        dropout: float in [0, 1), dropout of attention probabilities. With it, flash attention is not used.
        stddev: float ≥ 0, of the initial kernels, or None for Xavier normal.
        output_stddev: float ≥ 0, of the initial output kernel, or None for the same as of the others.
        seed: int ≥ 0, of initial kernels and dropout.

    Input: `(batch, tokens, hidden_dim)`. Output: the same, or `(batch, 1, hidden_dim)` of the last token only.

    Example:

    >>> attention = MultiHeadAttention(num_heads=2, key_dim=4)
    >>> tuple(attention(keras.ops.ones((1, 3, 8))).shape)
    (1, 3, 8)
    >>> attention.query_kernel.factor_role, attention.output_kernel.factor_role
    ('query', 'output')
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        use_bias: bool = False,
        use_output_bias: bool = False,
        causal: bool = False,
        last_only: bool = False,
        dropout: float = 0.0,
        stddev: float | None = None,
        output_stddev: float | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_heads < 1 or key_dim < 1:
            raise ValueError(
                f"num_heads and key_dim must be at least 1. Received: num_heads={num_heads}, key_dim={key_dim}"
            )
        # === Config ===
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.use_bias = use_bias
        self.use_output_bias = use_output_bias
        self.causal = causal
        self.last_only = last_only
        self.dropout = dropout
        self.stddev = stddev
        self.output_stddev = output_stddev
        self.seed = seed
        # === Layers ===
        self.dropout_layer = (
            keras.layers.Dropout(dropout, seed=split_seed(seed, 5)[4], dtype=self.dtype_policy) if dropout else None
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create and tag the kernels."""
        hidden_dim = input_shape[-1]
        seeds = iter(split_seed(self.seed, 4))
        xavier = xavier_stddev(hidden_dim, self.num_heads * self.key_dim)
        inner = xavier if self.stddev is None else self.stddev
        outer = inner if self.output_stddev is None else self.output_stddev

        def kernel(role, shape):
            initializer = HostNormal(outer if role == "output" else inner, next(seeds))
            variable = self.add_weight(shape=shape, initializer=initializer, name=f"{role}_kernel")
            tag(variable, role)
            return variable

        def bias(role, shape, used):
            return self.add_weight(shape=shape, initializer="zeros", name=f"{role}_bias") if used else None

        inward, per_head = (hidden_dim, self.num_heads, self.key_dim), (self.num_heads, self.key_dim)
        self.query_kernel = kernel("query", inward)
        self.key_kernel = kernel("key", inward)
        self.value_kernel = kernel("value", inward)
        self.output_kernel = kernel("output", (self.num_heads, self.key_dim, hidden_dim))
        self.query_bias = bias("query", per_head, self.use_bias)
        self.key_bias = bias("key", per_head, self.use_bias)
        self.value_bias = bias("value", per_head, self.use_bias)
        self.output_bias = bias("output", (hidden_dim,), self.use_output_bias)

    def call(
        self,
        tokens: keras.KerasTensor,
        training: bool | None = None,
        cache: Any = None,
        places: keras.KerasTensor | None = None,
    ) -> Any:
        """Attend: `(B, T, D)` to `(B, T, D)`, or `(B, 1, D)` of the last token only.

        With a `cache`, keys and values `(2, B, C, H, K)` of earlier tokens, these are the tokens at `places` `(T,)`,
        one after the other: they see all up to themselves, and the cache with theirs is given back, too. This is for
        generating: there is no dropout.
        """
        looking = tokens[:, -1:] if self.last_only else tokens  # (B, S, D)
        query = self._project(looking, self.query_kernel, self.query_bias)  # (B, S, H, K)
        key = self._project(tokens, self.key_kernel, self.key_bias)  # (B, T, H, K)
        value = self._project(tokens, self.value_kernel, self.value_bias)  # (B, T, H, K)
        if cache is not None:
            start = ops.stack([0, 0, places[0], 0, 0])
            cache = ops.slice_update(cache, start, ops.stack([key, value]))  # (2, B, C, H, K)
            visible = ops.arange(cache.shape[2]) <= places[:, None]  # (T, C)
            mixed = ops.dot_product_attention(query, cache[0], cache[1], mask=visible[None, None])  # (B, T, H, K)
        elif self.dropout_layer is None:
            causal = self.causal and not self.last_only  # the last token sees all
            mixed = ops.dot_product_attention(query, key, value, is_causal=causal)  # (B, S, H, K)
        else:
            mixed = self._attend_with_dropout(query, key, value, training)  # (B, S, H, K)
        # One matrix product over all heads: several times faster than an einsum over (H, K) on a CPU.
        tokens_out = matmul_2d(
            ops.reshape(mixed, (-1, ops.shape(looking)[1], self.num_heads * self.key_dim)),
            ops.reshape(self.output_kernel, (self.num_heads * self.key_dim, -1)),
        )  # (B, S, D)
        tokens_out = tokens_out if self.output_bias is None else ops.add(tokens_out, self.output_bias)
        return tokens_out if cache is None else (tokens_out, cache)

    def _project(self, tokens, kernel, bias):
        joined = matmul_2d(tokens, ops.reshape(kernel, (kernel.shape[0], -1)))  # (B, T, H·K)
        heads = ops.reshape(joined, (-1, ops.shape(tokens)[1], self.num_heads, self.key_dim))  # (B, T, H, K)
        return heads if bias is None else ops.add(heads, bias)

    def _attend_with_dropout(self, query, key, value, training):
        logits = ops.einsum("bshk,bthk->bhst", query, key) * self.key_dim**-0.5  # (B, H, S, T)
        if self.causal and not self.last_only:
            length = ops.shape(logits)[-1]
            visible = ops.tril(ops.ones((length, length), dtype="bool"))  # (S, T)
            logits = ops.where(visible, logits, ops.cast(-1e9 if logits.dtype != "float16" else -6e4, logits.dtype))
        probabilities = self.dropout_layer(ops.softmax(logits, axis=-1), training=training)  # (B, H, S, T)
        return ops.einsum("bhst,bthk->bshk", probabilities, value)  # (B, S, H, K)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape, or that of its last token."""
        batch, tokens, hidden_dim = input_shape
        return batch, 1 if self.last_only else tokens, hidden_dim

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {**super().get_config(), **constructor_arguments(self)}
