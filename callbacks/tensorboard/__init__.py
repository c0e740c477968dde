"""What TensorBoard shows of a run, on every backend and without TensorFlow: all that knows tensorboardX."""

from rankscope.callbacks.tensorboard.events import EventWriter
from rankscope.callbacks.tensorboard.rank_events import RankEvents
from rankscope.callbacks.tensorboard.run_events import describe_run

__all__ = ["EventWriter", "RankEvents", "describe_run"]
