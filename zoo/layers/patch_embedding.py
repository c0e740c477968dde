"""Images to vectors: patches, projected, with a class token and learned positions."""

from typing import Any

import keras
import numpy as np
from keras import ops

from rankscope.zoo.layers.bicubic import bicubic_matrix
from rankscope.zoo.layers.config import constructor_arguments
from rankscope.zoo.layers.initializers import HostNormal, split_seed, xavier_stddev

# Mean and standard deviation of a channel of ImageNet, of pixels from 0 to 255.
IMAGENET_MEAN = 255 * np.array([0.485, 0.456, 0.406])
IMAGENET_STDDEV = 255 * np.array([0.229, 0.224, 0.225])


def grid_of(height: int, width: int, patch_size: int) -> tuple[int, int]:
    """Rows and columns of the patches of an image.

    Raises:
        ValueError: where they do not fill it.

    Example:

    >>> grid_of(28, 14, patch_size=7)
    (4, 2)
    """
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"model.patch_size must divide the image's height and width. "
            f"Received: patch_size={patch_size}, images of {height}×{width}"
        )
    return height // patch_size, width // patch_size


@keras.saving.register_keras_serializable(package="rankscope")
class PatchEmbedding(keras.layers.Layer):
    """Cut images into patches, project each, put a class token first and add learned positions.

    There is one table of positions, of `grid` places. Images of another size get it resized bicubically, which a
    gradient passes through: it is one variable, and keeps its optimizer's state, whatever the sizes.

    Args:
        patch_size: int ≥ 1, pixels; divides height and width.
        hidden_dim: int ≥ 1.
        class_token: bool, whether a learned token stands before the patches.
        grid: `(rows, columns)` of the table of positions, or None for that of the images it is built for.
        train_positions: bool, whether the table learns.
        pixels: `"symmetric"`, from −1 to 1, or `"imagenet"`, less the mean and over the deviation of its channels.
        seed: int ≥ 0, of the initial values: Xavier normal for the projection, N(0, 0.02²) for token and positions.

    Input `(batch, height, width, channels)`, pixels 0 to 255; output `(batch, tokens, hidden_dim)`.

    Raises:
        ValueError: for images that patches do not fill, or `"imagenet"` and other than three channels.

    Example:

    >>> embedding = PatchEmbedding(patch_size=7, hidden_dim=8)
    >>> tuple(embedding(ops.ones((1, 28, 28, 1))).shape), tuple(embedding(ops.ones((1, 14, 14, 1))).shape)
    ((1, 17, 8), (1, 5, 8))
    """

    def __init__(
        self,
        patch_size: int,
        hidden_dim: int,
        class_token: bool = True,
        grid: tuple[int, int] | None = None,
        train_positions: bool = True,
        pixels: str = "symmetric",
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if pixels not in ("symmetric", "imagenet"):
            raise ValueError(f'model.pixels must be "symmetric" or "imagenet". Received: {pixels!r}')
        # === Config ===
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.class_token = class_token
        self.grid = None if grid is None else tuple(grid)
        self.train_positions = train_positions
        self.pixels = pixels
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create projection, class token and positions."""
        _, height, width, channels = input_shape
        if self.pixels == "imagenet" and channels != 3:
            raise ValueError(f"model.pixels imagenet needs images of three channels. Received: {channels}")
        self.rows, self.columns = self.grid or grid_of(height, width, self.patch_size)
        patch_dim = self.patch_size**2 * channels
        projection_seed, token_seed, position_seed = split_seed(self.seed, 3)
        self.kernel = self.add_weight(
            shape=(patch_dim, self.hidden_dim),
            initializer=HostNormal(xavier_stddev(patch_dim, self.hidden_dim), projection_seed),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.hidden_dim,), initializer="zeros", name="bias")
        self.token = (
            self.add_weight(shape=(1, self.hidden_dim), initializer=HostNormal(0.02, token_seed), name="class_token")
            if self.class_token
            else None
        )
        self.position_embedding = self.add_weight(
            shape=(self.rows * self.columns + self.class_token, self.hidden_dim),
            initializer=HostNormal(0.02, position_seed),
            trainable=self.train_positions,
            name="position_embedding",
        )

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Embed: `(B, h, w, C)` to `(B, T, D)`."""
        _, height, width, channels = images.shape
        size = self.patch_size
        rows, columns = grid_of(height, width, size)
        pixels = self._scaled(ops.cast(images, self.compute_dtype))  # (B, h, w, C)
        grid = ops.reshape(pixels, (-1, rows, size, columns, size, channels))
        patches = ops.reshape(
            ops.transpose(grid, (0, 1, 3, 2, 4, 5)), (-1, rows * columns, size * size * channels)
        )  # (B, rows·columns, patch_dim)
        tokens = ops.matmul(patches, self.kernel) + self.bias  # (B, rows·columns, D)
        if self.token is not None:
            first = ops.broadcast_to(self.token, (ops.shape(tokens)[0], 1, self.hidden_dim))  # (B, 1, D)
            tokens = ops.concatenate([first, tokens], axis=1)  # (B, T, D)
        return tokens + self._positions(rows, columns)

    def _scaled(self, pixels):
        if self.pixels == "symmetric":
            return pixels / 127.5 - 1.0
        mean, stddev = (ops.convert_to_tensor(values, pixels.dtype) for values in (IMAGENET_MEAN, IMAGENET_STDDEV))
        return (pixels - mean) / stddev

    def _positions(self, rows, columns):
        table = ops.convert_to_tensor(self.position_embedding)
        if (rows, columns) == (self.rows, self.columns):
            return table
        down, across = (
            ops.convert_to_tensor(bicubic_matrix(new, old), table.dtype)
            for new, old in ((rows, self.rows), (columns, self.columns))
        )
        first = int(self.class_token)
        places = ops.reshape(table[first:], (self.rows, self.columns, self.hidden_dim))
        resized = ops.einsum("ir,rcd,jc->ijd", down, places, across)  # (rows, columns, D)
        resized = ops.reshape(resized, (rows * columns, self.hidden_dim))
        return ops.concatenate([table[:first], resized], axis=0)  # (T, D)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """`(batch, tokens, hidden_dim)`."""
        batch, height, width, _ = input_shape
        if height is None or width is None:
            return batch, None, self.hidden_dim
        rows, columns = grid_of(height, width, self.patch_size)
        return batch, rows * columns + self.class_token, self.hidden_dim

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {**super().get_config(), **constructor_arguments(self)}
