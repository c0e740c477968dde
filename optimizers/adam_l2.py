"""Adam on a loss with an L2 penalty: what the paper's figure 2 compares AdamW with."""

import dataclasses
from typing import Any

import keras
from keras import ops

from rankscope.optimizers.adamw import AdamW
from rankscope.optimizers.decay import DecayRow


@keras.saving.register_keras_serializable(package="rankscope")
class AdamL2(AdamW):
    """Adam on loss + (λ/2)‖W‖², with the decay groups, the clip, the arguments and the Σ η of `AdamW`.

    The update at step t = 1, 2, …: section 3.5's, with λW moved from the last line into the gradient:

        g ← ∇L(W) + λW
        G ← β₁G + (1 − β₁)g        Ĝ ← G / (1 − β₁ᵗ)
        B ← β₂B + (1 − β₂)g²       B̂ ← B / (1 − β₂ᵗ)
        W ← W − η Ĝ / (√B̂ + ε)

    | paper | code |
    |---|---|
    | λ_L2 | the decay of the variable's group |
    | all others | as in `AdamW` |

    g is what a penalty written into the loss would give: the clip acts on all of it, an update with
    `gradient_accumulation_steps` has λW once, and `loss_scale_factor` leaves λ as it is.

    Where the field has two conventions:
    - The penalty is (λ/2)‖W‖² (eqs. 2 and 11). The abstract and `keras.regularizers.L2` have λ‖W‖²: λ = 0.1 here is
      `L2(0.05)` there.
    - AdamW rests where ∇L = −ελW / (1 − λ|W|), this class where ∇L = −λ_L2 W. So λ_L2 = ελ, figure 2's λε, gives
      AdamW's rest point as far as λ|W| ≪ 1. Section 3.5 writes ελ/2, which fits a penalty without the ½.
    - λW comes before the clip. PyTorch's `Adam(weight_decay=λ)` adds it after `clip_grad_norm_`: there the penalty
      grows against the loss wherever the clip acts.

    A variable without a gradient is left alone on TensorFlow and torch, its penalty too. A variable with λ = 0 moves as
    in `AdamW` with λ = 0, bit by bit where no clip ties it to others.

    >>> kernel = keras.Variable([[2.0]], name="kernel")
    >>> optimizer = AdamL2(learning_rate=0.5, weight_decay=0.25, epsilon=1.5)
    >>> optimizer.apply([ops.ones((1, 1))], [kernel])  # g = 1 + ¼ · 2, W ← 2 − ½ · 1.5 / (1.5 + 1.5)
    >>> round(float(ops.convert_to_numpy(kernel)[0, 0]), 6)
    1.75
    """

    def __init__(self, *args: Any, name: str = "adam_l2", **kwargs: Any):
        """Keep the settings of `AdamW`, under this class's own name."""
        super().__init__(*args, name=name, **kwargs)

    def decay_table(self, learning_rate: float | None = None) -> list[DecayRow]:
        """As `AdamW.decay_table`, but a penalty has no time constant, so `time_constant` is None.

        Adam divides λW by its own size: alone, it moves W by η a step until λ|W| is about ε.
        """
        return [dataclasses.replace(row, time_constant=None) for row in super().decay_table(learning_rate)]

    def _backend_apply_gradients(self, grads, trainable_variables):
        """Where Keras has unscaled the gradients, and has neither accumulated nor clipped them.

        W is the same in all batches of an update, so their mean gradient has λW once.
        """
        super()._backend_apply_gradients(self._penalised(grads, trainable_variables), trainable_variables)

    def _decay_in_update(self, index):
        return 0.0

    def _penalised(self, grads, variables):
        """Add λW to each gradient; the gradient itself where λ = 0."""
        decays = [self._rows[self._get_variable_index(variable)].decay for variable in variables]
        if keras.backend.backend() == "torch":
            return _penalised_together(grads, variables, decays)
        # TensorFlow's replicas sum their gradients later, after the clip: λW is split between them, as the loss is.
        strategy = getattr(self, "_distribution_strategy", None)
        replicas = strategy.num_replicas_in_sync if strategy else 1
        return [
            ops.cast(ops.convert_to_tensor(gradient), variable.dtype)
            + (decay / replicas) * ops.convert_to_tensor(variable)
            if decay
            else gradient
            for gradient, variable, decay in zip(grads, variables, decays, strict=True)
        ]


def _penalised_together(grads, variables, decays):
    """`AdamL2._penalised` in torch's multi-tensor calls. They refuse empty lists, and the gradients stay untouched."""
    import torch

    members = [place for place, decay in enumerate(decays) if decay]
    penalised = list(grads)
    if members:
        with torch.no_grad():
            sums = torch._foreach_mul([variables[p].value for p in members], [decays[p] for p in members])
            torch._foreach_add_(sums, [grads[p] for p in members])
        for place, gradient in zip(members, sums, strict=True):
            penalised[place] = gradient
    return penalised
