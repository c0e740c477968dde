"""What the theory study can be told."""

from pydantic import Field

from rankscope.settings import Count, Positive, Section, Seeds
from rankscope.studies.study import PositivePenalties


class MatrixSettings(Section):
    """Sizes of the factors that the propositions are tried on."""

    hidden_dim: Count = Field(8, description="Rows of A and B, d_m of the paper.")
    key_dim: Count = Field(4, description="Columns of A and B, d_k; a bottleneck where it is below hidden_dim.")
    stddev: Positive = Field(0.3, description="Standard deviation of initial A and B.")


class TargetSettings(Section):
    """The problem of section 3.4."""

    singular_values: list[Positive] = Field(
        [0.2, 0.4, 0.6, 0.8, 1.0], min_length=1, description="Singular values of Σ_YX; distinct for appendix B."
    )


class PenaltySettings(Section):
    """How strongly the factors are penalised."""

    l2: PositivePenalties = Field([0.1, 0.3, 0.5], description="λ of (λ/2)‖·‖².")


class TheorySettings(Section):
    """Sizes, target, penalties and seeds of the theory study."""

    model: MatrixSettings = MatrixSettings()
    data: TargetSettings = TargetSettings()
    optimizer: PenaltySettings = PenaltySettings()
    seeds: Seeds = Field([0, 1, 2], description="Of initial factors and random matrices.")
