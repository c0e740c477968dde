"""What figure 3 can be told: all that configs/recall.yaml can, over several decays and seeds."""

from functools import cache

from pydantic import Field

from rankscope.settings import Seeds
from rankscope.studies.decay_sweep import DecaySweep, SweepSettings
from rankscope.training.data_settings import RecallTaskSettings
from rankscope.training.settings import (
    MonitorSettings,
    OptimizerSettings,
    Settings,
    TrainingSettings,
    config_path,
    load_settings,
)
from rankscope.zoo.registry import RecallSettings


@cache
def _recall() -> Settings:
    return load_settings(config_path("recall"))


class RecallRuns(DecaySweep):
    """Runs of the recall model that differ in the decay of attention and in the seed."""

    model: RecallSettings = Field(default_factory=lambda: _recall().model)
    data: RecallTaskSettings = Field(default_factory=lambda: _recall().data)
    optimizer: OptimizerSettings = Field(default_factory=lambda: _recall().optimizer)
    training: TrainingSettings = Field(default_factory=lambda: _recall().training)
    monitor: MonitorSettings = Field(default_factory=lambda: _recall().monitor)
    sweep: SweepSettings = SweepSettings(attention_weight_decay=[0.0, 0.01, 0.03, 0.1, 0.3, 1.0])


class Figure3Settings(RecallRuns):
    """Figure 3 of the paper."""


class AblationSettings(RecallRuns):
    """Figure 3 again, with one thing changed at a time."""

    sweep: SweepSettings = SweepSettings(attention_weight_decay=[0.0, 0.1, 0.3])
    seeds: Seeds = Field([0, 1], description="Of initial weights and data; the task's validation part is the same.")
