"""What types models compute in: float64 for claims that float32 cannot show, bfloat16 for speed."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

# Keras 3.15 gives float64 results of many operations the type float32 on JAX and torch, `set_floatx("float64")` or
# not, by this private table; tests/training/test_precision.py notices when that changes.
from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE


@contextmanager
def float64() -> Iterator[None]:
    """Within this context Keras makes variables, computes and trains in float64, then goes back to what it was.

    Models that are trained inside must be built inside.

    Raises:
        RuntimeError: where a product of matrices still comes out rounded to float32.

    Example:

    >>> with float64():
    ...     keras.backend.standardize_dtype(keras.ops.matmul(np.eye(2), np.eye(2)).dtype)
    'float64'
    """
    # The policy of layers is floatx's of the time when the first layer was made, and stays that.
    floatx, policy, float64_becomes = (
        keras.config.floatx(),
        keras.config.dtype_policy(),
        BIT64_TO_BIT32_DTYPE["float64"],
    )
    with _jax_x64():
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        BIT64_TO_BIT32_DTYPE["float64"] = "float64"
        try:
            third = np.array([[1 / 3]])
            if float(keras.ops.convert_to_numpy(keras.ops.matmul(third, third))[0, 0]) != 1 / 3 * 1 / 3:
                raise RuntimeError(
                    f"float64 is rounded to float32 by Keras {keras.__version__} on {keras.backend.backend()}: "
                    "training/precision.py has to follow it"
                )
            yield
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)
            BIT64_TO_BIT32_DTYPE["float64"] = float64_becomes


@contextmanager
def mixed_precision(dtype: str | None) -> Iterator[None]:
    """Within this context layers are made that compute in `dtype` and keep their weights in float32.

    Args:
        dtype: `"bfloat16"`, or None for float32 throughout.

    Example:

    >>> with mixed_precision("bfloat16"):
    ...     layer = keras.layers.Dense(1)
    >>> layer.compute_dtype, layer.variable_dtype
    ('bfloat16', 'float32')
    """
    before = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(f"mixed_{dtype}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def _jax_x64():
    """JAX makes no float64 at all unless it is told to."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)
