"""What figure 3 can be told: all that configs/recall.yaml can, over several decays and seeds."""

from functools import cache

from pydantic import Field, model_validator

from studies.study import Penalties
from training.settings import (
    MonitorSettings,
    OptimizerSettings,
    RecallSettings,
    RecallTaskSettings,
    Settings,
    TrainingSettings,
    config_path,
    load_settings,
    settings_from,
)
from training.settings_reader import Count, Section, Seeds, UserError


@cache
def _recall() -> Settings:
    return load_settings(config_path("recall"))


class SweepSettings(Section):
    """What is varied."""

    attention_weight_decay: Penalties = Field([0.0, 0.01, 0.03, 0.1, 0.3, 1.0], description="λ of attention's kernels.")


class RecallRuns(Section):
    """Runs of the recall model that differ in the decay of attention and in the seed."""

    model: RecallSettings = Field(default_factory=lambda: _recall().model)
    data: RecallTaskSettings = Field(default_factory=lambda: _recall().data)
    optimizer: OptimizerSettings = Field(default_factory=lambda: _recall().optimizer)
    training: TrainingSettings = Field(default_factory=lambda: _recall().training)
    monitor: MonitorSettings = Field(default_factory=lambda: _recall().monitor)
    sweep: SweepSettings = SweepSettings()
    seeds: Seeds = Field([0, 1, 2], description="Of initial weights and data; the task's validation part is the same.")
    jobs: Count | None = Field(None, description="Runs side by side; null: two, or one on a single core.")

    @model_validator(mode="after")
    def _each_run_once(self):
        for name, values in (
            ("sweep.attention_weight_decay", self.sweep.attention_weight_decay),
            ("seeds", self.seeds),
        ):
            twice = next((value for index, value in enumerate(values) if value in values[:index]), None)
            if twice is not None:
                raise UserError(f"{name} must hold each value once. Received: {twice:g} twice")
        return self

    @model_validator(mode="after")
    def _decay_is_varied(self):
        if self.optimizer.attention_weight_decay is not None:
            raise UserError(
                "optimizer.attention_weight_decay is what this study varies: set sweep.attention_weight_decay to a "
                f"list. Received: {self.optimizer.attention_weight_decay}"
            )
        return self

    @property
    def run(self) -> Settings:
        """The settings that all runs share.

        Raises:
            UserError: where they do not fit together.
        """
        return settings_from(self.model_dump(mode="json", exclude={"sweep", "seeds", "jobs"}), "the study's runs")


class Figure3Settings(RecallRuns):
    """Figure 3 of the paper."""


class AblationSettings(RecallRuns):
    """Figure 3 again, with one thing changed at a time."""

    sweep: SweepSettings = SweepSettings(attention_weight_decay=[0.0, 0.1, 0.3])
    seeds: Seeds = Field([0, 1], description="Of initial weights and data; the task's validation part is the same.")
