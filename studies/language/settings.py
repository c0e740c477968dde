"""What the language model's studies can be told: all that configs/gpt.yaml can, over several decays and seeds."""

from functools import cache

from pydantic import Field

from studies.decay_sweep import DecaySweep, SweepSettings
from training.settings import (
    GptSettings,
    MonitorSettings,
    OptimizerSettings,
    Settings,
    TextSettings,
    TrainingSettings,
    config_path,
    load_settings,
)


@cache
def _gpt() -> Settings:
    return load_settings(config_path("gpt"))


class LanguageRuns(DecaySweep):
    """Runs of a language model that differ in the decay of attention and in the seed."""

    model: GptSettings = Field(default_factory=lambda: _gpt().model)
    data: TextSettings = Field(default_factory=lambda: _gpt().data)
    optimizer: OptimizerSettings = Field(default_factory=lambda: _gpt().optimizer)
    training: TrainingSettings = Field(default_factory=lambda: _gpt().training)
    monitor: MonitorSettings = Field(default_factory=lambda: _gpt().monitor)
    sweep: SweepSettings = SweepSettings(attention_weight_decay=[0.0, 0.1, 1.0])


class Figure4Settings(LanguageRuns):
    """Figure 4 left."""


class Table1Settings(LanguageRuns):
    """Table 1; the paper's λs are 0, 0.01, 0.1 and 0.25."""
