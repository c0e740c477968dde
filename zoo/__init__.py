"""The models: each tags the factors of its products, and is known to settings by its name here."""

from rankscope.zoo.gpt import GPT
from rankscope.zoo.layers import factor_pairs, tag
from rankscope.zoo.linear import HalfSquaredError, HalfSquaredNorm, LinearNetwork
from rankscope.zoo.next_token_loss import NextTokenLoss
from rankscope.zoo.recall import RecallTransformer
from rankscope.zoo.vit import VisionTransformer

MODELS = {
    "linear": LinearNetwork,
    "vit": VisionTransformer,
    "recall": RecallTransformer,
    "gpt": GPT,
}

__all__ = [
    "GPT",
    "MODELS",
    "HalfSquaredError",
    "HalfSquaredNorm",
    "LinearNetwork",
    "NextTokenLoss",
    "RecallTransformer",
    "VisionTransformer",
    "factor_pairs",
    "tag",
]
