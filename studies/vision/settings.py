"""What figure 4 right can be told: all that configs/vit.yaml can, over several decays and seeds."""

from functools import cache

from pydantic import Field

from rankscope.studies.decay_sweep import DecaySweep, SweepSettings
from rankscope.training.data_settings import VisionSettings
from rankscope.training.settings import (
    MonitorSettings,
    OptimizerSettings,
    Settings,
    TrainingSettings,
    config_path,
    load_settings,
)
from rankscope.zoo.registry import VitSettings

#: Over configs/vit.yaml. A head's pseudo rank is a multiple of 1/key_dim: 4 heads of 16 are a coarse ruler.
CHANGES = (("model.num_heads", 2), ("model.key_dim", 32), ("optimizer.learning_rate", 3e-3))


@cache
def _vit() -> Settings:
    return load_settings(config_path("vit"), CHANGES)


class VisionRuns(DecaySweep):
    """Figure 4 right: runs that differ in the decay of attention and in the seed."""

    model: VitSettings = Field(default_factory=lambda: _vit().model)
    data: VisionSettings = Field(default_factory=lambda: _vit().data, discriminator="source")
    optimizer: OptimizerSettings = Field(default_factory=lambda: _vit().optimizer)
    training: TrainingSettings = Field(default_factory=lambda: _vit().training)
    monitor: MonitorSettings = Field(default_factory=lambda: _vit().monitor)
    sweep: SweepSettings = SweepSettings(attention_weight_decay=[0.0, 0.05, 0.1, 0.3, 1.0])
