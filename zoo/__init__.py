"""The models: each tags the factors of its products, and is known to settings by its name here."""

from zoo.gpt import GPT
from zoo.layers import factor_pairs, tag
from zoo.linear import HalfSquaredError, HalfSquaredNorm, LinearNetwork
from zoo.next_token_loss import NextTokenLoss
from zoo.recall import RecallTransformer
from zoo.vit import VisionTransformer

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
