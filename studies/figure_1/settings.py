"""What figure 1 can be told; the defaults are the paper's."""

from typing import Annotated, Literal

from pydantic import Field

from rankscope.settings import Count, NonNegative, Positive, Section, Seeds
from rankscope.studies.study import Penalties
from rankscope.training.data_settings import DiagonalSettings, NpzSettings


class FactorSettings(Section):
    """A and B."""

    key_dim: Count = Field(5, description="Inner size of A Bᵀ.")
    stddev: Positive = Field(0.3, description="Standard deviation of the initial A and B.")


class DescentSettings(Section):
    """Full-batch gradient descent."""

    learning_rate: Positive = Field(0.1, description="η.")
    l2: Penalties = Field(
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2], description="λ of (λ/2)(‖A‖² + ‖B‖²)."
    )


class LengthSettings(Section):
    """How long."""

    steps: Count = Field(1000, description="Steps of gradient descent.")


class ReadingSettings(Section):
    """What is recorded and drawn."""

    every: Count = Field(5, description="Steps between readings.")
    curves: list[NonNegative] = Field(
        [0.0, 0.1, 0.2, 0.4, 0.6], description="λs of the first two panels, as far as they are in optimizer.l2."
    )
    over_time: NonNegative = Field(0.4, description="λ of the last panel; the nearest in optimizer.l2 is taken.")


class Figure1Settings(Section):
    """Figure 1 as the paper has it, by default."""

    model: FactorSettings = FactorSettings()
    data: Annotated[DiagonalSettings | NpzSettings, Field(discriminator="source")] = DiagonalSettings(source="diagonal")
    optimizer: DescentSettings = DescentSettings()
    training: LengthSettings = LengthSettings()
    monitor: ReadingSettings = ReadingSettings()
    loss_scale: Literal["half", "full"] = Field(
        "half", description="½‖Y − ABᵀX‖² as in eq. 11, or the caption's ‖Y − ABᵀX‖², whose threshold is λ/2."
    )
    seeds: Seeds = Field([0, 1, 2], description="Of the initial A and B.")
