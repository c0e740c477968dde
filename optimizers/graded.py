"""What all our optimizers share: weight decay graded by group, and Σ η counted in the compiled step."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import ops

from rankscope.optimizers.decay import (
    DecayRow,
    attention_decays,
    checked_decay,
    checked_groups,
    decay_table,
    path_of,
    time_constant,
)

LearningRate = float | keras.optimizers.schedules.LearningRateSchedule


class GradedOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer whose decay is graded by group, and that knows the Σ η of its updates.

    A subclass gives `_scalars`, what all variables share in an update; `update_step`, one variable's update; and
    `_update_together`, the same for all variables in torch's multi-tensor calls. Both end in `_descend`.

    Args:
        learning_rate: η, a float or a `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: λ of all that has no λ of its own.
        attention_weight_decay: λ of attention's kernels: a number, or `{"qk": λ, "vo": λ}`. `None` and missing keys
            mean `weight_decay`.
        decay_groups: `{pattern of the path: λ}`, before every other rule. See `optimizers.decay_table`.
        decay_one_dimensional: Whether biases and norm gains decay too.
        **kwargs: The other arguments of `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float,
        attention_weight_decay: float | Mapping[str, float | None] | None = None,
        decay_groups: Mapping[str, float] | None = None,
        decay_one_dimensional: bool = False,
        **kwargs: Any,
    ):
        """Check and keep the settings; the class's docstring explains them."""
        super().__init__(
            learning_rate=learning_rate, weight_decay=checked_decay("weight_decay", weight_decay), **kwargs
        )
        attention_decays(weight_decay, attention_weight_decay)  # refuses what is wrong before any variable is known
        self.attention_weight_decay = attention_weight_decay
        self._decay_groups = tuple(checked_groups(decay_groups).items())
        self.decay_one_dimensional = decay_one_dimensional
        self.last_learning_rate = self._scalar("last_learning_rate")
        self.cumulative_learning_rate = self._scalar("cumulative_learning_rate")
        self._learning_rate_remainder = self._scalar("learning_rate_remainder")

    # === State ===

    def build(self, variables: Iterable[keras.Variable]) -> None:
        """Put each variable into its decay group."""
        if self.built:
            return
        variables = list(variables)
        self._rows = self._grouped(variables, self.decay_groups)  # first: a wrong pattern leaves nothing half built
        super().build(variables)

    def _scalar(self, name):
        return self.add_variable(shape=(), dtype="float32", aggregation="only_first_replica", name=name)

    def _get_current_learning_rate(self):
        """η of the next update. A schedule counts updates, as t and Σ η do; Keras lets it count accumulated batches."""
        schedule = self._learning_rate
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            return schedule(self.iterations)
        return super()._get_current_learning_rate()

    # === Decay groups ===

    @property
    def decay_groups(self) -> dict[str, float]:
        """`{pattern: decay}`, with the exclusions of `exclude_from_weight_decay` first."""
        return dict(self._decay_groups)

    def decay_table(self, learning_rate: float | None = None) -> list[DecayRow]:
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

    def exclude_from_weight_decay(
        self, var_list: Iterable[keras.Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Let variables be without decay.

        Unlike Keras' method of this name, it searches full paths ("query" finds "attention/query/kernel"), adds up over
        calls, refuses a pattern without a match (at once, or at build if the variables are not known yet), and survives
        saving: an exclusion is an entry `pattern: 0.0` at the head of `decay_groups`.

        Call it before the first training step: a compiled step keeps the decays it was traced with.

        Args:
            var_list: Variables to exclude, by their exact paths.
            var_names: Regular expressions, searched in `variable.path`.

        >>> from rankscope.optimizers import AdamW
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

    def _scalars(self, t):
        """What all variables share in update t = 1, 2, …, beside η."""
        return ()

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Compute what all variables share once a step, then update each of them."""
        dtype = "float64" if any(v.dtype == "float64" for v in self._trainable_variables) else "float32"
        eta = ops.cast(learning_rate, dtype)
        scalars = (eta, *self._scalars(ops.cast(self.iterations + 1, dtype)))
        # For those who watch: asking a Keras schedule outside of the compiled step takes 80 ms on JAX.
        self.assign(self.last_learning_rate, ops.cast(eta, "float32"))
        self._add_to_cumulative_learning_rate(eta)
        if keras.backend.backend() == "torch":
            # Saves a launch a variable and operation. Keras has such calls for its own AdamW, but gives them to that
            # very class and to no subclass.
            self._update_together(grads, trainable_variables, *scalars)
        else:
            super()._backend_update_step(grads, trainable_variables, scalars)

    def _descend(self, variable, update, eta):
        """W ← W − η(update + λW)."""
        decay = self._decay_in_update(self._get_variable_index(variable))
        W = ops.convert_to_tensor(variable)
        if decay:  # without decay, a zero gradient leaves W as it is, bit by bit
            update = update + decay * W
        self.assign(variable, W - eta * update)

    def _descend_together(self, variables, update, eta):
        """`_descend` for all variables; `update`, a list of tensors, is overwritten."""
        import torch

        W = [variable.value for variable in variables]
        decays = [self._decay_in_update(self._get_variable_index(variable)) for variable in variables]
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

    def get_config(self) -> dict[str, Any]:
        """All constructor arguments."""
        attention = self.attention_weight_decay
        return {
            **super().get_config(),
            "attention_weight_decay": dict(attention) if isinstance(attention, dict) else attention,
            "decay_groups": self.decay_groups,
            "decay_one_dimensional": self.decay_one_dimensional,
        }


def checked_beta(name: str, value: float) -> float:
    """A β, refused outside of [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"`{name}` must be in [0, 1). Received: {value!r}")
    return value


def one_minus_power(beta: float, t: Any) -> Any:
    """1 − βᵗ without the cancellation that costs float32 five digits at β = 0.999, t = 1."""
    return -ops.expm1(t * (math.log(beta) if beta else -math.inf))
