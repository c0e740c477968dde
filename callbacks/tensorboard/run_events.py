"""What TensorBoard is told of a run as a whole: its settings, its decay groups, its line in the HParams tab."""

from collections.abc import Iterable, Mapping
from textwrap import indent

import keras

from rankscope.callbacks.tensorboard.dashboard import dashboard_metrics
from rankscope.callbacks.tensorboard.events import EventWriter
from rankscope.factors import KIND_OF_ROLE
from rankscope.optimizers.decay import DecayRow, attention_decays_of


def describe_run(
    events: EventWriter, settings: str, hyperparameters: Mapping[str, float], model: keras.Model, metrics: Iterable[str]
) -> None:
    """Write two texts and the hyperparameters.

    Args:
        events: of the run.
        settings: of the run, as YAML.
        hyperparameters: name → value for the HParams tab; the decays of attention are read from the optimizer.
        model: compiled with one of our optimizers.
        metrics: names of what is validated, the loss apart.
    """
    events.text(0, "settings", indent(settings, "    "))  # indented, Markdown leaves it as it is
    decay_groups = model.optimizer.decay_table()
    events.text(0, "decay_groups", decay_groups_as_markdown(decay_groups))
    roles = [role for variable in model.weights if (role := getattr(variable, "factor_role", None)) is not None]
    kinds = dict.fromkeys(KIND_OF_ROLE[role] for role in roles)
    values = {**hyperparameters, **_attention_decays(decay_groups)}
    events.hyperparameters(values, dashboard_metrics(kinds, metrics))


def _attention_decays(decay_groups):
    """`wd_attn`, or `wd_qk` and `wd_vo` where they differ; nothing of a model without attention."""
    decays = attention_decays_of(decay_groups)
    if len(set(decays.values())) == 1:
        return {"wd_attn": next(iter(decays.values()))}
    return {f"wd_{group}": decay for group, decay in decays.items()}


def decay_groups_as_markdown(rows: Iterable[DecayRow]) -> str:
    """The table of decay groups in Markdown.

    Example:

    >>> print(decay_groups_as_markdown([DecayRow("dense/kernel", (2, 3), "a|b", 0.25, 8.0)]))
    | variable | shape | group | decay | time constant (steps) |
    |---|---:|---|---:|---:|
    | dense/kernel | 2×3 | a&#124;b | 0.25 | 8 |
    """
    lines = ["| variable | shape | group | decay | time constant (steps) |", "|---|---:|---|---:|---:|"]
    for row in rows:
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row.cells)} |")
    return "\n".join(lines)
