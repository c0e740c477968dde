"""All that is measured of a pair, a row each: ranks.csv, tables, charts, pages and docs/quantities.md read it here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Flag, auto

import numpy as np

from rankscope.factors.bounds import nuclear_gap_bound
from rankscope.factors.heads import Heads
from rankscope.factors.null import GaussianPairs
from rankscope.factors.premise import diagonality, row_norm_agreement
from rankscope.factors.spectrum import effective_rank, participation_ratio, pseudo_rank, stable_rank


class Shown(Flag):
    """Where a quantity appears besides ranks.csv, `analyze --format csv` and the tables of a checkpoint's page."""

    NOWHERE = 0
    SUMMARY = auto()  # summary.json, sweep.csv
    RUNS = auto()  # tables of `show` and of a run's page
    CHECKPOINTS = auto()  # tables of `analyze` and `compare`
    CURVES = auto()  # TensorBoard
    HEATMAPS = auto()  # layer × head on a run's page
    EVERYWHERE = SUMMARY | RUNS | CHECKPOINTS | CURVES | HEATMAPS


@dataclass(frozen=True)
class Quantity:
    """One measured quantity.

    Args:
        name: its column, such as `pseudo_rank`; the column of its null is `<name>_null`.
        label: its name in tables and charts.
        meaning: what it says, in one sentence.
        formula: how it is computed; `_` before a subscript, ᵀ for the transpose.
        values: its range, and the unit where it has one.
        measured: function of a pair's `Heads`; it returns one float64 a head.
        expected: function of the `GaussianPairs` of the same shapes and norms, the null; None where there is none.
        limits: the whole range where it is short enough to be a colour scale.
        form: format of its numbers in tables.
        shown: where it appears.
        of_checkpoints: measured of checkpoints only (section 4.4's premise), and not while a model trains.
    """

    name: str
    label: str
    meaning: str
    formula: str
    values: str
    measured: Callable[[Heads], np.ndarray] = field(repr=False)
    expected: Callable[[GaussianPairs], np.ndarray] | None = field(default=None, repr=False)
    limits: tuple[float, float] | None = None
    form: str = ".3f"
    shown: Shown = Shown.NOWHERE
    of_checkpoints: bool = False

    @property
    def title(self) -> str:
        """Its label at the head of a chart or a menu."""
        return self.label[0].upper() + self.label[1:]


def _of_spectrum(function: Callable[[np.ndarray], np.ndarray]) -> dict[str, Callable]:
    """`measured` and `expected` of what is a function of a head's singular values alone."""
    return {
        "measured": lambda heads: function(heads.singular_values),
        "expected": lambda null: null.mean_over_spectra(function),
    }


_SQUARED = "≥ 0, in squared units of the weights"

_ROWS = (
    Quantity(
        "pseudo_rank",
        "pseudo rank",
        "The share of a head's singular values, of key_dim, that it takes to hold 95 % of their sum.",
        "k / key_dim, k the least number with σ₁ + … + σ_k ≥ 0.95 Σσ",
        "in (0, 1]; 0 for the zero product",
        **_of_spectrum(pseudo_rank),
        limits=(0.0, 1.0),
        shown=Shown.EVERYWHERE,
    ),
    Quantity(
        "pseudo_rank_hidden",
        "pseudo rank / hidden",
        "The same count of singular values as a share of hidden_dim, the size of the product.",
        "k / hidden_dim",
        "in (0, 1]; 0 for the zero product",
        measured=lambda heads: pseudo_rank(heads.singular_values, size=heads.hidden_dim),
        expected=lambda null: null.mean_over_spectra(pseudo_rank) * null.key_dim / null.hidden_dim,
    ),
    Quantity(
        "stable_rank",
        "stable rank",
        "How many times the energy of the largest singular value makes up the whole (Rudelson & Vershynin 2007).",
        "‖W‖_F² / σ₁²",
        "in [1, key_dim]; 0 for the zero product",
        **_of_spectrum(stable_rank),
        form=".1f",
        shown=Shown.CHECKPOINTS | Shown.HEATMAPS,
    ),
    Quantity(
        "effective_rank",
        "effective rank",
        "How many equal singular values would be spread as evenly (Roy & Vetterli 2007).",
        "exp of the entropy of σ / Σσ",
        "in [1, key_dim]; 0 for the zero product",
        **_of_spectrum(effective_rank),
        form=".2f",
        shown=Shown.EVERYWHERE,
    ),
    Quantity(
        "nuclear_norm",
        "nuclear norm",
        "The sum of the singular values, which decay of the factors lowers (eqs. 3 and 4).",
        "‖W‖_* = Σσ",
        _SQUARED,
        measured=lambda heads: heads.nuclear_norm,
    ),
    Quantity(
        "frobenius_bound",
        "Frobenius bound",
        "What weight decay acts on: an upper bound of the nuclear norm (eq. 8).",
        "½(‖A‖_F² + ‖B‖_F²)",
        _SQUARED,
        measured=lambda heads: heads.frobenius_bound,
    ),
    Quantity(
        "nuclear_gap",
        "nuclear gap",
        "How far the Frobenius bound lies above the nuclear norm; 0 where the factors are balanced (Prop. 3.1).",
        "½(‖A‖_F² + ‖B‖_F²) − ‖W‖_*",
        f"{_SQUARED}; rounding may leave −1e-15",
        measured=lambda heads: heads.frobenius_bound - heads.nuclear_norm,
        shown=Shown.SUMMARY | Shown.CURVES,
    ),
    Quantity(
        "nuclear_gap_bound",
        "bound of the gap",
        "An upper bound of the nuclear gap that the imbalance alone gives (Prop. A.4).",
        "√‖Q‖_* · (‖A‖_* + ‖B‖_*)/2 with Q = AᵀA − BᵀB",
        _SQUARED,
        measured=lambda heads: nuclear_gap_bound(heads.a, heads.b),
        shown=Shown.SUMMARY | Shown.CURVES,
    ),
    Quantity(
        "balance_discrepancy",
        "discrepancy",
        "The distance of the factors from balance; with grouped heads, that of the group (Lemma 3.2, figure 3).",
        "‖AᵀA − BᵀB‖_F",
        _SQUARED,
        measured=lambda heads: heads.balance_discrepancy,
    ),
    Quantity(
        "balance_relative",
        "imbalance",
        "The discrepancy as a share of the factors' own size; with grouped heads, that of the group.",
        "‖AᵀA − BᵀB‖_F / ½(‖AᵀA‖_F + ‖BᵀB‖_F)",
        "in [0, 2]: 0 in balance, 2 where one factor is zero",
        measured=lambda heads: heads.balance_relative,
        expected=lambda null: null.balance_relative(),
        shown=Shown.EVERYWHERE,
    ),
    Quantity(
        "nuclear_ratio",
        "nuclear / Frobenius",
        "The nuclear norm as a share of its Frobenius bound; 1 where the factors are balanced.",
        "‖W‖_* / ½(‖A‖_F² + ‖B‖_F²)",
        "in [0, 1]; 0 for two zero factors",
        measured=lambda heads: heads.nuclear_norm / np.where(heads.frobenius_bound > 0, heads.frobenius_bound, 1.0),
        expected=lambda null: null.nuclear_ratio(),
        shown=Shown.EVERYWHERE,
    ),
    Quantity(
        "participation_ratio",
        "participation ratio",
        "How many singular values share the energy of the product: the rank that a few large values move most.",
        "(Σσ²)² / Σσ⁴",
        "in [1, key_dim]; 0 for the zero product",
        **_of_spectrum(participation_ratio),
        form=".2f",
        shown=Shown.EVERYWHERE,
    ),
    Quantity(
        "row_norm_agreement",
        "row norms agree",
        "How well the squared norms x of A's and y of B's rows agree, as figure 5 plots them; of a group, its sums.",
        "1 − Σ|x − y| / Σ(x + y)",
        "in [0, 1]: 1 where all are equal, 0 where one factor is zero",
        measured=lambda heads: heads.of_group(row_norm_agreement(heads.stacked_a, heads.stacked_b)),
        expected=lambda null: null.row_norm_agreement(),
        shown=Shown.CHECKPOINTS,
        of_checkpoints=True,
    ),
    Quantity(
        "diagonality_a",
        "diagonality of A",
        "How nearly the rows of W_K, or the columns of P, are orthogonal.",
        "‖diag(AᵀA)‖ / ‖AᵀA‖_F",
        "in [1/√key_dim, 1]; 0 for a zero factor",
        measured=lambda heads: diagonality(heads.a),
        expected=lambda null: null.diagonality("a"),
        of_checkpoints=True,
    ),
    Quantity(
        "diagonality_b",
        "diagonality of B",
        "How nearly the rows of W_Q, or of W_V, are orthogonal.",
        "‖diag(BᵀB)‖ / ‖BᵀB‖_F",
        "in [1/√key_dim, 1]; 0 for a zero factor",
        measured=lambda heads: diagonality(heads.b),
        expected=lambda null: null.diagonality("b"),
        of_checkpoints=True,
    ),
)

#: Name → quantity, in the order of columns, tables and menus.
QUANTITIES: dict[str, Quantity] = {quantity.name: quantity for quantity in _ROWS}


def quantities_in(place: Shown) -> Iterator[Quantity]:
    """The quantities that appear in a place, in the order of the table.

    Example:
        >>> [quantity.name for quantity in quantities_in(Shown.SUMMARY)][:2]
        ['pseudo_rank', 'effective_rank']
    """
    return (quantity for quantity in QUANTITIES.values() if place in quantity.shown)


def columns_of(checkpoint: bool = False) -> list[str]:
    """Columns of a reading: every quantity, then the null of each that has one.

    Args:
        checkpoint: whether a checkpoint was read, and not a model while it trains.

    Example:
        >>> len(columns_of()), columns_of()[-1], columns_of(checkpoint=True)[-1]
        (19, 'participation_ratio_null', 'diagonality_b_null')
    """
    measured = [quantity for quantity in QUANTITIES.values() if checkpoint or not quantity.of_checkpoints]
    nulls = [f"{quantity.name}_null" for quantity in measured if quantity.expected is not None]
    return [*(quantity.name for quantity in measured), *nulls]
