"""What every quantity of a pair is made of: its reduced factors head by head and group by group, and its spectrum."""

from functools import cached_property

import numpy as np

from rankscope.factors.balance import frobenius_norm, gram, relative_to_grams, squared_norm
from rankscope.factors.pair import FactorPair, repeat_heads
from rankscope.factors.spectrum import nuclear_norm, reduce_rows, singular_values


class Heads:
    """One reading of a pair, before it becomes quantities; everything costly is computed once.

    Attributes:
        a, b: reduced factors of every head, (heads, ≤ key_dim, key_dim); a shared factor repeated.
        stacked_a, stacked_b: those of a group of heads that share a factor, stacked along the rows, (groups, rows,
            key_dim): the Gram of stacked heads is the sum of their Grams.
        squares_a, squares_b: ‖A‖_F² and ‖B‖_F² of each factor as it is stored, (heads of each,).
        singular_values: (heads, key_dim), descending.
        hidden_dim, key_dim: as of the pair.

    Example:
        >>> heads = Heads(FactorPair("qk", 0, "attention", np.full((1, 1, 1), 3.0), np.ones((2, 1, 1))))
        >>> heads.nuclear_norm.tolist(), heads.frobenius_bound.tolist()
        ([3.0, 3.0], [5.0, 5.0])
    """

    def __init__(self, pair: FactorPair):
        a, b = reduce_rows(pair.a), reduce_rows(pair.b)  # (heads of each, ≤ K, K)
        groups = min(len(a), len(b))
        self.hidden_dim, self.key_dim, self._count = pair.hidden_dim, pair.key_dim, pair.heads
        self.stacked_a, self.stacked_b = (factor.reshape(groups, -1, pair.key_dim) for factor in (a, b))
        self.squares_a, self.squares_b = squared_norm(a), squared_norm(b)
        self.a, self.b = repeat_heads(a, pair.heads), repeat_heads(b, pair.heads)
        self.singular_values = singular_values(self.a, self.b)

    def of_group(self, values: np.ndarray) -> np.ndarray:
        """Give each head the value of its group: (groups,) → (heads,)."""
        return repeat_heads(values, self._count)

    @cached_property
    def nuclear_norm(self) -> np.ndarray:
        """‖A Bᵀ‖_* of each head."""
        return nuclear_norm(self.singular_values)

    @cached_property
    def frobenius_bound(self) -> np.ndarray:
        """½(‖A‖_F² + ‖B‖_F²) of each head."""
        squares_a, squares_b = (repeat_heads(squares, self._count) for squares in (self.squares_a, self.squares_b))
        return 0.5 * (squares_a + squares_b)

    @cached_property
    def balance_discrepancy(self) -> np.ndarray:
        """‖AᵀA − BᵀB‖_F of the group, for each head."""
        return self.of_group(self._discrepancy)

    @cached_property
    def balance_relative(self) -> np.ndarray:
        """The same over ½(‖AᵀA‖_F + ‖BᵀB‖_F)."""
        return self.of_group(relative_to_grams(self._discrepancy, *self._grams))

    @cached_property
    def _grams(self):
        return gram(self.stacked_a), gram(self.stacked_b)  # (groups, K, K) each

    @cached_property
    def _discrepancy(self):
        return frobenius_norm(self._grams[0] - self._grams[1])  # (groups,)
