"""Vision Transformer (arXiv 2010.11929), pre-norm, class token or mean pooling, for images of changing sizes."""

import keras
import numpy as np
from keras import ops

from rankscope.zoo.layers import HostNormal, TransformerBlock, split_seed
from rankscope.zoo.layers.bicubic import bicubic_matrix
from rankscope.zoo.layers.initializers import xavier_stddev

# Mean and standard deviation of a channel of ImageNet, of pixels from 0 to 255.
IMAGENET_MEAN = 255 * np.array([0.485, 0.456, 0.406])
IMAGENET_STDDEV = 255 * np.array([0.229, 0.224, 0.225])


def _grid_of(height, width, patch_size):
    """Rows and columns of patches."""
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

    def build(self, input_shape):
        """Create projection, class token and positions."""
        _, height, width, channels = input_shape
        if self.pixels == "imagenet" and channels != 3:
            raise ValueError(f"model.pixels imagenet needs images of three channels. Received: {channels}")
        self.rows, self.columns = self.grid or _grid_of(height, width, self.patch_size)
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

    def call(self, images):
        """Embed: `(B, h, w, C)` to `(B, T, D)`."""
        _, height, width, channels = images.shape
        size = self.patch_size
        rows, columns = _grid_of(height, width, size)
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

    def compute_output_shape(self, input_shape):
        """`(batch, tokens, hidden_dim)`."""
        batch, height, width, _ = input_shape
        if height is None or width is None:
            return batch, None, self.hidden_dim
        rows, columns = _grid_of(height, width, self.patch_size)
        return batch, rows * columns + self.class_token, self.hidden_dim

    def get_config(self):
        """Give back the constructor's arguments."""
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
            "class_token": self.class_token,
            "grid": self.grid,
            "train_positions": self.train_positions,
            "pixels": self.pixels,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="rankscope")
class VisionTransformer(keras.Model):
    """ViT classifier: patches, blocks of attention and MLP, layer norm, logits.

    Args:
        image_shape: `(height, width, channels)` for which the table of positions is made.
        num_classes: int ≥ 2.
        patch_size: int ≥ 1, pixels; divides height and width.
        hidden_dim: int ≥ 1, width of a token.
        num_layers: int ≥ 1.
        num_heads: int ≥ 1.
        key_dim: int ≥ 1 of one head, or None for `hidden_dim / num_heads`, which must then be whole.
        mlp_dim: int ≥ 1, or None for `4 · hidden_dim`.
        pooling: `"token"` (the class token) or `"mean"` (the mean over patches, no class token).
        dropout: float in [0, 1), of the embedding and of each residual branch.
        stochastic_depth: float in [0, 1), `drop_path` of the last block; it grows linearly from 0 at the first.
        locality: bool, a `LocalityFeedForward` in each block instead of the MLP: a 3×3 convolution between patches.
        train_positions: bool, whether the table of positions learns.
        pixels: `"symmetric"` or `"imagenet"`, how they are scaled, see `PatchEmbedding`.
        use_bias: bool, biases of query, key and value.
        seed: int ≥ 0, of initial weights and dropout.

    Input: pixels 0 to 255, `(batch, height, width, channels)`; height and width may be others than in `image_shape`,
    with `locality` of the same proportions. Output: logits `(batch, num_classes)`.

    Raises:
        ValueError: for sizes that do not divide.

    Example:

    >>> model = VisionTransformer((28, 28, 1), num_classes=10)
    >>> model.count_params(), tuple(model(ops.ones((2, 28, 28, 1))).shape)
    (204298, (2, 10))
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        patch_size: int = 7,
        hidden_dim: int = 64,
        num_layers: int = 4,
        num_heads: int = 4,
        key_dim: int | None = None,
        mlp_dim: int | None = None,
        pooling: str = "token",
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        locality: bool = False,
        train_positions: bool = True,
        pixels: str = "symmetric",
        use_bias: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        height, width, channels = image_shape
        grid = _grid_of(height, width, patch_size)
        if key_dim is None and hidden_dim % num_heads:
            raise ValueError(
                f"model.num_heads must divide model.hidden_dim where model.key_dim is not given. "
                f"Received: num_heads={num_heads}, hidden_dim={hidden_dim}"
            )
        if pooling not in ("token", "mean"):
            raise ValueError(f'model.pooling must be "token" or "mean". Received: {pooling!r}')
        embedding_seed, dropout_seed, head_seed, *block_seeds = split_seed(seed, 3 + num_layers)
        # === Layers ===
        embedding = PatchEmbedding(
            patch_size,
            hidden_dim,
            class_token=pooling == "token",
            grid=grid,
            train_positions=train_positions,
            pixels=pixels,
            seed=embedding_seed,
            name="patch_embedding",
        )
        embedding_dropout = keras.layers.Dropout(dropout, seed=dropout_seed, name="embedding_dropout")
        blocks = [
            TransformerBlock(
                num_heads,
                key_dim or hidden_dim // num_heads,
                mlp_dim or 4 * hidden_dim,
                dropout=dropout,
                drop_path=stochastic_depth * index / max(1, num_layers - 1),
                grid=grid if locality else None,
                class_token=pooling == "token",
                use_bias=use_bias,
                seed=block_seed,
                name=f"block_{index}",
            )
            for index, block_seed in enumerate(block_seeds)
        ]
        norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        head = keras.layers.Dense(
            num_classes,
            kernel_initializer=HostNormal(xavier_stddev(hidden_dim, num_classes), head_seed),
            dtype="float32",  # logits and loss in full precision under a mixed policy
            name="head",
        )
        # === Functional model ===
        images = keras.Input((None, None, channels), name="images")
        tokens = embedding_dropout(embedding(images))  # (B, T, D)
        for block in blocks:
            tokens = block(tokens)
        tokens = norm(tokens)
        pooled = tokens[:, 0] if pooling == "token" else ops.mean(tokens, axis=1)  # (B, D)
        super().__init__(inputs=images, outputs=head(pooled), **kwargs)
        # === Config ===
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.mlp_dim = mlp_dim
        self.pooling = pooling
        self.dropout = dropout
        self.stochastic_depth = stochastic_depth
        self.locality = locality
        self.train_positions = train_positions
        self.pixels = pixels
        self.use_bias = use_bias
        self.seed = seed

    def get_config(self):
        """Give back the constructor's arguments."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "image_shape": self.image_shape,
            "num_classes": self.num_classes,
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "mlp_dim": self.mlp_dim,
            "pooling": self.pooling,
            "dropout": self.dropout,
            "stochastic_depth": self.stochastic_depth,
            "locality": self.locality,
            "train_positions": self.train_positions,
            "pixels": self.pixels,
            "use_bias": self.use_bias,
            "seed": self.seed,
        }
