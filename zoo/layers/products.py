"""Products of batches of tokens with a kernel, as products of two matrices."""

import keras
from keras import ops


def apply_2d(layer: keras.Layer, tokens: keras.KerasTensor) -> keras.KerasTensor:
    """`layer(rows)` of the tokens as rows of one matrix: `(B, T, D)` to `(B, T, F)`.

    XLA differentiates a product of three axes by two into a transposed copy of the gradient, for that of the kernel. On
    a CPU it computes the copy anew from the branches of all later blocks, at a cost that is quadratic in their number:
    a quarter of the step of 6 layers. Over logits, the copy doubles the memory. Rows need none.

    Example:

    >>> tuple(apply_2d(lambda rows: rows[:, :2], ops.ones((5, 3, 4))).shape)
    (5, 3, 2)
    """
    results = layer(ops.reshape(tokens, (-1, tokens.shape[-1])))  # (B·T, F)
    return ops.reshape(results, (-1, ops.shape(tokens)[1], results.shape[-1]))


def matmul_2d(tokens: keras.KerasTensor, kernel: keras.KerasTensor) -> keras.KerasTensor:
    """`tokens @ kernel`: `(B, T, D)` and `(D, F)` to `(B, T, F)`, see `apply_2d`."""
    return apply_2d(lambda rows: ops.matmul(rows, kernel), tokens)
