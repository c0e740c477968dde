"""What the language model's studies can be told: all that configs/gpt.yaml can, over several decays and seeds."""

from functools import cache

from pydantic import Field

from rankscope.studies.decay_sweep import DecaySweep, SweepSettings
from rankscope.training.data_settings import TextSettings
from rankscope.training.settings import (
    MonitorSettings,
    OptimizerSettings,
    Settings,
    TrainingSettings,
    config_path,
    load_settings,
)
from rankscope.zoo.registry import GptSettings


@cache
def _gpt() -> Settings:
    return load_settings(config_path("gpt"))


class LanguageRuns(DecaySweep):
    """Table 1 and figure 4 left: runs that differ in the decay of attention and in the seed.

    The paper's λs are 0, 0.01, 0.1 and 0.25.
    """

    model: GptSettings = Field(default_factory=lambda: _gpt().model)
    data: TextSettings = Field(default_factory=lambda: _gpt().data)
    optimizer: OptimizerSettings = Field(default_factory=lambda: _gpt().optimizer)
    training: TrainingSettings = Field(default_factory=lambda: _gpt().training)
    monitor: MonitorSettings = Field(default_factory=lambda: _gpt().monitor)
    sweep: SweepSettings = SweepSettings(attention_weight_decay=[0.0, 0.1, 1.0])
