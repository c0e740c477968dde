"""The two-layer linear network of section 3.4: one factor pair and nothing else."""

import keras

from zoo.layers import FactorChain


@keras.saving.register_keras_serializable(package="rankscope")
class LinearNetwork(keras.Model):
    """f(x) = A Bᵀ x, eq. 10.

    Args:
        input_dim: int ≥ 1, d_1 of the paper.
        output_dim: int ≥ 1, d_3.
        key_dim: int ≥ 1, the inner size d_2.
        stddev: float ≥ 0, of the initial A and B.
        seed: int ≥ 0, of the initial A and B.

    Input `(batch, input_dim)`, output `(batch, output_dim)`.

    Example:

    >>> from zoo import factor_pairs
    >>> [(pair.pair, pair.a.shape, pair.b.shape) for pair in factor_pairs(LinearNetwork(4, 5, key_dim=3))]
    [('product', (1, 5, 3), (1, 4, 3))]
    """

    def __init__(self, input_dim: int, output_dim: int, key_dim: int = 5, stddev: float = 0.3, seed: int = 0, **kwargs):
        # === Layers ===
        factors = FactorChain([key_dim, output_dim], stddev=stddev, seed=seed, name="factors")
        # === Functional model ===
        inputs = keras.Input((input_dim,), name="inputs")
        super().__init__(inputs=inputs, outputs=factors(inputs), **kwargs)
        # === Config ===
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.key_dim = key_dim
        self.stddev = stddev
        self.seed = seed

    def get_config(self):
        """Give back the constructor's arguments."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "key_dim": self.key_dim,
            "stddev": self.stddev,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="rankscope")
class HalfSquaredError(keras.losses.Loss):
    """½‖Y − f(X)‖², summed over samples and outputs: the first term of eq. 11.

    Keras' `MeanSquaredError` averages over outputs and has no ½; with it, λ in eq. 2 would mean something else.

    Example:

    >>> float(HalfSquaredError()(keras.ops.zeros((1, 2)), keras.ops.array([[3.0, 4.0]])))
    12.5
    """

    def __init__(self, reduction="sum", name="half_squared_error", dtype=None):
        super().__init__(reduction=reduction, name=name, dtype=dtype)

    def call(self, y_true, y_pred):
        """½‖y − f(x)‖² of each sample: `(batch, outputs)` to `(batch,)`."""
        return 0.5 * keras.ops.sum(keras.ops.square(y_true - y_pred), axis=-1)

    def get_config(self):
        """Give back the constructor's arguments; Keras' own losses forget their dtype."""
        return {**super().get_config(), "dtype": self.dtype}
