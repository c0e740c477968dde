"""A model that was trained and saved on TensorFlow is the same model on every backend."""

from pathlib import Path

import keras
import numpy as np
import pytest

from rankscope.optimizers import AdamW
from rankscope.zoo import VisionTransformer, factor_pairs

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.golden
def test_a_model_saved_on_tensorflow_gives_its_logits_and_goes_on_training_here():
    model = keras.models.load_model(GOLDEN / "saved_on_tensorflow.keras")
    with np.load(GOLDEN / "saved_on_tensorflow.npz") as golden:
        images, logits = golden["images"], golden["logits"]
    assert isinstance(model, VisionTransformer)
    np.testing.assert_allclose(model.predict(images, verbose=0), logits, atol=1e-5, rtol=1e-5)
    assert [pair.pair for pair in factor_pairs(model)] == ["qk", "vo"]

    optimizer = model.optimizer
    assert isinstance(optimizer, AdamW)
    assert int(optimizer.iterations.numpy()) == 5
    assert float(optimizer.cumulative_learning_rate.numpy()) == pytest.approx(5 * 0.01)
    decays = {row.path.rpartition("/")[2]: (row.group, row.decay) for row in optimizer.decay_table()}
    assert decays["query_kernel"] == ("qk", 0.0)
    assert decays["output_kernel"] == ("vo", 1.0)
    assert decays["position_embedding"] == ("position_embedding", 0.5)
    model.fit(images, np.zeros(len(images)), batch_size=4, verbose=0)
    assert int(optimizer.iterations.numpy()) == 10
