"""What products and quantities are called on a page, and what they mean."""

from typing import NamedTuple

from markupsafe import Markup


class Product(NamedTuple):
    """A product of two factors.

    Args:
        text: its name without markup.
        html: its name in HTML that plotly understands, too.
        factor_a: name in HTML of A's matrix, whose squared row norms figure 5 shows.
        factor_b: that of B's.
        norms: what is compared of the two.
    """

    text: str
    html: Markup
    factor_a: Markup
    factor_b: Markup
    norms: str


class Quantity(NamedTuple):
    """A measured quantity.

    Args:
        label: its name.
        meaning: a definition in HTML.
        limits: the whole range where it is short enough to be a colour scale, or None for that of the data.
    """

    label: str
    meaning: Markup
    limits: tuple[float, float] | None = None


PRODUCTS = {
    "qk": Product(
        "W_KᵀW_Q",
        Markup("W<sub>K</sub><sup>⊤</sup>W<sub>Q</sub>"),
        Markup("W<sub>K</sub>"),
        Markup("W<sub>Q</sub>"),
        "Squared row norms of W_K and of W_Q",
    ),
    "vo": Product(
        "P W_V",
        Markup("P\u00a0W<sub>V</sub>"),
        Markup("P"),
        Markup("W<sub>V</sub>"),
        "Squared norms of the columns of P and of the rows of W_V",
    ),
    "product": Product(
        "A Bᵀ", Markup("A B<sup>⊤</sup>"), Markup("A"), Markup("B"), "Squared column norms of A and of B"
    ),
}

#: With a null, in the order of menus and tables.
QUANTITIES = {
    "pseudo_rank": Quantity(
        "Pseudo rank",
        Markup("least share of a head’s singular values that holds 95 % of their sum; of key_dim values"),
        (0.0, 1.0),
    ),
    "effective_rank": Quantity("Effective rank", Markup("exp of the entropy of σ/Σσ; between 1 and key_dim")),
    "stable_rank": Quantity("Stable rank", Markup("‖W‖<sub>F</sub>² / σ<sub>1</sub>²")),
    "nuclear_ratio": Quantity(
        "Nuclear ratio",
        Markup("nuclear norm over its bound ½(‖A‖² + ‖B‖²); 1 where the factors are balanced"),
    ),
    "balance_relative": Quantity(
        "Imbalance",
        Markup("‖A<sup>⊤</sup>A − B<sup>⊤</sup>B‖<sub>F</sub> over the mean of ‖A<sup>⊤</sup>A‖ and ‖B<sup>⊤</sup>B‖"),
    ),
    "row_norm_agreement": Quantity(
        "Row norm agreement",
        Markup("1 − Σ|x − y| / Σ(x + y) of the factors’ squared row norms x, y; figure 5 in one number"),
    ),
    "diagonality_a": Quantity(
        "Diagonality of A",
        Markup("‖diag(A<sup>⊤</sup>A)‖ / ‖A<sup>⊤</sup>A‖; 1 for orthogonal rows of W<sub>K</sub> (columns of P)"),
    ),
    "diagonality_b": Quantity("Diagonality of B", Markup("the same of W<sub>Q</sub> (W<sub>V</sub>)")),
    "pseudo_rank_hidden": Quantity("Pseudo rank / hidden", Markup("the same count as the pseudo rank, of hidden_dim")),
}

#: Without a null: columns of the table only.
SIZES = {
    "nuclear_norm": Quantity("Nuclear norm", Markup("Σσ of the product")),
    "frobenius_bound": Quantity("Frobenius bound", Markup("½(‖A‖² + ‖B‖²), never below the nuclear norm")),
    "nuclear_gap": Quantity("Gap", Markup("Frobenius bound − nuclear norm")),
    "nuclear_gap_bound": Quantity("Bound of the gap", Markup("right side of proposition A.4")),
    "balance_discrepancy": Quantity(
        "Discrepancy", Markup("‖A<sup>⊤</sup>A − B<sup>⊤</sup>B‖<sub>F</sub>, in units of the weights squared")
    ),
}
