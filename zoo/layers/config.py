"""What `get_config` of a layer or a model gives back."""

import inspect
from typing import Any

import keras


def constructor_arguments(layer: keras.layers.Layer) -> dict[str, Any]:
    """The constructor's own arguments by name, of a layer or model that keeps each as an attribute of that name.

    Example:

    >>> class Scale(keras.layers.Layer):
    ...     def __init__(self, factor: float = 2.0, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.factor = factor
    >>> constructor_arguments(Scale(3.0))
    {'factor': 3.0}
    """
    parameters = inspect.signature(type(layer).__init__).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    return {name: getattr(layer, name) for name in names[1:]}  # but for self
