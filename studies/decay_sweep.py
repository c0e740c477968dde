"""A model trained with several decays of attention, over several seeds: what such a study can be told, and its runs."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from rankscope.errors import UserError
from rankscope.settings import Count, Section, Seeds
from rankscope.studies.runs import Run, read_run
from rankscope.studies.study import Penalties, StudyWriter
from rankscope.studies.verdict import Case, Claim
from rankscope.sweeps.sweep import run_sweep
from rankscope.training.settings import MonitorSettings, OptimizerSettings, Settings, TrainingSettings, settings_from


class SweepSettings(Section):
    """What is varied."""

    attention_weight_decay: Penalties = Field(description="λ of attention's kernels.")


class DecaySweep(Section):
    """Runs that differ in the decay of attention and in the seed; a subclass says of which model, on which data."""

    model: Section
    data: Section
    optimizer: OptimizerSettings
    training: TrainingSettings
    monitor: MonitorSettings
    sweep: SweepSettings
    seeds: Seeds = Field([0, 1, 2], description="Of initial weights and data; the validation part is the same.")
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


def train(settings: DecaySweep, writer: StudyWriter, name: str, metric: str) -> list[Run]:
    """Train one run for each decay and seed, and read them.

    Args:
        settings: of the runs.
        writer: of the study, in whose directory the sweep is.
        name: of the sweep.
        metric: column of history.csv that the study judges by.

    Returns:
        All runs in the order of decays, then seeds; those that failed have no curves.

    Raises:
        UserError: as `run_sweep`, and where the records of a run that has ended are damaged.
    """
    decays = settings.sweep.attention_weight_decay
    sweep = run_sweep(
        settings.run,
        over={"optimizer.attention_weight_decay": [np.format_float_positional(decay, trim="-") for decay in decays]},
        seeds=settings.seeds,
        directory=writer.directory / "runs" / name,
        jobs=settings.jobs,
        echo=writer.echo,
    )
    for failed, why in sweep.failures.items():
        writer.echo(f"{name}, {failed}: {why}")
    return [
        read_run(run.path, run.summary, float(run.values["wd_attn"]), run.settings.seed, metric) for run in sweep.runs
    ]


def learned_claim(runs: Sequence[Run], study: str, source: str, better: str) -> Claim:
    """Every run has learned.

    Args:
        runs: of the sweep.
        study: its name, which the claim's id begins with.
        source: in the paper.
        better: in words, what a run does that has learned.
    """
    cases = [Case(str(run), 1.0, float(run.learned), 0.0) for run in runs]
    return Claim(f"{study}.learned", source, f"every run ends, and {better}", cases)
