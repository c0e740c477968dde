"""The kinds of product A Bᵀ, a row each: whatever reads, draws or grades pairs takes names and roles from here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """A kind of product of two factors.

    Symbols are written as in this text: `_` before a subscript, ᵀ for the transpose.

    Args:
        kind: its name in records and settings, such as `qk`.
        symbol: the product as the paper writes it.
        a_role: role of the kernel that makes A, as layers tag it (`variable.factor_role`).
        b_role: role of the kernel that makes B; the same where the kernels are a chain of matrices, whose neighbours
            make a product each.
        a_symbol: the paper's matrix behind A.
        b_symbol: the paper's matrix behind B.
        a_rows: what figure 5 compares of the first: rows or columns of which matrix.
        b_rows: what it compares of the second.
        of_attention: whether `attention_weight_decay` governs its factors.

    Example:
        >>> PRODUCTS["vo"].symbol, PRODUCTS["vo"].roles
        ('P W_V', ('output', 'value'))
    """

    kind: str
    symbol: str
    a_role: str
    b_role: str
    a_symbol: str
    b_symbol: str
    a_rows: str
    b_rows: str
    of_attention: bool = False

    @property
    def roles(self) -> tuple[str, str]:
        """Roles of A's and of B's kernel."""
        return self.a_role, self.b_role

    @property
    def is_chain(self) -> bool:
        """Whether its kernels are a chain of matrices (…, d_l, d_(l+1)), and not those of attention's heads."""
        return self.a_role == self.b_role


#: Kind → product, in the order of tables and charts.
PRODUCTS: dict[str, Product] = {
    product.kind: product
    for product in (
        Product("qk", "W_KᵀW_Q", "key", "query", "W_K", "W_Q", "rows of W_K", "rows of W_Q", of_attention=True),
        Product("vo", "P W_V", "output", "value", "P", "W_V", "columns of P", "rows of W_V", of_attention=True),
        Product("product", "A Bᵀ", "factor", "factor", "A", "B", "columns of A", "columns of B"),
    )
}

#: Role of a kernel → the kind of product that it is a factor of.
KIND_OF_ROLE = {role: product.kind for product in PRODUCTS.values() for role in product.roles}
#: The kinds whose decay `attention_weight_decay` sets.
ATTENTION_KINDS = tuple(product.kind for product in PRODUCTS.values() if product.of_attention)
