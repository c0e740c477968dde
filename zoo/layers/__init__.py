"""Layers that tag their factors, and the few that Keras lacks."""

from rankscope.zoo.layers.attention import MultiHeadAttention
from rankscope.zoo.layers.class_logits import class_logits
from rankscope.zoo.layers.config import constructor_arguments
from rankscope.zoo.layers.factor_chain import FactorChain
from rankscope.zoo.layers.factor_tags import factor_pairs, tag
from rankscope.zoo.layers.initializers import HostNormal, split_seed
from rankscope.zoo.layers.locality import LocalityFeedForward
from rankscope.zoo.layers.patch_embedding import PatchEmbedding
from rankscope.zoo.layers.token_embedding import TokenEmbedding
from rankscope.zoo.layers.transformer_block import TransformerBlock, transformer_blocks

__all__ = [
    "FactorChain",
    "HostNormal",
    "LocalityFeedForward",
    "MultiHeadAttention",
    "PatchEmbedding",
    "TokenEmbedding",
    "TransformerBlock",
    "class_logits",
    "constructor_arguments",
    "factor_pairs",
    "split_seed",
    "tag",
    "transformer_blocks",
]
