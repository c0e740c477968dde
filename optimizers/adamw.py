"""AdamW to the letter of the paper's section 3.5, with weight decay graded by group."""

import dataclasses
import math
import re

import keras
from keras import ops

from optimizers.decay import attention_decays, checked_decay, checked_groups, decay_table, path_of, time_constant


@keras.saving.register_keras_serializable(package="rankscope")
class AdamW(keras.optimizers.Optimizer):
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

    With `gradient_accumulation_steps`, t and Σ η count updates, but a schedule counts batches (Keras' rule).

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
        learning_rate=1e-3,
        weight_decay=0.1,
        attention_weight_decay=None,
        decay_groups=None,
        decay_one_dimensional=False,
        beta_1=0.9,
        beta_2=0.95,
        epsilon=1e-8,
        global_clipnorm=None,
        gradient_accumulation_steps=None,
        name="adamw",
        **kwargs,
    ):
        """Check and keep the settings; the class's docstring explains them."""
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=checked_decay("weight_decay", weight_decay),
            global_clipnorm=global_clipnorm,
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
            **kwargs,
        )
        attention_decays(weight_decay, attention_weight_decay)  # refuses what is wrong before any variable is known
        for argument, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(f"`{argument}` must be in [0, 1). Received: {beta!r}")
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: {epsilon!r}")
        self.attention_weight_decay = attention_weight_decay
        self._decay_groups = tuple(checked_groups(decay_groups).items())
        self.decay_one_dimensional = decay_one_dimensional
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.last_learning_rate = self._scalar("last_learning_rate")
        self.cumulative_learning_rate = self._scalar("cumulative_learning_rate")
        self._learning_rate_remainder = self._scalar("learning_rate_remainder")

    # === State ===

    def build(self, variables):
        """Create G and B for each variable, and put each variable into its decay group."""
        if self.built:
            return
        variables = list(variables)
        self._rows = self._grouped(variables, self.decay_groups)  # first: a wrong pattern leaves nothing half built
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def _scalar(self, name):
        return self.add_variable(shape=(), dtype="float32", aggregation="only_first_replica", name=name)

    # === Decay groups ===

    @property
    def decay_groups(self):
        """`{pattern: decay}`, with the exclusions of `exclude_from_weight_decay` first."""
        return dict(self._decay_groups)

    def decay_table(self, learning_rate=None):
        """Path, shape, group, decay and time constant of every variable, in the order of the variables.

        Args:
            learning_rate: η of the time constants. `None` takes the highest rate that the config of one of Keras' own
                schedules names, else the present rate: give another schedule's peak.

        Returns:
            A list of `optimizers.DecayRow`.
        """
        if not self.built:
            raise ValueError("The decay table needs the variables: build the optimizer first.")
        eta = self._highest_learning_rate() if learning_rate is None else learning_rate
        return [dataclasses.replace(row, time_constant=time_constant(eta, row.decay)) for row in self._rows]

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Let variables be without decay.

        Unlike Keras' method of this name, it searches full paths ("query" finds "attention/query/kernel"), adds up over
        calls, refuses a pattern without a match (at once, or at build if the variables are not known yet), and survives
        saving: an exclusion is an entry `pattern: 0.0` at the head of `decay_groups`.

        Call it before the first training step: a compiled step keeps the decays it was traced with.

        Args:
            var_list: Variables to exclude, by their exact paths.
            var_names: Regular expressions, searched in `variable.path`.

        >>> optimizer = AdamW()
        >>> optimizer.exclude_from_weight_decay(var_names=["embedding"])
        >>> optimizer.exclude_from_weight_decay(var_names=["position", "class_token"])
        >>> optimizer.decay_groups
        {'position': 0.0, 'class_token': 0.0, 'embedding': 0.0}
        """
        var_names = [var_names] if isinstance(var_names, str) else list(var_names or [])
        excluded = [f"^{re.escape(path_of(variable))}$" for variable in var_list or []] + var_names
        groups = checked_groups(dict.fromkeys(excluded, 0.0))
        groups.update((pattern, decay) for pattern, decay in self._decay_groups if pattern not in groups)
        if self.built:
            self._rows = self._grouped(self._trainable_variables, groups)
        self._decay_groups = tuple(groups.items())

    def _grouped(self, variables, groups):
        attention, one_dimensional = self.attention_weight_decay, self.decay_one_dimensional
        return tuple(decay_table(variables, self.weight_decay, attention, groups, one_dimensional))

    def _highest_learning_rate(self):
        schedule = self._learning_rate
        config = schedule.get_config() if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule) else {}
        peaks = [config.get(name) for name in ("initial_learning_rate", "warmup_target", "end_learning_rate")]
        peaks = [peak for peak in (*peaks, *config.get("values", ())) if peak is not None]
        return float(max(peaks) if peaks else ops.multiply(self.learning_rate, 1.0))

    # === Update ===

    def _apply_weight_decay(self, variables):
        """Do nothing: here Keras would decay every variable alike; λW is a term of the update instead."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Compute what all variables share once a step, then update each of them."""
        dtype = "float64" if any(v.dtype == "float64" for v in self._trainable_variables) else "float32"
        eta = ops.cast(learning_rate, dtype)
        t = ops.cast(self.iterations + 1, dtype)
        scalars = (eta, _one_minus_power(self.beta_1, t), _one_minus_power(self.beta_2, t))
        # For those who watch: asking a Keras schedule outside of the compiled step takes 80 ms on JAX.
        self.assign(self.last_learning_rate, ops.cast(eta, "float32"))
        self._add_to_cumulative_learning_rate(eta)
        if keras.backend.backend() == "torch":
            self._update_together(grads, trainable_variables, *scalars)
        else:
            super()._backend_update_step(grads, trainable_variables, scalars)

    def update_step(self, gradient, variable, scalars):
        """Update one variable. `scalars`: η, 1 − β₁ᵗ and 1 − β₂ᵗ, instead of Keras' learning rate alone."""
        index = self._get_variable_index(variable)
        momentum, velocity, decay = self._momentums[index], self._velocities[index], self._decay_in_update(index)
        eta, correction_1, correction_2 = (ops.cast(scalar, variable.dtype) for scalar in scalars)
        gradient = ops.cast(ops.convert_to_tensor(gradient), variable.dtype)
        W, G, B = (ops.convert_to_tensor(v) for v in (variable, momentum, velocity))

        G = self.beta_1 * G + (1 - self.beta_1) * gradient
        B = self.beta_2 * B + (1 - self.beta_2) * (gradient * gradient)
        update = (G / correction_1) / (ops.sqrt(B / correction_2) + self.epsilon)
        if decay:  # without decay, a zero gradient leaves W as it is, bit by bit
            update = update + decay * W
        self.assign(momentum, G)
        self.assign(velocity, B)
        self.assign(variable, W - eta * update)

    def _update_together(self, grads, variables, eta, correction_1, correction_2):
        """`update_step` for all variables in torch's multi-tensor calls, which save a launch a variable and operation.

        Keras has such calls for its own AdamW, but gives them to that very class and to no subclass.
        """
        import torch

        indices = [self._get_variable_index(variable) for variable in variables]
        W = [variable.value for variable in variables]
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
            decays = [self._decay_in_update(index) for index in indices]
            for decay in sorted(set(decays) - {0.0}):
                members = [place for place, its_decay in enumerate(decays) if its_decay == decay]
                torch._foreach_add_([update[p] for p in members], [W[p] for p in members], alpha=decay)
            torch._foreach_mul_(update, eta)
            torch._foreach_sub_(W, update)

    def _decay_in_update(self, index):
        """λ of the update's own term λW; `AdamL2` has it in the gradient instead."""
        return self._rows[index].decay

    def _add_to_cumulative_learning_rate(self, eta):
        """Σ η in float32 with Kahan's remainder: without it, a million steps of 1e-4 end 0.7 % low."""
        total = ops.convert_to_tensor(self.cumulative_learning_rate)
        summand = ops.cast(eta, "float32") - ops.convert_to_tensor(self._learning_rate_remainder)
        new_total = total + summand
        self.assign(self._learning_rate_remainder, (new_total - total) - summand)
        self.assign(self.cumulative_learning_rate, new_total)

    # === Config ===

    def get_config(self):
        """All constructor arguments."""
        attention = self.attention_weight_decay
        return {
            **super().get_config(),
            "attention_weight_decay": dict(attention) if isinstance(attention, dict) else attention,
            "decay_groups": self.decay_groups,
            "decay_one_dimensional": self.decay_one_dimensional,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


def _one_minus_power(beta, t):
    """1 − βᵗ without the cancellation that costs float32 five digits at β = 0.999, t = 1."""
    return -ops.expm1(t * (math.log(beta) if beta else -math.inf))
