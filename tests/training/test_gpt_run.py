"""Runs of a tiny language model in this process: accumulation, precision, perplexity, speed."""

import csv
import json
import math

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.data.batches import BatchParts
from rankscope.errors import UserError
from rankscope.training.build import build_data, build_model
from rankscope.training.fit import fit, resume
from rankscope.training.resume_state import InterruptedRunError, StateSaver
from rankscope.training.settings import config_path, load_settings
from rankscope.zoo.registry import GptSettings

TINY = {
    "model.hidden_dim": 16,
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.key_dim": 8,
    "data.sequence_length": 16,
    "data.validation_windows": 8,
    "optimizer.warmup_steps": 4,
    "optimizer.attention_weight_decay": 0.5,
    "training.steps": 12,
    "training.batch_size": 8,
    "training.log_every": 4,
    "training.validate_every": 4,
    "training.checkpoint_every": 4,
    "monitor.every": 4,
    "training.jit_compile": keras.backend.backend() == "jax",  # on TensorFlow XLA takes longer than these few steps
}


def settings_with(**changed):
    changed = {key.replace("__", "."): value for key, value in changed.items()}
    return load_settings(config_path("gpt"), (TINY | changed).items())


@pytest.fixture(scope="module")
def text():
    return build_data(settings_with())


def trained(text, steps=3, **changed):
    """Weights, model and optimizer after some steps."""
    settings = settings_with(**changed)
    keras.utils.clear_session()
    model = build_model(settings, text)
    batches = text.train_batches(settings.training.batch_size, 0, 0, steps)
    history = model.fit(BatchParts(batches, settings.training.gradient_accumulation_steps), shuffle=False, verbose=0)
    return [ops.convert_to_numpy(v.value) for v in model.trainable_variables], model, history.history["loss"][-1]


@pytest.mark.parametrize("parts", [2, 8])
def test_a_batch_in_parts_gives_the_updates_of_the_whole(text, parts):
    """Same windows, mean gradient, one clip of it, warm-up and decay: only the order of sums differs."""
    whole, plain, loss = trained(text)
    accumulated, model, same_loss = trained(text, training__gradient_accumulation_steps=parts)
    for value, expected in zip(accumulated, whole, strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6)
    assert same_loss == pytest.approx(loss, rel=1e-6)
    of_both = [ops.convert_to_numpy(m.optimizer.cumulative_learning_rate.value) for m in (plain, model)]
    assert of_both[0] == of_both[1] == pytest.approx(1e-6 * 3 + (2e-3 - 1e-6) * 3 / 4, rel=1e-5)  # steps 0, 1, 2 of 4


def test_parts_of_unequal_size_are_refused():
    with pytest.raises(UserError, match="must be a multiple of training\\.gradient_accum"):
        settings_with(training__gradient_accumulation_steps=3)


def test_bfloat16_computes_in_it_and_keeps_float32_weights(text):
    _, plain, loss = trained(text)
    _, mixed, near = trained(text, training__mixed_precision="bfloat16")
    assert {str(v.dtype) for v in mixed.trainable_variables} == {"float32"}
    block = mixed.get_layer("block_0")
    assert {layer.compute_dtype for layer in (block.attention, block.mlp_up, block.attention_norm)} == {"bfloat16"}
    assert plain.get_layer("block_0").attention.compute_dtype == "float32"
    assert near == pytest.approx(loss, rel=2**-8)  # bfloat16 has 8 bits
    assert near != loss


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_says_its_perplexity_and_its_speed(tmp_path):
    lines = []
    run = fit(settings_with(), tmp_path / "run", echo=lines.append)
    rows = read(run / "history.csv")
    assert list(rows[0]) == ["step", "loss", "perplexity", "val_loss", "val_perplexity", "learning_rate"]
    for row in rows:
        assert float(row["val_perplexity"]) == pytest.approx(math.exp(float(row["val_loss"])), rel=1e-12)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["val_perplexity"] == float(rows[-1]["val_perplexity"])
    assert summary["tokens_per_second"] == pytest.approx(8 * 16 * summary["steps_per_second"])
    assert "model_flops_utilization" not in summary  # of float32 we state no peak
    assert "tokens_per_second" not in lines[1]  # step 4 has waited for the compiler
    assert "tokens_per_second" in lines[2]


def test_a_run_in_parts_that_was_stopped_ends_as_the_unbroken_one(tmp_path, monkeypatch):
    settings = settings_with(training__gradient_accumulation_steps=4, model__embedding_dropout=0.25)
    keras.utils.clear_session()
    unbroken = fit(settings, tmp_path / "unbroken", echo=lambda line: None)
    broken, asked = tmp_path / "broken", []

    class StoppedInTheMidst(StateSaver):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 4 * 5 + 2:  # in the sixth step: it is finished first
                asked.append(batch)
                self.stop_signal = lambda: 2
            super().on_train_batch_begin(batch, logs)

    keras.utils.clear_session()
    with monkeypatch.context() as patched:
        patched.setattr("rankscope.training.run.StateSaver", StoppedInTheMidst)
        with pytest.raises(InterruptedRunError, match="at step 6"):
            fit(settings, broken, echo=lambda line: None)
    assert asked == [22]
    keras.utils.clear_session()
    resume(broken, echo=lambda line: None)
    for name in ("history.csv", "ranks.csv"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()


def test_operations_a_token_of_gpt_125m():
    """Table 2's model by hand: 6 · (125,030,400 − 1,024 · 768) + 12 · 12 layers · 12 heads · 64 · 1,024 tokens."""
    flops = GptSettings(name="gpt").flops_per_token(125_030_400, sequence_length=1024)
    assert flops == 6 * 124_243_968 + 113_246_208
