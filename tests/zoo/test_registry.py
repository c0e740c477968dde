"""The registry of models: what can be read of it without Keras."""

import subprocess
import sys
from pathlib import Path

import pytest

from rankscope import zoo

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "statement",
    ["import rankscope.zoo.registry", "from rankscope.training.settings import load_settings", "import rankscope.zoo"],
)
def test_the_registry_and_settings_are_read_without_keras(statement):
    script = f"{statement}; import sys; print({{'keras', 'torch', 'jax', 'tensorflow'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_model_that_a_program_adds_before_settings_are_read_can_be_named_in_them():
    script = """
from typing import Literal
from rankscope.zoo.listed_model import ListedModel, ModelSettings
from rankscope.zoo.registry import MODELS, cross_entropy

class ToySettings(ModelSettings):
    name: Literal["toy"]
    width: int = 3

MODELS["toy"] = ListedModel(ToySettings, "toy", load=dict, data="images", arguments=(), loss=cross_entropy)
from rankscope.training.settings import settings_from
tree = {"model": {"name": "toy"}, "data": {"source": "mnist_5k"}}
print(settings_from(tree, "here").model)
try:
    settings_from({**tree, "model": {"name": "toy", "widht": 3}}, "here")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "name='toy' width=3",
        "here: unknown key model.widht (did you mean width?). Known here: name, width",
    ]


@pytest.mark.parametrize("name", zoo.__all__)
def test_what_the_zoo_names_is_there(name):
    assert getattr(zoo, name).__name__ == name


def test_what_the_zoo_does_not_have_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match=r"module 'rankscope\.zoo' has no attribute 'Gpt'"):
        zoo.Gpt  # noqa: B018
