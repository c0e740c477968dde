"""A product of matrices that nothing stands between: the factors of a deep linear network."""

from typing import Any

import keras
from keras import ops

from rankscope.zoo.layers.factor_tags import tag
from rankscope.zoo.layers.initializers import HostNormal, split_seed


@keras.saving.register_keras_serializable(package="rankscope")
class FactorChain(keras.layers.Layer):
    """x ↦ x K_0 K_1 … K_{L−1}, each kernel tagged as a factor.

    With two kernels this is eq. 10, f(x) = A Bᵀ x, with B = K_0 and A = K_1ᵀ.

    Given a list of seeds, the layer is that many chains side by side, as attention is many heads: kernel l has the
    shape `(replicas, d_l, d_{l+1})`, the output `(..., replicas, d_L)`, and replica r starts as the single chain of
    seed r does. A whole sweep over seeds or penalties of a small problem is then one model and one compiled step.

    Args:
        widths: ints ≥ 1, `[d_1, …, d_L]`: kernel l maps `d_l` to `d_{l+1}`, and `d_0` is the input's.
        stddev: float ≥ 0, of the initial kernels.
        seed: int ≥ 0 of the initial kernels, or a list of them, one a replica.
        kernel_regularizer: a Keras regularizer, applied to each kernel.

    Example:

    >>> chain = FactorChain([3, 5])
    >>> tuple(chain(ops.ones((1, 4))).shape), [tuple(kernel.shape) for kernel in chain.kernels]
    ((1, 5), [(4, 3), (3, 5)])
    >>> replicas = FactorChain([3, 5], seed=[0, 1])
    >>> tuple(replicas(ops.ones((1, 4))).shape), [tuple(kernel.shape) for kernel in replicas.kernels]
    ((1, 2, 5), [(2, 4, 3), (2, 3, 5)])
    """

    def __init__(
        self,
        widths: list[int],
        stddev: float = 0.3,
        seed: int | list[int] = 0,
        kernel_regularizer: keras.regularizers.Regularizer | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # === Config ===
        self.widths = list(widths)
        self.stddev = stddev
        self.seed = seed
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create and tag the kernels."""
        depth = len(self.widths)
        replicas = () if isinstance(self.seed, int) else (len(self.seed),)
        seeds = [split_seed(seed, depth) for seed in (self.seed if replicas else [self.seed])]
        self.kernels = []
        rows = input_shape[-1]
        for index, columns in enumerate(self.widths):
            own = [seed[index] for seed in seeds]
            kernel = self.add_weight(
                shape=(*replicas, rows, columns),
                initializer=HostNormal(self.stddev, own if replicas else own[0]),
                regularizer=self.kernel_regularizer,
                name=f"kernel_{index}",
            )
            tag(kernel, "factor")
            self.kernels.append(kernel)
            rows = columns

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Multiply: `(..., d_0)` to `(..., d_L)`, or to `(..., replicas, d_L)`."""
        if isinstance(self.seed, int):
            for kernel in self.kernels:
                inputs = ops.matmul(inputs, kernel)
            return inputs
        outputs = ops.einsum("...i,rio->...ro", inputs, self.kernels[0])  # (..., R, d_1)
        for kernel in self.kernels[1:]:
            outputs = ops.einsum("...ri,rio->...ro", outputs, kernel)
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape with the last width, after the number of replicas if there are some."""
        replicas = () if isinstance(self.seed, int) else (len(self.seed),)
        return (*input_shape[:-1], *replicas, self.widths[-1])

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments."""
        return {
            **super().get_config(),
            "widths": self.widths,
            "stddev": self.stddev,
            "seed": self.seed,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
