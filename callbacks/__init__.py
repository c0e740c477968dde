"""What happens beside training: when to measure, and where the readings go."""

from rankscope.callbacks.history_log import HistoryLog, Validation
from rankscope.callbacks.rank_monitor import RankMonitor
from rankscope.callbacks.step_callback import StepCallback
from rankscope.callbacks.tensorboard import EventWriter
from rankscope.callbacks.time_budget import TimeBudget

__all__ = ["EventWriter", "HistoryLog", "RankMonitor", "StepCallback", "TimeBudget", "Validation"]
