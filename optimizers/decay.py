"""Which variable decays how fast: every variable of a model in exactly one decay group."""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rankscope.factors import ATTENTION_KINDS, KIND_OF_ROLE

# Names of Keras' biases and norm gains: "bias", "recurrent_bias", "gamma", "beta", "scale".
_BIAS_OR_GAIN = re.compile(r"bias$|^gamma$|^beta$|^scale$")


@dataclasses.dataclass(frozen=True)
class DecayRow:
    """One variable's line in the decay table.

    Args:
        path: `variable.path`, or the name where there is no path.
        shape: The variable's shape.
        group: `"qk"`, `"vo"`, `"product"`, `"one-dimensional"`, `"weights"`, or the pattern of `decay_groups` that
            took the variable.
        decay: λ of the variable.
        time_constant: 1/(ηλ) in steps, `inf` without decay; `None` where no learning rate was
            given, and of a penalty.
    """

    path: str
    shape: tuple[int, ...]
    group: str
    decay: float
    time_constant: float | None = None

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """Path, shape, group, decay and time constant as people read them.

        >>> DecayRow("dense/kernel", (2, 3), "weights", 0.0, math.inf).cells
        ('dense/kernel', '2×3', 'weights', '0', 'never')
        """
        constant = self.time_constant
        constant = "–" if constant is None else "never" if math.isinf(constant) else f"{constant:,.0f}"
        return self.path, "×".join(map(str, self.shape)), self.group, f"{self.decay:g}", constant


def time_constant(learning_rate: float, decay: float) -> float:
    """Steps in which decay alone shrinks a variable to 1/e: 1/(ηλ).

    >>> time_constant(learning_rate=0.5, decay=0.25)
    8.0
    >>> time_constant(learning_rate=0.5, decay=0.0)
    inf
    """
    rate = learning_rate * decay
    return 1 / rate if rate > 0 else math.inf


def decay_table(
    variables: Iterable,
    weight_decay: float,
    attention_weight_decay: float | Mapping[str, float | None] | None = None,
    decay_groups: Mapping[str, float] | None = None,
    decay_one_dimensional: bool = False,
    learning_rate: float | None = None,
) -> list[DecayRow]:
    """Put every variable into exactly one decay group; the first rule that fits wins.

    1. `decay_groups`, in its own order: a pattern is a regular expression searched in `variable.path`.
    2. Tagged factors. `variable.factor_role` "query" and "key" make the group "qk", "value" and "output" the group
       "vo": both decay with `attention_weight_decay`. "factor" (a linear network's matrix) makes the group "product",
       which decays with `weight_decay`.
    3. Biases, norm gains, and whatever has fewer than two dimensions: the group "one-dimensional", without decay.
       A shape alone would not do: attention stores its biases as (heads, key_dim), and position tables are matrices.
       So a variable also counts if its name ends in "bias" or is "gamma", "beta" or "scale".
       (Stock Keras decays all of these; GPT-2's and big_vision's recipes do not.)
    4. All others: the group "weights", which decays with `weight_decay`.

    Args:
        variables: The trainable variables.
        weight_decay: λ of rule 4, and the default of the other rules.
        attention_weight_decay: λ of "qk" and "vo". A number, or a dict with the keys "qk" and "vo"; `None` and missing
            keys mean `weight_decay`.
        decay_groups: `{pattern: λ}`. A pattern must match a variable. If earlier patterns take all its variables, they
            must give them the same λ: a decay that was asked for and would not act is an error.
        decay_one_dimensional: Whether rule 3's group decays too, with `weight_decay`.
        learning_rate: η of the time constants; `None` leaves them out.

    Returns:
        One `DecayRow` a variable, in the order of `variables`.

    >>> import keras
    >>> dense = keras.layers.Dense(3, name="dense")
    >>> dense.build((None, 2))
    >>> for row in decay_table(dense.variables, weight_decay=0.25, learning_rate=0.5):
    ...     print(row.path, row.shape, row.group, row.decay, row.time_constant)
    dense/kernel (2, 3) weights 0.25 8.0
    dense/bias (3,) one-dimensional 0.0 inf
    """
    variables = list(variables)
    weight_decay = checked_decay("weight_decay", weight_decay)
    attention = attention_decays(weight_decay, attention_weight_decay)
    patterns = checked_groups(decay_groups)
    rows = []
    for variable in variables:
        group, decay = _group(variable, weight_decay, attention, patterns, decay_one_dimensional)
        tau = None if learning_rate is None else time_constant(learning_rate, decay)
        rows.append(DecayRow(path_of(variable), tuple(variable.shape), group, decay, tau))
    _check_patterns(patterns, rows)
    return rows


def path_of(variable: Any) -> str:
    """`variable.path`, or the name of a backend's own variable, which has no path."""
    return getattr(variable, "path", None) or variable.name


def checked_decay(name: str, value: float) -> float:
    """`value` as a float; a ValueError if it is no finite number ≥ 0.

    >>> checked_decay("weight_decay", 1)
    1.0
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise ValueError(f"`{name}` must be a finite number ≥ 0. Received: {value!r}")
    return float(value)


def checked_groups(decay_groups: Mapping[str, float] | None) -> dict[str, float]:
    """`decay_groups` as a new dict of floats; a ValueError for a bad pattern or decay."""
    checked = {}
    for pattern, decay in (decay_groups or {}).items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"A pattern of `decay_groups` must be a regular expression ({error}). Received: {pattern!r}"
            ) from error
        checked[pattern] = checked_decay(f"decay_groups[{pattern!r}]", decay)
    return checked


def attention_decays(
    weight_decay: float, attention_weight_decay: float | Mapping[str, float | None] | None
) -> dict[str, float]:
    """The decays of "qk" and "vo".

    >>> attention_decays(0.1, {"qk": 0.5})
    {'qk': 0.5, 'vo': 0.1}
    """
    given = attention_weight_decay
    if not isinstance(given, Mapping):
        given = dict.fromkeys(ATTENTION_KINDS, given)
    unknown = [key for key in given if key not in ATTENTION_KINDS]
    if unknown:
        raise ValueError(f"`attention_weight_decay` knows the keys 'qk' and 'vo'. Received: {unknown[0]!r}")
    return {
        group: weight_decay
        if given.get(group) is None
        else checked_decay(f"attention_weight_decay[{group!r}]", given[group])
        for group in ATTENTION_KINDS
    }


def attention_decays_of(rows: Iterable[DecayRow]) -> dict[str, float]:
    """λ of `qk` and `vo` as they are in force, as far as a decay table has such pairs.

    Example:

    >>> rows = [DecayRow("query/kernel", (2, 1, 2), "qk", 0.3), DecayRow("dense/kernel", (2, 2), "weights", 0.1)]
    >>> attention_decays_of(rows)
    {'qk': 0.3}
    """
    return {row.group: row.decay for row in rows if row.group in ATTENTION_KINDS}


def _group(variable, weight_decay, attention, patterns, decay_one_dimensional):
    """Name and decay of a variable's group."""
    path = path_of(variable)
    for pattern, decay in patterns.items():
        if re.search(pattern, path):
            return pattern, decay
    role = getattr(variable, "factor_role", None)
    if role is not None:
        if role not in KIND_OF_ROLE:
            raise ValueError(f"`factor_role` of {path} must be one of {list(KIND_OF_ROLE)}. Received: {role!r}")
        group = KIND_OF_ROLE[role]
        return group, attention.get(group, weight_decay)
    if len(variable.shape) < 2 or _BIAS_OR_GAIN.search(path.rsplit("/", 1)[-1]):
        return "one-dimensional", weight_decay if decay_one_dimensional else 0.0
    return "weights", weight_decay


def _check_patterns(patterns, rows):
    """A ValueError for a pattern that matches nothing, or whose decay acts on nothing."""
    for pattern, decay in patterns.items():
        matches = [row for row in rows if re.search(pattern, row.path)]
        if not matches:
            nearest = ", ".join(_nearest(pattern, [row.path for row in rows])) or "none, there are no variables"
            raise ValueError(f"No variable's path matches the decay pattern {pattern!r}. Nearest paths: {nearest}")
        overruled = [row for row in matches if row.decay != decay]
        if overruled and all(row.group != pattern for row in matches):
            first = overruled[0]
            raise ValueError(
                f"The decay pattern {pattern!r} governs nothing: the earlier pattern {first.group!r} takes "
                f"{first.path} and gives it {first.decay}. Received: {decay}"
            )


def _nearest(pattern, paths, count=3):
    """The paths that look most like the pattern, as a whole or in one of their parts."""

    def likeness(path):
        return max(difflib.SequenceMatcher(None, pattern, part).ratio() for part in (path, *path.split("/")))

    return sorted(dict.fromkeys(paths), key=likeness, reverse=True)[:count]
