"""AdamW to the letter of the paper's section 3.5, with weight decay graded by group."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import ops

from rankscope.optimizers.graded import GradedOptimizer, LearningRate, checked_beta, one_minus_power


@keras.saving.register_keras_serializable(package="rankscope")
class AdamW(GradedOptimizer):
    """Adam with decoupled weight decay, one clip over all variables, and a decay for each group of variables.

    The update at step t = 1, 2, … (section 3.5):

        G ← β₁G + (1 − β₁)∇L(W)        Ĝ ← G / (1 − β₁ᵗ)
        B ← β₂B + (1 − β₂)∇L(W)²       B̂ ← B / (1 − β₂ᵗ)
        W ← W − η(Ĝ / (√B̂ + ε) + λW)

    | paper | code |
    |---|---|
    | η, λ, ε | `learning_rate`, the decay of the variable's group, `epsilon` |
    | β₁, β₂ | `beta_1`, `beta_2` |
    | G, B | the optimizer variables `momentum` and `velocity` |
    | η of the last update | `last_learning_rate` |
    | Σ η | `cumulative_learning_rate`: alone, decay shrinks W by about exp(−λ Ση) |

    Where the field has two conventions:
    - ε is added to √B̂, after the bias correction (the paper, PyTorch, optax). Keras' own Adam adds "epsilon hat" to √B
      before it, which acts as ε/√(1 − β₂ᵗ) would here: 4.5 times as much at the first step with β₂ = 0.95.
    - Decay is multiplied by the learning rate (the paper, PyTorch, Keras). Without that (Loshchilov and Hutter's own
      form), λ = 0.1 here would be λ = 0.1 η there.
    - λW is the W before the update. Keras decays first, then updates: the same numbers up to rounding.

    A variable that the loss does not reach has no gradient on TensorFlow and torch, so Keras leaves it alone; JAX gives
    it a zero gradient, so it decays. A zero gradient (`0.0 * loss`) decays on all three.

    With `gradient_accumulation_steps`, t, Σ η and a schedule count updates; in Keras' own optimizers a schedule counts
    batches.

    Args:
        learning_rate: A float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: λ of all that has no λ of its own.
        attention_weight_decay: λ of attention's kernels: a number, or `{"qk": λ, "vo": λ}`. `None` and missing keys
            mean `weight_decay`.
        decay_groups: `{pattern of the path: λ}`, before every other rule. See `optimizers.decay_table`.
        decay_one_dimensional: Whether biases and norm gains decay too.
        beta_1: β₁; like β₂ and ε as in the paper's table 2.
        beta_2: β₂.
        epsilon: ε.
        global_clipnorm: Scale all gradients together so that their joint norm is at most this.
        gradient_accumulation_steps: Update once in so many batches, with their mean gradient.
        name: The optimizer's name.
        **kwargs: The other arguments of `keras.optimizers.Optimizer`: `clipnorm`, `clipvalue`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor`.

    >>> dense = keras.layers.Dense(3, name="dense")
    >>> dense.build((None, 2))
    >>> optimizer = AdamW(learning_rate=0.5, weight_decay=0.25)
    >>> optimizer.build(dense.trainable_variables)
    >>> [(row.path, row.decay, row.time_constant) for row in optimizer.decay_table()]
    [('dense/kernel', 0.25, 8.0), ('dense/bias', 0.0, inf)]
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        weight_decay: float = 0.1,
        attention_weight_decay: float | Mapping[str, float | None] | None = None,
        decay_groups: Mapping[str, float] | None = None,
        decay_one_dimensional: bool = False,
        beta_1: float = 0.9,
        beta_2: float = 0.95,
        epsilon: float = 1e-8,
        global_clipnorm: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "adamw",
        **kwargs: Any,
    ):
        """Check and keep the settings; the class's docstring explains them."""
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            attention_weight_decay=attention_weight_decay,
            decay_groups=decay_groups,
            decay_one_dimensional=decay_one_dimensional,
            global_clipnorm=global_clipnorm,
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
            **kwargs,
        )
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: {epsilon!r}")
        self.beta_1 = checked_beta("beta_1", beta_1)
        self.beta_2 = checked_beta("beta_2", beta_2)
        self.epsilon = epsilon

    def build(self, variables: Iterable[keras.Variable]) -> None:
        """Create G and B for each variable, and put each variable into its decay group."""
        if self.built:
            return
        variables = list(variables)
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    # === Update ===

    def _scalars(self, t):
        return one_minus_power(self.beta_1, t), one_minus_power(self.beta_2, t)

    def update_step(self, gradient: Any, variable: keras.Variable, scalars: Any) -> None:
        """Update one variable. `scalars`: η, 1 − β₁ᵗ and 1 − β₂ᵗ, instead of Keras' learning rate alone."""
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        eta, correction_1, correction_2 = (ops.cast(scalar, variable.dtype) for scalar in scalars)
        gradient = ops.cast(ops.convert_to_tensor(gradient), variable.dtype)
        G, B = (ops.convert_to_tensor(v) for v in (momentum, velocity))

        G = self.beta_1 * G + (1 - self.beta_1) * gradient
        B = self.beta_2 * B + (1 - self.beta_2) * (gradient * gradient)
        self.assign(momentum, G)
        self.assign(velocity, B)
        self._descend(variable, (G / correction_1) / (ops.sqrt(B / correction_2) + self.epsilon), eta)

    def _update_together(self, grads, variables, eta, correction_1, correction_2):
        """`update_step` for all variables in torch's multi-tensor calls."""
        import torch

        indices = [self._get_variable_index(variable) for variable in variables]
        G = [self._momentums[index].value for index in indices]
        B = [self._velocities[index].value for index in indices]
        with torch.no_grad():
            torch._foreach_lerp_(G, grads, 1 - self.beta_1)
            torch._foreach_mul_(B, self.beta_2)
            torch._foreach_addcmul_(B, grads, grads, value=1 - self.beta_2)
            update = torch._foreach_div(G, correction_1)
            root = torch._foreach_div(B, correction_2)
            torch._foreach_sqrt_(root)
            torch._foreach_add_(root, self.epsilon)
            torch._foreach_div_(update, root)
            self._descend_together(variables, update, eta)

    # === Config ===

    def get_config(self) -> dict[str, Any]:
        """All constructor arguments."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
