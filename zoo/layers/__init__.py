"""Layers that tag their factors, and the few that Keras lacks."""

from zoo.layers.attention import MultiHeadAttention
from zoo.layers.factor_chain import FactorChain
from zoo.layers.factor_tags import factor_pairs, tag
from zoo.layers.initializers import HostNormal, split_seed
from zoo.layers.locality import LocalityFeedForward
from zoo.layers.token_embedding import TokenEmbedding
from zoo.layers.transformer_block import TransformerBlock

__all__ = [
    "FactorChain",
    "HostNormal",
    "LocalityFeedForward",
    "MultiHeadAttention",
    "TokenEmbedding",
    "TransformerBlock",
    "factor_pairs",
    "split_seed",
    "tag",
]
