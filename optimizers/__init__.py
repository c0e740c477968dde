"""AdamW as the paper writes it, with weight decay graded by group."""

from optimizers.adamw import AdamW
from optimizers.decay import DecayRow, decay_table, time_constant

__all__ = ["AdamW", "DecayRow", "decay_table", "time_constant"]
