"""What figure 2 can be told. The paper gives no numbers: surface, λ, ε and η are ours."""

import math
from typing import Annotated

from pydantic import Field, FiniteFloat, model_validator

from rankscope.errors import UserError
from rankscope.settings import Count, Fraction, Positive, Section, Seeds

Point = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
Epsilon = Annotated[Positive, Field(ge=1e-12, le=1e6)]


class SurfaceSettings(Section):
    """The line S = {w: normal · w = offset}, and where weights start."""

    normal: Point = Field([1.0, 2.0], description="Of S: two numbers of different size, neither of them 0.")
    offset: FiniteFloat = Field(2.0, description="normal · w on S; not 0.")
    starts: Annotated[list[Point], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="Points (w₁, w₂) to start from; null draws one for each seed."
    )
    radius: Positive = Field(1.8, description="Distance of drawn starts from the L2-minimiser; seeds draw the angle.")
    imbalance: Positive = Field(0.5, description="a² − b² at the start, of each product a·b.")

    @model_validator(mode="after")
    def _minimisers_are_two_points(self):
        first, second = (abs(component) for component in self.normal)
        if not (first and second) or math.isclose(first, second):
            raise UserError(
                "data.normal must hold two numbers of different size, neither of them 0: else the L1-minimiser is no "
                f"single point, or is the L2-minimiser. Received: {self.normal}"
            )
        if self.offset == 0:
            raise UserError("data.offset must not be 0: a surface through the origin has both minimisers there")
        return self


class AdamSettings(Section):
    """AdamW, and Adam with the L2 penalty ελ."""

    weight_decay: Positive = Field(0.1, description="λ of the trajectories and of the errors against ε.")
    epsilon: Epsilon = Field(0.1, description="ε of the trajectories and of the errors against λ|W|.")
    learning_rate: Positive = Field(0.05, description="η. AdamW rests only for ε above η · curvature / 38 or so.")
    beta_1: Fraction = Field(0.9, description="β₁.")
    beta_2: Fraction = Field(0.95, description="β₂.")

    @model_validator(mode="after")
    def _decay_does_not_overshoot(self):
        if self.learning_rate * self.weight_decay >= 1:
            raise UserError(
                "optimizer.learning_rate · optimizer.weight_decay must be below 1: a step of decay alone would reach "
                f"zero. Received: {self.learning_rate:g} · {self.weight_decay:g}"
            )
        return self


class SweepSettings(Section):
    """Where the equivalence ends."""

    weight_decay: Annotated[list[Positive], Field(min_length=1, max_length=100)] = Field(
        [0.01, 0.02, 0.05, 0.2, 0.3, 0.8, 1.6], description="More λ, at optimizer.epsilon."
    )
    epsilon: Annotated[list[Epsilon], Field(min_length=1, max_length=100)] = Field(
        [1e-8, 1e-6, 1e-5, 1e-4, 3e-4, 6e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.3, 1.0],
        description="More ε, at optimizer.weight_decay.",
    )


class LengthSettings(Section):
    """How long."""

    steps: Count | None = Field(
        None, description="Steps; null: until the slowest mode at rest has shrunk by e^−10, but at most 30,000."
    )


class ReadingSettings(Section):
    """What is recorded."""

    every: Count = Field(3, description="Steps between readings; at most a quarter of all steps are.")


class Figure2Settings(Section):
    """Figure 2 of the paper, and where what it shows ends."""

    data: SurfaceSettings = SurfaceSettings()
    optimizer: AdamSettings = AdamSettings()
    sweep: SweepSettings = SweepSettings()
    training: LengthSettings = LengthSettings()
    monitor: ReadingSettings = ReadingSettings()
    seeds: Seeds = Field([0, 1, 2, 3, 4, 5], description="Of the starts, where data.starts names none.")
