"""Readers of model files that anyone may have written: named tensors, one at a time, in bounded memory; no Keras."""

from checkpoints.open import open_tensors
from checkpoints.tensors import CheckpointError, Tensors

__all__ = ["CheckpointError", "Tensors", "open_tensors"]
