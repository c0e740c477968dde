"""Stochastic gradient descent with momentum and graded decay: the optimizer of the paper's sections 3.1 to 3.4."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from rankscope.optimizers.graded import GradedOptimizer, LearningRate, checked_beta, one_minus_power


@keras.saving.register_keras_serializable(package="rankscope")
class SGD(GradedOptimizer):
    """Gradient descent with decay: `AdamW` without the division by √B̂ + ε, all else the same.

    The update at step t = 1, 2, …:

        G ← β₁G + (1 − β₁)∇L(W)        Ĝ ← G / (1 − β₁ᵗ)
        W ← W − η(Ĝ + λW)

    It is the limit of `AdamW` for ε → ∞ with η → εη and λ → λ/ε. Decoupled decay and L2 are the same here for β₁ = 0:
    one step of descent on L(W) + (λ/2)‖W‖². So the paper's laws for the imbalance hold: Q falls as exp(−2λ Ση), but
    for terms in η² (Lemma A.1, Theorem 3.4).

    Where the field has two conventions: `keras.optimizers.SGD` and PyTorch's do not multiply ∇L by 1 − momentum. Their
    learning rate η acts as η/(1 − momentum) does here. Keras' `weight_decay` is decoupled as ours is, PyTorch's is a
    penalty.

    Args:
        learning_rate: η.
        weight_decay: λ of all that has no λ of its own.
        beta_1: β₁, the momentum, in [0, 1).
        name: The optimizer's name.
        **kwargs: Decay groups as of `AdamW`: `attention_weight_decay`, `decay_groups`, `decay_one_dimensional`. The
            other arguments of `keras.optimizers.Optimizer`, such as `global_clipnorm`.

    >>> kernel = keras.Variable([[2.0]], name="kernel")
    >>> optimizer = SGD(learning_rate=0.5, weight_decay=0.25)
    >>> optimizer.apply([ops.ones((1, 1))], [kernel])  # W ← 2 − ½ · (1 + ¼ · 2)
    >>> float(ops.convert_to_numpy(kernel)[0, 0])
    1.25
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-2,
        weight_decay: float = 0.1,
        beta_1: float = 0.9,
        name: str = "sgd",
        **kwargs: Any,
    ):
        """Check and keep the settings; the class's docstring explains them."""
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.beta_1 = checked_beta("beta_1", beta_1)

    def build(self, variables: Iterable[keras.Variable]) -> None:
        """Create G for each variable, and put each variable into its decay group."""
        if self.built:
            return
        variables = list(variables)
        super().build(variables)
        (self._momentums,) = self.add_optimizer_variables(variables, ["momentum"])

    # === Update ===

    def _scalars(self, t):
        return (one_minus_power(self.beta_1, t),)

    def update_step(self, gradient: Any, variable: keras.Variable, scalars: Any) -> None:
        """Update one variable. `scalars`: η and 1 − β₁ᵗ, instead of Keras' learning rate alone."""
        momentum = self._momentums[self._get_variable_index(variable)]
        eta, correction_1 = (ops.cast(scalar, variable.dtype) for scalar in scalars)
        gradient = ops.cast(ops.convert_to_tensor(gradient), variable.dtype)

        G = self.beta_1 * ops.convert_to_tensor(momentum) + (1 - self.beta_1) * gradient
        self.assign(momentum, G)
        self._descend(variable, G / correction_1, eta)

    def _update_together(self, grads, variables, eta, correction_1):
        """`update_step` for all variables in torch's multi-tensor calls."""
        import torch

        G = [self._momentums[self._get_variable_index(variable)].value for variable in variables]
        with torch.no_grad():
            torch._foreach_lerp_(G, grads, 1 - self.beta_1)
            self._descend_together(variables, torch._foreach_div(G, correction_1), eta)

    # === Config ===

    def get_config(self) -> dict[str, Any]:
        """All constructor arguments."""
        return {**super().get_config(), "beta_1": self.beta_1}
