"""ARCHITECTURE.md, "To add a model", followed to the letter: one file, one row, one config, and all is there."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODEL = '''"""One attention layer over the rows of an image."""

import keras
from keras import ops

from rankscope.zoo.layers import MultiHeadAttention, class_logits, constructor_arguments, split_seed


@keras.saving.register_keras_serializable(package="rankscope")
class RowAttention(keras.Model):
    """Rows of pixels as tokens, attention, and logits of their mean.

    Args:
        image_shape: `(height, width, channels)`.
        num_classes: int ≥ 2.
        num_heads: int ≥ 1.
        key_dim: int ≥ 1, of one head.
        seed: int ≥ 0, of initial weights.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        num_heads: int = 2,
        key_dim: int = 4,
        seed: int = 0,
        **kwargs,
    ):
        height, width, channels = image_shape
        attention_seed, head_seed = split_seed(seed, 2)
        # === Layers ===
        attention = MultiHeadAttention(num_heads, key_dim, seed=attention_seed, name="attention")
        head = class_logits(width * channels, num_classes, head_seed)
        # === Functional model ===
        images = keras.Input(image_shape, name="images")
        rows = keras.layers.Reshape((height, width * channels))(keras.layers.Rescaling(1 / 255)(images))  # (B, T, D)
        super().__init__(inputs=images, outputs=head(ops.mean(rows + attention(rows), axis=1)), **kwargs)
        # === Config ===
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.num_heads, self.key_dim, self.seed = num_heads, key_dim, seed

    def get_config(self):
        """Give back the constructor's arguments."""
        return {"name": self.name, "trainable": self.trainable, **constructor_arguments(self)}
'''
SETTINGS = '''class ToySettings(ModelSettings):
    """`zoo.toy.RowAttention`; image shape and number of classes come with the data."""

    name: Literal["toy"]
    num_heads: Count = Field(2, description="Attention heads.")
    key_dim: Count = Field(4, description="Size of a head.")


def _toy() -> "type[keras.Model]":
    from rankscope.zoo.toy import RowAttention

    return RowAttention


'''
ROW = """        ListedModel(
            ToySettings,
            title="attention over rows of pixels",
            load=_toy,
            data="images",
            arguments=("image_shape", "num_classes"),
            loss=cross_entropy,
        ),
"""
CONFIG = """# Rows of digits.
# command  python cli.py fit toy
# time     10 s on 2 CPU cores
# reaches  nothing: it is three steps
model:
  name: toy
data:
  source: mnist_5k
training:
  steps: 50
  batch_size: 16
monitor:
  every: 1
"""
ARGUMENTS = """    "RowAttention": (
        {"image_shape": (4, 7, 3), "num_classes": 3, "num_heads": 3, "key_dim": 5, "seed": 5},
        (3, 4, 7, 3),
    ),
"""


@pytest.mark.once
@pytest.mark.slow
def test_a_new_model_is_listed_described_trained_swept_and_tested(checkout):
    (checkout.path / "zoo" / "toy.py").write_text(MODEL, encoding="utf-8")
    checkout.insert("zoo/registry.py", "#: Name → model.", SETTINGS)
    checkout.insert("zoo/registry.py", "        ListedModel(\n            VitSettings,", ROW)
    (checkout.path / "configs" / "toy.yaml").write_text(CONFIG, encoding="utf-8")

    assert "Rows of digits" in checkout.run("models").stdout
    described = checkout.run("models", "toy").stdout
    assert f"{4 * 28 * 2 * 4 + 28 * 10 + 10:,}" in described
    assert "qk: 2 × 28×4" in described
    settings = checkout.run("settings", "toy").stdout
    assert "# Size of a head. A whole number ≥ 1; default 4." in settings
    assert yaml.safe_load(settings)["model"] == {"name": "toy", "num_heads": 2, "key_dim": 4}

    run = checkout.path / "run"
    checkout.run("fit", "toy", "--steps", "3", "--run-dir", run)
    assert json.loads((run / "summary.json").read_text())["model"] == "toy"
    with open(run / "ranks.csv", newline="") as file:
        assert [row["pair"] for row in csv.DictReader(file) if row["step"] == "3"] == ["qk", "qk", "vo", "vo"]

    sweep = checkout.path / "sweep"
    checkout.run("sweep", "toy", "--wd", "0,1", "--seeds", "1", "--steps", "3", "--run-dir", sweep)
    with open(sweep / "sweep.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2

    assert refusal(checkout, "fit", "toy", "--set", "model.key_dm=2") == (
        "Error: --set or a flag: unknown key model.key_dm (did you mean key_dim?). "
        "Known here: name, num_heads, key_dim\n"
    )
    assert "unknown model.name (did you mean toy?)" in refusal(checkout, "fit", "toy", "--set", "model.name=tpy")

    name = "tests/zoo/test_zoo_configs.py"
    (checkout.path / name).parent.mkdir(parents=True)
    shutil.copy(ROOT / name, checkout.path / name)
    checkout.insert(name, '    "TokenEmbedding": (', ARGUMENTS)
    command = [sys.executable, "-m", "pytest", "-q", name, "-k", "RowAttention or registry or every_registered"]
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True, timeout=300)
    assert "6 passed" in done.stdout, done.stdout + done.stderr


def refusal(checkout, *arguments):
    """Standard error of a command that ends as after a mistake of the user's."""
    done = checkout.run(*arguments, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    return done.stderr
