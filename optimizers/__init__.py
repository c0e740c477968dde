"""AdamW as the paper writes it, Adam with an L2 penalty, and SGD, all with decay graded by group."""

from rankscope.optimizers.adam_l2 import AdamL2
from rankscope.optimizers.adamw import AdamW
from rankscope.optimizers.decay import DecayRow, decay_table, time_constant
from rankscope.optimizers.graded import GradedOptimizer
from rankscope.optimizers.sgd import SGD

__all__ = ["SGD", "AdamL2", "AdamW", "DecayRow", "GradedOptimizer", "decay_table", "time_constant"]
