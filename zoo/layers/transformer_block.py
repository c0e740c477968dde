"""One pre-norm Transformer block: attention and MLP, each after a layer norm and inside a residual."""

from collections.abc import Sequence
from typing import Any

import keras

from rankscope.zoo.layers.attention import MultiHeadAttention
from rankscope.zoo.layers.config import constructor_arguments
from rankscope.zoo.layers.initializers import HostNormal, split_seed, xavier_stddev
from rankscope.zoo.layers.locality import LocalityFeedForward
from rankscope.zoo.layers.products import apply_2d


@keras.saving.register_keras_serializable(package="rankscope")
class TransformerBlock(keras.layers.Layer):
    """x + attention(norm(x)), then x + MLP(norm(x)), as in GPT-2 and ViT.

    Args:
        num_heads: int ≥ 1.
        key_dim: int ≥ 1, of one head.
        mlp_dim: int ≥ 1, inner size of the MLP.
        activation: str, of the MLP; `"gelu"` is the exact one.
        dropout: float in [0, 1), of both branches before they join the residual.
        use_bias: bool, biases of query, key and value; the output projection and the MLP always have one.
        causal: bool, see `MultiHeadAttention`.
        stddev: float ≥ 0, of the initial kernels, or None for Xavier normal.
        output_stddev: float ≥ 0, of the two initial kernels before a residual, or None for the same as of the others.
        drop_path: float in [0, 1), part of the samples that go round a branch in training, drawn anew for each branch:
            stochastic depth (arXiv 1603.09382). The others' branches grow by 1 / (1 − drop_path).
        grid: `(rows, columns)` of patches for a `LocalityFeedForward` instead of the MLP, or None.
        class_token: bool, whether a token that is no patch stands before the grid.
        remat: bool, the backward pass computes the block again from its input, instead of keeping its activations.
        seed: int ≥ 0, of initial kernels and dropout.

    Input and output: `(batch, tokens, hidden_dim)`.

    Raises:
        ValueError: for `remat` with dropout or drop_path, whose second mask would be another one.

    Example:

    >>> block = TransformerBlock(num_heads=2, key_dim=4, mlp_dim=16)
    >>> tuple(block(keras.ops.ones((1, 3, 8))).shape)
    (1, 3, 8)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        mlp_dim: int,
        activation: str = "gelu",
        dropout: float = 0.0,
        use_bias: bool = False,
        causal: bool = False,
        stddev: float | None = None,
        output_stddev: float | None = None,
        drop_path: float = 0.0,
        grid: tuple[int, int] | None = None,
        class_token: bool = False,
        remat: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if remat and (dropout or drop_path):
            rate = f"dropout={dropout}" if dropout else f"drop_path={drop_path}"
            raise ValueError(f"remat needs a block without dropout. Received: remat={remat}, {rate}")
        # === Config ===
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.mlp_dim = mlp_dim
        self.activation = activation
        self.dropout = dropout
        self.use_bias = use_bias
        self.causal = causal
        self.stddev = stddev
        self.output_stddev = output_stddev
        self.drop_path = drop_path
        self.grid = None if grid is None else tuple(grid)
        self.class_token = class_token
        self.remat = remat
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the layers, now that `hidden_dim` is known."""
        hidden_dim = input_shape[-1]
        attention_seed, up_seed, down_seed, *dropout_seeds = split_seed(self.seed, 7)
        stddev = xavier_stddev(hidden_dim, self.mlp_dim) if self.stddev is None else self.stddev
        output_stddev = stddev if self.output_stddev is None else self.output_stddev
        dtype = self.dtype_policy
        # === Layers ===
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="attention_norm")
        self.attention = MultiHeadAttention(
            self.num_heads,
            self.key_dim,
            use_bias=self.use_bias,
            use_output_bias=True,
            causal=self.causal,
            stddev=self.stddev,
            output_stddev=self.output_stddev,
            seed=attention_seed,
            dtype=dtype,
            name="attention",
        )
        self.mlp_norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="mlp_norm")
        if self.grid is None:
            self.mlp_up = keras.layers.Dense(
                self.mlp_dim,
                activation=self.activation,
                kernel_initializer=HostNormal(stddev, up_seed),
                dtype=dtype,
                name="mlp_up",
            )
            self.mlp_down = keras.layers.Dense(
                hidden_dim, kernel_initializer=HostNormal(output_stddev, down_seed), dtype=dtype, name="mlp_down"
            )
        else:
            self.locality = LocalityFeedForward(
                self.mlp_dim, self.grid, self.class_token, seed=up_seed, dtype=dtype, name="locality"
            )
        self.dropouts = [keras.layers.Dropout(self.dropout, seed=seed, dtype=dtype) for seed in dropout_seeds[:2]]
        self.drop_paths = [
            keras.layers.Dropout(self.drop_path, noise_shape=(None, 1, 1), seed=seed, dtype=dtype)
            for seed in dropout_seeds[2:]
        ]
        for layer in (self.attention_norm, self.attention, self.mlp_norm):
            layer.build(input_shape)
        if self.grid is None:
            self.mlp_up.build(input_shape)
            self.mlp_down.build((*input_shape[:-1], self.mlp_dim))
        else:
            self.locality.build(input_shape)

    def call(
        self,
        tokens: keras.KerasTensor,
        training: bool | None = None,
        cache: Any = None,
        places: keras.KerasTensor | None = None,
    ) -> Any:
        """Apply both branches: `(B, T, D)` to `(B, T, D)`; with a `cache`, see `MultiHeadAttention.call`."""
        if cache is not None:
            return self._step(tokens, cache, places)
        if self.remat:  # in a closure: as an argument, JAX would trace `training`
            return keras.remat(lambda tokens: self._branches(tokens, training))(tokens)
        return self._branches(tokens, training)

    def _branches(self, tokens, training):
        attended = self.attention(self.attention_norm(tokens), training=training)  # (B, T, D)
        tokens = tokens + self._dropped(0, attended, training)
        transformed = self._feed_forward(self.mlp_norm(tokens))  # (B, T, D)
        return tokens + self._dropped(1, transformed, training)

    def _feed_forward(self, tokens):
        if self.grid is not None:
            return self.locality(tokens)
        return apply_2d(lambda rows: self.mlp_down(self.mlp_up(rows)), tokens)

    def _dropped(self, branch, tokens, training):
        return self.drop_paths[branch](self.dropouts[branch](tokens, training=training), training=training)

    def _step(self, tokens, cache, places):
        attended, cache = self.attention(self.attention_norm(tokens), cache=cache, places=places)  # (B, T, D)
        tokens = tokens + attended
        return tokens + self.mlp_down(self.mlp_up(self.mlp_norm(tokens))), cache  # (B, T, D)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {**super().get_config(), **constructor_arguments(self)}


def transformer_blocks(seeds: Sequence[int], stochastic_depth: float = 0.0, **arguments) -> list[TransformerBlock]:
    """Blocks `block_0`, `block_1`, … of equal arguments, one a seed.

    Args:
        seeds: of the blocks.
        stochastic_depth: float in [0, 1), `drop_path` of the last block; it grows linearly from 0 at the first.
        **arguments: of each `TransformerBlock`.

    Example:

    >>> blocks = transformer_blocks([0, 1, 2], 0.5, num_heads=2, key_dim=4, mlp_dim=16)
    >>> [(block.name, block.drop_path) for block in blocks]
    [('block_0', 0.0), ('block_1', 0.25), ('block_2', 0.5)]
    """
    last = max(1, len(seeds) - 1)
    return [
        TransformerBlock(**arguments, drop_path=stochastic_depth * index / last, seed=seed, name=f"block_{index}")
        for index, seed in enumerate(seeds)
    ]
