"""The models that settings can name: of each its settings, functions that import it and its loss, and its row."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rankscope.settings import Count, Fraction, NonNegative
from rankscope.zoo.listed_model import ListedModel, ModelSettings

if TYPE_CHECKING:
    import keras

    from rankscope.data.dataset import Dataset


class LinearSettings(ModelSettings):
    """`zoo.LinearNetwork`; sizes of input and output come with the data."""

    name: Literal["linear"]
    key_dim: Count = Field(5, description="Inner size of the product A Bᵀ, of all inner sizes of a deeper one.")
    depth: Annotated[Count, Field(ge=2)] = Field(
        2, description="Number of matrices; from 3 on too small a start ends at zero."
    )
    stddev: NonNegative = Field(0.3, description="Standard deviation of the initial matrices.")


class VitSettings(ModelSettings):
    """`zoo.VisionTransformer`; image shape and number of classes come with the data."""

    divides_images: ClassVar = "patch_size"
    name: Literal["vit"]
    patch_size: Count = Field(7, description="Side of a patch in pixels; divides the image.")
    hidden_dim: Count = Field(64, description="Width of a token.")
    num_layers: Count = Field(4, description="Number of blocks.")
    num_heads: Count = Field(4, description="Attention heads of a block.")
    key_dim: Count | None = Field(None, description="Size of a head; null for hidden_dim / num_heads.")
    mlp_dim: Count | None = Field(None, description="Inner size of the MLP; null for 4 · hidden_dim.")
    pooling: Literal["token", "mean"] = Field(
        "token", description="What the head reads: class token, or patches' mean."
    )
    dropout: Fraction = Field(0.0, description="Dropout of the embedding and of both residual branches.")
    stochastic_depth: Fraction = Field(
        0.0, description="Part of the samples that go round a branch of the last block; 0 at the first."
    )
    locality: bool = Field(False, description="A 3×3 convolution between patches in each feed-forward.")
    train_positions: bool = Field(True, description="Whether the table of positions learns.")
    pixels: Literal["symmetric", "imagenet"] = Field(
        "symmetric", description="Scaled to −1 … 1, or by mean and deviation of ImageNet's channels."
    )
    use_bias: bool = Field(False, description="Biases of query, key and value.")

    @property
    def has_depthwise_convolution(self) -> bool:
        """With `locality`."""
        return self.locality


class RecallSettings(ModelSettings):
    """`zoo.RecallTransformer`; sizes of vocabulary and sequence come with the data."""

    name: Literal["recall"]
    hidden_dim: Count = Field(64, description="Width of a token.")
    num_layers: Count = Field(2, description="Number of attention layers.")
    num_heads: Count = Field(1, description="Attention heads of a layer.")
    key_dim: Count = Field(32, description="Size of a head.")
    layer_norm: bool = Field(True, description="A layer norm before each attention and before the logits.")
    position_encoding: Literal["learned", "sinusoidal", "none"] = Field(
        "learned", description="What tells a token its place."
    )
    embedding_stddev: NonNegative = Field(
        1.0, description="Standard deviation of the initial embeddings of tokens and positions."
    )


class GptSettings(ModelSettings):
    """`zoo.GPT`, table 2's 125 million parameters; sizes of vocabulary and sequence come with the data."""

    name: Literal["gpt"]
    hidden_dim: Count = Field(768, description="Width of a token.")
    num_layers: Count = Field(12, description="Number of blocks.")
    num_heads: Count = Field(12, description="Attention heads of a block.")
    key_dim: Count = Field(64, description="Size of a head.")
    mlp_dim: Count | None = Field(None, description="Inner size of the MLP; null for 4 · hidden_dim.")
    position_encoding: Literal["learned", "sinusoidal", "none"] = Field(
        "learned", description="What tells a token its place."
    )
    embedding_dropout: Fraction = Field(0.1, description="Dropout after the positions are added.")
    use_bias: bool = Field(True, description="Biases of query, key and value.")
    stddev: NonNegative = Field(
        0.02, description="Standard deviation of initial weights; before a residual, 1/(2√num_layers) of it."
    )
    remat: bool = Field(False, description="Compute a block again in the backward pass: less memory, more time.")

    def flops_per_token(self, parameters: int, sequence_length: int) -> float:
        """6N + 12·L·H·K·T (PaLM, arXiv 2204.02311, appendix B); what `remat` computes again does not count.

        The table of tokens counts once, for its logits; rows of positions are looked up and cost nothing.

        Example:

        >>> f"{GptSettings(name='gpt').flops_per_token(125_030_400, sequence_length=1024):.3g}"
        '8.59e+08'
        """
        positions = sequence_length * self.hidden_dim if self.position_encoding != "none" else 0
        attention = 12 * self.num_layers * self.num_heads * self.key_dim * sequence_length
        return 6.0 * (parameters - positions) + attention


def _linear() -> "type[keras.Model]":
    from rankscope.zoo.linear import LinearNetwork

    return LinearNetwork


def _vit() -> "type[keras.Model]":
    from rankscope.zoo.vit import VisionTransformer

    return VisionTransformer


def _recall() -> "type[keras.Model]":
    from rankscope.zoo.recall import RecallTransformer

    return RecallTransformer


def _gpt() -> "type[keras.Model]":
    from rankscope.zoo.gpt import GPT

    return GPT


def half_squared_error(data: "Dataset") -> "keras.losses.Loss":
    """½‖y − f(x)‖², summed."""
    from rankscope.zoo.linear import HalfSquaredError

    return HalfSquaredError()


def cross_entropy(data: "Dataset") -> "keras.losses.Loss":
    """Of logits of classes, with labels as whole numbers or as a share of each class."""
    import keras

    if data.soft_labels:
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def next_token_loss(data: "Dataset") -> "keras.losses.Loss":
    """Cross entropy of each next token."""
    from rankscope.zoo.next_token_loss import NextTokenLoss

    return NextTokenLoss()


#: Name → model. `training.settings` reads it when it is imported: a program of one's own may add rows before.
MODELS: dict[str, ListedModel] = {
    row.name: row
    for row in (
        ListedModel(
            LinearSettings,
            title="linear network",
            load=_linear,
            data="regression",
            arguments=("input_dim", "output_dim"),
            loss=half_squared_error,
            paper="section 3.4",
        ),
        ListedModel(
            VitSettings,
            title="Vision Transformer",
            load=_vit,
            data="images",
            arguments=("image_shape", "num_classes"),
            loss=cross_entropy,
            paper="section 4.3",
        ),
        ListedModel(
            RecallSettings,
            title="attention-only Transformer",
            load=_recall,
            data="recall",
            arguments=("vocabulary_size", "sequence_length"),
            loss=cross_entropy,
            paper="section 4.1",
        ),
        ListedModel(
            GptSettings,
            title="language model",
            load=_gpt,
            data="text",
            arguments=("vocabulary_size", "sequence_length"),
            loss=next_token_loss,
            paper="section 4.2",
            writes_text=True,
        ),
    )
}
