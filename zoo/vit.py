"""Vision Transformer (arXiv 2010.11929), pre-norm, class token or mean pooling, for images of changing sizes."""

from typing import Any

import keras
from keras import ops

from rankscope.zoo.layers import PatchEmbedding, class_logits, constructor_arguments, split_seed, transformer_blocks
from rankscope.zoo.layers.patch_embedding import grid_of


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
        _check(hidden_dim, num_heads, key_dim, pooling)
        grid, class_token = grid_of(*image_shape[:2], patch_size), pooling == "token"
        embedding_seed, dropout_seed, head_seed, *block_seeds = split_seed(seed, 3 + num_layers)
        # === Layers ===
        embedding = PatchEmbedding(
            patch_size, hidden_dim, class_token, grid, train_positions, pixels, embedding_seed, name="patch_embedding"
        )
        embedding_dropout = keras.layers.Dropout(dropout, seed=dropout_seed, name="embedding_dropout")
        blocks = transformer_blocks(
            block_seeds,
            stochastic_depth,
            num_heads=num_heads,
            key_dim=key_dim or hidden_dim // num_heads,
            mlp_dim=mlp_dim or 4 * hidden_dim,
            dropout=dropout,
            grid=grid if locality else None,
            class_token=class_token,
            use_bias=use_bias,
        )
        norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        head = class_logits(hidden_dim, num_classes, head_seed)
        # === Functional model ===
        images = keras.Input((None, None, image_shape[2]), name="images")
        tokens = embedding_dropout(embedding(images))  # (B, T, D)
        for block in blocks:
            tokens = block(tokens)
        tokens = norm(tokens)
        pooled = tokens[:, 0] if class_token else ops.mean(tokens, axis=1)  # (B, D)
        super().__init__(inputs=images, outputs=head(pooled), **kwargs)
        # === Config ===
        self.image_shape, self.num_classes, self.patch_size = tuple(image_shape), num_classes, patch_size
        self.hidden_dim, self.num_layers, self.mlp_dim = hidden_dim, num_layers, mlp_dim
        self.num_heads, self.key_dim, self.use_bias = num_heads, key_dim, use_bias
        self.dropout, self.stochastic_depth = dropout, stochastic_depth
        self.pooling, self.locality = pooling, locality
        self.train_positions, self.pixels, self.seed = train_positions, pixels, seed

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {"name": self.name, "trainable": self.trainable, **constructor_arguments(self)}


def _check(hidden_dim, num_heads, key_dim, pooling):
    if key_dim is None and hidden_dim % num_heads:
        raise ValueError(
            f"model.num_heads must divide model.hidden_dim where model.key_dim is not given. "
            f"Received: num_heads={num_heads}, hidden_dim={hidden_dim}"
        )
    if pooling not in ("token", "mean"):
        raise ValueError(f'model.pooling must be "token" or "mean". Received: {pooling!r}')
