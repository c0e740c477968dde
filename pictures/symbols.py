"""Symbols of factors/ as matplotlib writes formulas."""

from rankscope.factors import PRODUCTS


def mathtext_of(symbol: str) -> str:
    """A symbol of factors/ as matplotlib writes formulas.

    Example:
        >>> mathtext_of("W_KᵀW_Q"), mathtext_of("P W_V")
        ('$W_K^\\\\top W_Q$', '$P\\\\,W_V$')
    """
    return "$" + symbol.replace(" ", "\\,").replace("ᵀ", "^\\top ").rstrip() + "$"


#: Kind of product → its symbol.
SYMBOLS = {kind: mathtext_of(product.symbol) for kind, product in PRODUCTS.items()}
