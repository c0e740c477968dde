"""What products and quantities are called in HTML, from the tables in factors/."""

import re
from typing import NamedTuple

from markupsafe import Markup, escape

from rankscope import factors

_SUBSCRIPT = re.compile(r"(?<=[WPσ‖])_([A-Za-z*])")


class Product(NamedTuple):
    """A product of two factors.

    Args:
        text: its name without markup.
        html: its name in HTML that plotly understands, too.
        factor_a: name in HTML of A's matrix.
        factor_b: that of B's.
        rows_a: rows or columns of A's matrix, in HTML, whose squared norms figure 5 shows.
        rows_b: those of B's.
        norms: what is compared of the two.
    """

    text: str
    html: Markup
    factor_a: Markup
    factor_b: Markup
    rows_a: Markup
    rows_b: Markup
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


def html_of(text: str) -> Markup:
    """Symbols and formulas of factors/ in HTML.

    Example:
        >>> print(html_of("W_KᵀW_Q"), html_of("k / key_dim < 1"))
        W<sub>K</sub><sup>⊤</sup>W<sub>Q</sub> k / key_dim &lt; 1
    """
    return Markup(_SUBSCRIPT.sub(r"<sub>\1</sub>", str(escape(text))).replace("ᵀ", "<sup>⊤</sup>"))


def _quantity(quantity: factors.Quantity) -> Quantity:
    return Quantity(
        quantity.title, html_of(f"{quantity.meaning} {quantity.formula}; {quantity.values}."), quantity.limits
    )


PRODUCTS = {
    product.kind: Product(
        product.symbol,
        html_of(product.symbol).replace(" ", "\u00a0"),
        html_of(product.a_symbol),
        html_of(product.b_symbol),
        html_of(product.a_rows),
        html_of(product.b_rows),
        f"Squared norms of the {product.a_rows} and of the {product.b_rows}",
    )
    for product in factors.PRODUCTS.values()
}

#: With a null, in the order of menus and tables.
NULLED = {name: _quantity(one) for name, one in factors.QUANTITIES.items() if one.expected is not None}

#: Without a null: columns of a checkpoint's table only.
SIZES = {name: _quantity(one) for name, one in factors.QUANTITIES.items() if one.expected is None}

QUANTITIES = NULLED | SIZES
