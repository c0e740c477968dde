"""Saves a model on the backend that it runs on, and starts no other."""

from pathlib import Path

import keras

# Keras 3.15 imports TensorFlow at each saving, on every backend, to compare types with its own: seconds, memory and
# log lines. This object remembers whether TensorFlow is there; where it is None, Keras tries the import.
from keras.src.utils.module_utils import tensorflow

from rankscope.files import draft_of


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model in Keras' format, to another name first.

    Args:
        model: built.
        path: of the new file; an older one is replaced.

    Raises:
        OSError: where it cannot be written.
    """
    known = tensorflow._available
    if known is None and keras.backend.backend() != "tensorflow":
        tensorflow._available = False
    try:
        with draft_of(path, suffix=".tmp.keras") as draft:  # Keras goes by the suffix
            model.save(draft)
    finally:
        tensorflow._available = known
