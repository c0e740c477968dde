"""AdamW as the paper writes it and Adam with an L2 penalty, both with decay graded by group."""

from optimizers.adam_l2 import AdamL2
from optimizers.adamw import AdamW
from optimizers.decay import DecayRow, decay_table, time_constant

__all__ = ["AdamL2", "AdamW", "DecayRow", "decay_table", "time_constant"]
