"""Vision Transformer (arXiv 2010.11929) for small images, pre-norm, class token or mean pooling."""

import keras
from keras import ops

from zoo.layers import HostNormal, TransformerBlock, split_seed
from zoo.layers.initializers import xavier_stddev


@keras.saving.register_keras_serializable(package="rankscope")
class PatchEmbedding(keras.layers.Layer):
    """Cut images into patches, project each, put a class token first and add learned positions.

    Args:
        patch_size: int ≥ 1, pixels; divides height and width.
        hidden_dim: int ≥ 1.
        class_token: bool, whether a learned token stands before the patches.
        seed: int ≥ 0, of the initial values: Xavier normal for the projection, N(0, 0.02²) for token and positions.

    Input `(batch, height, width, channels)`, pixels 0 to 255; output `(batch, tokens, hidden_dim)`.

    Example:

    >>> tuple(PatchEmbedding(patch_size=7, hidden_dim=8)(ops.ones((1, 28, 28, 1))).shape)
    (1, 17, 8)
    """

    def __init__(self, patch_size: int, hidden_dim: int, class_token: bool = True, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        # === Config ===
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.class_token = class_token
        self.seed = seed

    def build(self, input_shape):
        """Create projection, class token and positions."""
        _, height, width, channels = input_shape
        self.rows, self.columns = height // self.patch_size, width // self.patch_size
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
            name="position_embedding",
        )

    def call(self, images):
        """Embed: `(B, h, w, C)` to `(B, T, D)`."""
        size, channels = self.patch_size, images.shape[-1]
        pixels = ops.cast(images, self.compute_dtype) / 127.5 - 1.0  # (B, h, w, C)
        grid = ops.reshape(pixels, (-1, self.rows, size, self.columns, size, channels))
        patches = ops.reshape(
            ops.transpose(grid, (0, 1, 3, 2, 4, 5)), (-1, self.rows * self.columns, size * size * channels)
        )  # (B, rows·columns, patch_dim)
        tokens = ops.matmul(patches, self.kernel) + self.bias  # (B, rows·columns, D)
        if self.token is not None:
            first = ops.broadcast_to(self.token, (ops.shape(tokens)[0], 1, self.hidden_dim))  # (B, 1, D)
            tokens = ops.concatenate([first, tokens], axis=1)  # (B, T, D)
        return tokens + self.position_embedding

    def compute_output_shape(self, input_shape):
        """`(batch, tokens, hidden_dim)`."""
        batch, height, width, _ = input_shape
        patches = (height // self.patch_size) * (width // self.patch_size)
        return batch, patches + self.class_token, self.hidden_dim

    def get_config(self):
        """Give back the constructor's arguments."""
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
            "class_token": self.class_token,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="rankscope")
class VisionTransformer(keras.Model):
    """ViT classifier: patches, blocks of attention and MLP, layer norm, logits.

    Args:
        image_shape: `(height, width, channels)`.
        num_classes: int ≥ 2.
        patch_size: int ≥ 1, pixels; divides height and width.
        hidden_dim: int ≥ 1, width of a token.
        num_layers: int ≥ 1.
        num_heads: int ≥ 1.
        key_dim: int ≥ 1 of one head, or None for `hidden_dim / num_heads`, which must then be whole.
        mlp_dim: int ≥ 1, or None for `4 · hidden_dim`.
        pooling: `"token"` (the class token) or `"mean"` (the mean over patches, no class token).
        dropout: float in [0, 1), of the embedding and of each residual branch.
        use_bias: bool, biases of query, key and value.
        seed: int ≥ 0, of initial weights and dropout.

    Input: pixels 0 to 255, `(batch, height, width, channels)`. Output: logits `(batch, num_classes)`.

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
        use_bias: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        height, width, _ = image_shape
        if height % patch_size or width % patch_size:
            raise ValueError(
                f"model.patch_size must divide the image's height and width. "
                f"Received: patch_size={patch_size}, images of {height}×{width}"
            )
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
            patch_size, hidden_dim, class_token=pooling == "token", seed=embedding_seed, name="patch_embedding"
        )
        embedding_dropout = keras.layers.Dropout(dropout, seed=dropout_seed, name="embedding_dropout")
        blocks = [
            TransformerBlock(
                num_heads,
                key_dim or hidden_dim // num_heads,
                mlp_dim or 4 * hidden_dim,
                dropout=dropout,
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
        images = keras.Input(image_shape, name="images")
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
            "use_bias": self.use_bias,
            "seed": self.seed,
        }
