"""The last layer of a classifier."""

import keras

from rankscope.zoo.layers.initializers import HostNormal, xavier_stddev


def class_logits(hidden_dim: int, num_classes: int, seed: int, use_bias: bool = True) -> keras.layers.Dense:
    """A dense layer `head`, from Xavier normal; logits and loss are float32 under a mixed policy, too.

    Example:

    >>> tuple(class_logits(hidden_dim=8, num_classes=3, seed=0)(keras.ops.ones((2, 8))).shape)
    (2, 3)
    """
    initializer = HostNormal(xavier_stddev(hidden_dim, num_classes), seed)
    return keras.layers.Dense(
        num_classes, use_bias=use_bias, kernel_initializer=initializer, dtype="float32", name="head"
    )
