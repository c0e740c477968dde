"""A feed-forward with a 3×3 depthwise convolution between patches, instead of an MLP."""

from typing import Any

import keras
from keras import ops

from rankscope.zoo.layers.config import constructor_arguments
from rankscope.zoo.layers.initializers import HostNormal, split_seed, xavier_stddev
from rankscope.zoo.layers.products import apply_2d


@keras.saving.register_keras_serializable(package="rankscope")
class LocalityFeedForward(keras.layers.Layer):
    """1×1 → h-swish → depthwise 3×3 → h-swish → 1×1 over the patches, without biases (arXiv 2104.05707, 2211.05187).

    A class token goes round it: its output is zero, so that in a residual it stays as it is.

    Args:
        mlp_dim: int ≥ 1, channels of the convolution.
        grid: `(rows, columns)` of patches at full size. Fewer or more are taken to be a grid of the same proportions.
        class_token: bool, whether the first token is none of the patches.
        seed: int ≥ 0, of the initial kernels, Xavier normal.

    Input and output: `(batch, tokens, hidden_dim)`.

    Raises:
        ValueError: where the patches make no grid of these proportions.

    Example:

    >>> local = LocalityFeedForward(mlp_dim=16, grid=(4, 4), class_token=True)
    >>> tuple(local(ops.ones((1, 17, 8))).shape), tuple(local(ops.ones((1, 5, 8))).shape)
    ((1, 17, 8), (1, 5, 8))
    """

    def __init__(self, mlp_dim: int, grid: tuple[int, int], class_token: bool = False, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        # === Config ===
        self.mlp_dim = mlp_dim
        self.grid = tuple(grid)
        self.class_token = class_token
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the layers, now that `hidden_dim` is known."""
        hidden_dim = input_shape[-1]
        up_seed, depthwise_seed, down_seed = split_seed(self.seed, 3)
        stddev = xavier_stddev(hidden_dim, self.mlp_dim)
        dtype = self.dtype_policy
        # === Layers ===
        self.up = keras.layers.Dense(
            self.mlp_dim,
            activation="hard_silu",  # h-swish
            use_bias=False,
            kernel_initializer=HostNormal(stddev, up_seed),
            dtype=dtype,
            name="up",
        )
        self.depthwise = keras.layers.DepthwiseConv2D(
            3,
            padding="same",
            activation="hard_silu",
            use_bias=False,
            data_format="channels_last",
            depthwise_initializer=HostNormal(xavier_stddev(9, 9), depthwise_seed),
            dtype=dtype,
            name="depthwise",
        )
        self.down = keras.layers.Dense(
            hidden_dim, use_bias=False, kernel_initializer=HostNormal(stddev, down_seed), dtype=dtype, name="down"
        )
        self.up.build(input_shape)
        self.depthwise.build((None, *self.grid, self.mlp_dim))
        self.down.build((*input_shape[:-1], self.mlp_dim))

    def call(self, tokens: keras.KerasTensor) -> keras.KerasTensor:
        """Transform the patches: `(B, T, D)` to `(B, T, D)`."""
        patches = tokens[:, 1:] if self.class_token else tokens  # (B, N, D)
        count = patches.shape[1]
        rows, columns = self._grid_of(count)
        hidden = ops.reshape(apply_2d(self.up, patches), (-1, rows, columns, self.mlp_dim))  # (B, rows, columns, F)
        hidden = ops.reshape(self.depthwise(hidden), (-1, count, self.mlp_dim))  # (B, N, F)
        patches = apply_2d(self.down, hidden)  # (B, N, D)
        if self.class_token:
            patches = ops.concatenate([ops.zeros_like(tokens[:, :1]), patches], axis=1)  # (B, T, D)
        return patches

    def _grid_of(self, count):
        rows, columns = self.grid
        factor = (count / (rows * columns)) ** 0.5
        found = round(rows * factor), round(columns * factor)
        if found[0] * found[1] != count:
            raise ValueError(f"{count} patches make no grid of the proportions {rows}×{columns}")
        return found

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {**super().get_config(), **constructor_arguments(self)}
