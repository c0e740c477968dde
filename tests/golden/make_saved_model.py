"""A tiny ViT, trained for five steps on TensorFlow and saved with its logits.

PYTHONPATH=. KERAS_BACKEND=tensorflow python tests/golden/make_saved_model.py
"""

from pathlib import Path

import keras
import numpy as np

from rankscope.optimizers import AdamW
from rankscope.zoo import VisionTransformer

HERE = Path(__file__).parent


def main():
    """Write saved_on_tensorflow.keras and saved_on_tensorflow.npz beside this file."""
    if keras.backend.backend() != "tensorflow":
        raise SystemExit(f"This is the model that TensorFlow saves. Received: KERAS_BACKEND={keras.backend.backend()}")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 8, 8, 1), "uint8")
    labels = rng.integers(0, 3, 20)
    model = VisionTransformer((8, 8, 1), 3, patch_size=4, hidden_dim=8, num_layers=1, num_heads=2, seed=1)
    optimizer = AdamW(0.01, attention_weight_decay={"qk": 0.0, "vo": 1.0}, decay_groups={"position_embedding": 0.5})
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    model.save(HERE / "saved_on_tensorflow.keras")
    np.savez(HERE / "saved_on_tensorflow.npz", images=images, logits=model.predict(images, verbose=0))


if __name__ == "__main__":
    main()
