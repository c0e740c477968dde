"""Linear networks: the two-layer one of section 3.4, one factor pair and nothing else, and deeper chains."""

from typing import Any

import keras
import numpy as np

from rankscope.zoo.layers import FactorChain, constructor_arguments


@keras.saving.register_keras_serializable(package="rankscope")
class LinearNetwork(keras.Model):
    """f(x) = A Bᵀ x, eq. 10, or with `depth` L more matrices: f(x) = K_{L−1}ᵀ … K_1ᵀ K_0ᵀ x.

    L2 on all L matrices acts on the Schatten quasi-norm ‖W‖_{2/L} of their product W (Prop. A.5): where neighbours are
    balanced, a singular value σ of W stands for σ^(1/L) in each matrix and σ^(2/L) in each of the L − 1 pairs.

    Args:
        input_dim: int ≥ 1, d_1 of the paper.
        output_dim: int ≥ 1, d_3.
        key_dim: int ≥ 1, the inner size d_2, of all inner sizes where there are several.
        depth: int ≥ 2, the number L of matrices.
        stddev: float ≥ 0, of the initial matrices. From L = 3 on zero attracts: too small a start ends there.
        seed: int ≥ 0, of the initial matrices.

    Raises:
        ValueError: for another depth.

    Input `(batch, input_dim)`, output `(batch, output_dim)`.

    Example:

    >>> from rankscope.zoo import factor_pairs
    >>> [(pair.pair, pair.a.shape, pair.b.shape) for pair in factor_pairs(LinearNetwork(4, 5, key_dim=3))]
    [('product', (1, 5, 3), (1, 4, 3))]
    >>> [pair.layer for pair in factor_pairs(LinearNetwork(4, 5, depth=4))]
    [0, 1, 2]
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        key_dim: int = 5,
        depth: int = 2,
        stddev: float = 0.3,
        seed: int = 0,
        **kwargs,
    ):
        if not isinstance(depth, int) or depth < 2:
            raise ValueError(f"depth is the number of matrices, an int ≥ 2. Received: depth={depth!r}")
        # === Layers ===
        factors = FactorChain([key_dim] * (depth - 1) + [output_dim], stddev=stddev, seed=seed, name="factors")
        # === Functional model ===
        inputs = keras.Input((input_dim,), name="inputs")
        super().__init__(inputs=inputs, outputs=factors(inputs), **kwargs)
        # === Config ===
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.key_dim = key_dim
        self.depth = depth
        self.stddev = stddev
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {"name": self.name, "trainable": self.trainable, **constructor_arguments(self)}


@keras.saving.register_keras_serializable(package="rankscope")
class HalfSquaredError(keras.losses.Loss):
    """½‖Y − f(X)‖², summed over samples and outputs: the first term of eq. 11.

    Keras' `MeanSquaredError` averages over outputs and has no ½; with it, λ in eq. 2 would mean something else.

    Example:

    >>> float(HalfSquaredError()(keras.ops.zeros((1, 2)), keras.ops.array([[3.0, 4.0]])))
    12.5
    """

    def __init__(self, reduction: str = "sum", name: str = "half_squared_error", dtype: str | None = None):
        super().__init__(reduction=reduction, name=name, dtype=dtype)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """½‖y − f(x)‖² of each sample: `(batch, outputs)` to `(batch,)`."""
        return 0.5 * keras.ops.sum(keras.ops.square(y_true - y_pred), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments; Keras' own losses forget their dtype."""
        return {**super().get_config(), "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="rankscope")
class HalfSquaredNorm(keras.regularizers.Regularizer):
    """(λ/2)‖K‖²: with `HalfSquaredError`, the second term of eq. 11.

    Keras' `L2(l2)` has no ½; the abstract of the paper has none either, and its λ is half of ours.

    Args:
        l2: λ ≥ 0, or a list of them, one for each entry of the kernel's first axis (a chain's replicas).

    Example:

    >>> float(HalfSquaredNorm(0.5)(keras.ops.array([[3.0, 4.0]])))
    6.25
    >>> float(HalfSquaredNorm([0.5, 0.0])(keras.ops.array([[[2.0]], [[9.0]]])))
    1.0
    """

    def __init__(self, l2: float | list[float]):
        self.l2 = l2

    def __call__(self, kernel):
        """(λ/2)‖K‖², summed over replicas."""
        squares = keras.ops.sum(keras.ops.square(kernel), axis=(-2, -1))  # () or (replicas,)
        # From NumPy: TensorFlow would round a Python float to float32 on its way to float64.
        l2 = keras.ops.convert_to_tensor(np.asarray(self.l2, dtype=keras.backend.standardize_dtype(kernel.dtype)))
        return 0.5 * keras.ops.sum(l2 * squares)

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {"l2": self.l2}
