"""What happens beside training: when to measure, and where the readings go."""

from callbacks.events import EventWriter
from callbacks.history_log import HistoryLog
from callbacks.rank_monitor import RankMonitor
from callbacks.step_callback import StepCallback
from callbacks.time_budget import TimeBudget

__all__ = ["EventWriter", "HistoryLog", "RankMonitor", "StepCallback", "TimeBudget"]
