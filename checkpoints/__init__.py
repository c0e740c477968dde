"""Model files that anyone may have written, as a stream of factor pairs; no model code is run, no Keras imported."""

from rankscope.checkpoints.checkpoint import Checkpoint, find_attention
from rankscope.checkpoints.families import FAMILIES
from rankscope.checkpoints.family import Family
from rankscope.checkpoints.name_map import read_name_map
from rankscope.checkpoints.open import find_checkpoints, open_checkpoint, open_tensors
from rankscope.checkpoints.tensors import CheckpointError, Tensors

__all__ = [
    "FAMILIES",
    "Checkpoint",
    "CheckpointError",
    "Family",
    "Tensors",
    "find_attention",
    "find_checkpoints",
    "open_checkpoint",
    "open_tensors",
    "read_name_map",
]
