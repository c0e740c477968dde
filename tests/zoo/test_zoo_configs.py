"""Every registered class of the zoo: its config gives back every argument, and rebuilds the same weights."""

import importlib
import inspect
import json
import pkgutil

import keras
import numpy as np
import pytest
from keras import ops

from rankscope import zoo
from rankscope.zoo.registry import MODELS

HEADS = {"num_heads": 2, "key_dim": 4, "use_bias": True, "causal": True, "seed": 5}
HEADS |= {"stddev": 0.5, "output_stddev": 0.25}
BLOCK = {**HEADS, "mlp_dim": 16, "activation": "relu"}
PENALTY = keras.regularizers.serialize(zoo.HalfSquaredNorm([0.25, 0.5]))
# Name → a value other than the default for every argument, and the shape of an input. Where two arguments exclude each
# other, a class stands here twice, the second time with a word after its name.
CLASSES = {
    "MultiHeadAttention": ({**HEADS, "use_output_bias": True, "last_only": True, "dropout": 0.25}, (3, 7, 8)),
    "FactorChain": ({"widths": [3, 5], "stddev": 0.5, "seed": [5, 6], "kernel_regularizer": PENALTY}, (2, 4)),
    "TransformerBlock": (
        {**BLOCK, "dropout": 0.25, "drop_path": 0.5, "grid": (2, 3), "class_token": True, "remat": False},
        (3, 7, 8),
    ),
    "TransformerBlock remat": (
        {**BLOCK, "dropout": 0.0, "drop_path": 0.0, "grid": None, "class_token": False, "remat": True},
        (3, 7, 8),
    ),
    "LocalityFeedForward": ({"mlp_dim": 16, "grid": (2, 3), "class_token": True, "seed": 5}, (3, 7, 8)),
    "PatchEmbedding": (
        {
            "patch_size": 4,
            "hidden_dim": 8,
            "class_token": False,
            "grid": (2, 3),
            "train_positions": False,
            "pixels": "imagenet",
            "seed": 5,
        },
        (3, 4, 28, 3),
    ),
    "LinearNetwork": ({"input_dim": 4, "output_dim": 3, "key_dim": 2, "depth": 3, "stddev": 0.5, "seed": 5}, (2, 4)),
    "VisionTransformer": (
        {
            "image_shape": (4, 28, 3),
            "num_classes": 3,
            "patch_size": 4,
            "hidden_dim": 8,
            "num_layers": 2,
            "num_heads": 2,
            "key_dim": 4,
            "mlp_dim": 16,
            "pooling": "mean",
            "dropout": 0.25,
            "stochastic_depth": 0.5,
            "locality": True,
            "train_positions": False,
            "pixels": "imagenet",
            "use_bias": True,
            "seed": 5,
        },
        (3, 4, 28, 3),
    ),
    "TokenEmbedding": (
        {"vocabulary_size": 5, "hidden_dim": 8, "position_encoding": "sinusoidal", "stddev": 0.5, "seed": 5},
        (3, 7),
    ),
    "RecallTransformer": (
        {
            "vocabulary_size": 5,
            "sequence_length": 7,
            "hidden_dim": 8,
            "num_layers": 3,
            "num_heads": 2,
            "key_dim": 4,
            "layer_norm": False,
            "position_encoding": "sinusoidal",
            "embedding_stddev": 0.5,
            "seed": 5,
        },
        (3, 7),
    ),
    "GPT": (
        {
            "vocabulary_size": 5,
            "sequence_length": 7,
            "hidden_dim": 8,
            "num_layers": 3,
            "num_heads": 2,
            "key_dim": 4,
            "mlp_dim": 16,
            "position_encoding": "sinusoidal",
            "embedding_dropout": 0.25,
            "use_bias": False,
            "stddev": 0.5,
            "remat": True,
            "seed": 5,
        },
        (3, 7),
    ),
    "HostNormal": ({"stddev": 0.5, "seed": 5}, None),
    "HalfSquaredNorm": ({"l2": [0.25, 0.5]}, None),
    "HalfSquaredError": ({"reduction": "mean", "name": "mine", "dtype": "float16"}, None),
    "NextTokenLoss": ({"reduction": "sum", "name": "mine", "dtype": "float16"}, None),
}
WITH_WEIGHTS = [name for name, (_, shape) in CLASSES.items() if shape]


def registered():
    """All registered classes of the zoo, whose modules are imported when they are asked for."""
    for module in pkgutil.walk_packages(zoo.__path__, "rankscope.zoo."):
        importlib.import_module(module.name)
    found = keras.saving.get_custom_objects().items()
    return {name: cls for name, cls in found if cls.__module__.startswith("rankscope.zoo.")}


def class_of(name):
    return registered()[f"rankscope>{name.partition(' ')[0]}"]


def make(name):
    return class_of(name)(**CLASSES[name][0])


def weights(layer, shape):
    if not layer.built:
        layer.build(shape)
    return {variable.path: ops.convert_to_numpy(variable.value) for variable in layer.weights}


def test_every_registered_class_is_here():
    assert set(registered().values()) == {class_of(name) for name in CLASSES}


def test_models_of_the_registry_are_those_of_the_zoo():
    expected = {cls for cls in registered().values() if issubclass(cls, keras.Model)}
    assert {row.load() for row in MODELS.values()} == expected
    assert all(row.load().__name__ in CLASSES for row in MODELS.values())


@pytest.mark.parametrize("name", CLASSES)
def test_the_config_gives_back_every_argument(name):
    settings, _ = CLASSES[name]
    made = make(name)
    parameters = inspect.signature(type(made).__init__).parameters.values()
    named = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"}
    assert set(settings) == set(named)
    given = [CLASSES[other][0] for other in CLASSES if class_of(other) is type(made)]
    assert all(any(each[argument] != default for each in given) for argument, default in named.items())
    config = made.get_config()
    assert {argument: config[argument] for argument in settings} == settings
    assert type(made).from_config(config).get_config() == config


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_a_config_that_went_through_json_rebuilds_the_same_weights(name):
    _, shape = CLASSES[name]
    made = make(name)
    rebuilt = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(made))))
    assert type(rebuilt) is type(made)
    assert rebuilt.get_config() == made.get_config()
    expected, found = weights(made, shape), weights(rebuilt, shape)
    assert list(found) == list(expected)
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_name_and_trainable_are_kept(name):
    cls = class_of(name)
    config = cls(**CLASSES[name][0], name="mine", trainable=False).get_config()
    rebuilt = cls.from_config(config)
    assert (rebuilt.name, rebuilt.trainable) == ("mine", False)


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_output_shapes_are_as_announced(name):
    _, shape = CLASSES[name]
    made = make(name)
    inputs = np.ones(shape, "float32")
    assert made.compute_output_shape(shape) == tuple(made(inputs).shape)
