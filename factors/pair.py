"""FactorPair: two matrices per attention head whose product A Bᵀ is what the layer really applies."""

from dataclasses import dataclass, field

import numpy as np

from rankscope.factors.linear_algebra import check_range
from rankscope.factors.products import PRODUCTS


class NonFiniteError(ValueError):
    """A factor holds NaN or infinity."""


@dataclass(frozen=True, eq=False)  # comparing arrays field by field has no single truth value
class FactorPair:
    """The factors A and B of every head of one layer; the layer applies W = A Bᵀ.

    The paper writes its matrices as maps (key_dim × hidden_dim); a Keras kernel is stored the other way round,
    `x @ kernel`, so a kernel is the **transpose** of the paper's matrix. With key = W_Kᵀ and so on, both products
    of attention (eq. 1 of "Weight decay induces low-rank attention layers") take the one form A Bᵀ:

    ========= ============================ ==============================================
    pair      product in the paper         code, each per head of shape (hidden_dim, key_dim)
    ========= ============================ ==============================================
    "qk"      W_Kᵀ W_Q                     a = key kernel, b = query kernel
    "vo"      P W_V                        a = output kernel (transposed: P), b = value kernel
    "product" A Bᵀ (the linear network)    a = last factor (out, key_dim), b = first factor (in, key_dim)
    ========= ============================ ==============================================

    (For "vo", key_dim is the value dimension of the head.)

    Args:
        pair: kind, a key of PRODUCTS: "qk", "vo" or "product".
        layer: index of the layer in the order of the model, from 0.
        path: where the factors live in the model, to name them in messages and records.
        a: left factor, shape (heads, hidden_dim, key_dim), finite, any real dtype.
        b: right factor, the same shape, but for two liberties. Hidden dims may differ (a rectangular product), and
            one head axis may be a divisor of the other's: with grouped queries the key heads ("a" of qk) or value
            heads ("b" of vo) are fewer, and consecutive query heads share one.

    Raises:
        ValueError: for an unknown kind, a factor that is not 3-dimensional, an empty axis, differing key dims, heads
            that do not divide, entries outside the range of linear_algebra.py; NonFiniteError for a value that is not
            finite. The message names pair and path.

    Example:
        Two query heads share one key head.

        >>> import numpy as np
        >>> pair = FactorPair("qk", 0, "block_0/attention", a=np.ones((1, 8, 4)), b=np.ones((2, 8, 4)))
        >>> pair.heads, pair.hidden_dim, pair.key_dim
        (2, 8, 4)
        >>> [factor.shape for factor in pair.per_head()]
        [(2, 8, 4), (2, 8, 4)]
    """

    pair: str
    layer: int
    path: str
    a: np.ndarray = field(repr=False)
    b: np.ndarray = field(repr=False)

    def __post_init__(self):
        """Refuse what cannot be measured."""
        where = f"Factor pair {self.pair!r} at {self.path!r}"
        if self.pair not in PRODUCTS:
            raise ValueError(f"{where}: pair must be one of {', '.join(PRODUCTS)}. Received: {self.pair!r}")
        a, b = np.shape(self.a), np.shape(self.b)
        received = f"Received: a of shape {a}, b of shape {b}"
        if len(a) != 3 or len(b) != 3:
            raise ValueError(f"{where}: a and b must have shape (heads, hidden_dim, key_dim). {received}")
        if 0 in a or 0 in b:
            raise ValueError(f"{where}: no axis of a or b may be empty. {received}")
        if a[2] != b[2]:
            raise ValueError(f"{where}: a and b must have the same key_dim (last axis). {received}")
        if max(a[0], b[0]) % min(a[0], b[0]):
            raise ValueError(f"{where}: the heads of one factor must divide the heads of the other. {received}")
        for name, factor in (("a", self.a), ("b", self.b)):
            finite = np.isfinite(factor)
            if not finite.all():
                raise NonFiniteError(
                    f"{where}: every value must be finite. Received: {finite.size - np.count_nonzero(finite)} of "
                    f"{finite.size} values of {name} are NaN or infinite"
                )
            try:
                check_range(np.asarray(factor))
            except ValueError as error:
                raise ValueError(f"{where}, factor {name}: {error}") from error

    @property
    def heads(self) -> int:
        """Number of products: the larger of the two head axes."""
        return max(self.a.shape[0], self.b.shape[0])

    @property
    def hidden_dim(self) -> int:
        """The smaller of the two row dimensions: the largest rank that a product of this shape could have."""
        return min(self.a.shape[1], self.b.shape[1])

    @property
    def key_dim(self) -> int:
        """The shared last axis: the bottleneck, and so the largest rank that the factors allow."""
        return self.a.shape[2]

    def per_head(self) -> tuple[np.ndarray, np.ndarray]:
        """Both factors with one entry per head, in float64.

        Returns:
            `(a, b)`, shapes (heads, rows of a, key_dim) and (heads, rows of b, key_dim). A factor that several heads
            share is repeated for consecutive heads; a float64 factor with a head axis of its own is not copied.

        Example:
            >>> import numpy as np
            >>> shared = np.array([[[1.0]], [[2.0]]])
            >>> a, b = FactorPair("qk", 0, "attention", a=shared, b=np.ones((4, 1, 1))).per_head()
            >>> a.ravel().tolist()
            [1.0, 1.0, 2.0, 2.0]
        """
        a, b = (np.asarray(factor, dtype=np.float64) for factor in (self.a, self.b))
        return repeat_heads(a, self.heads), repeat_heads(b, self.heads)


def repeat_heads(per_group: np.ndarray, heads: int) -> np.ndarray:
    """Give each of `heads` heads the entry of its group: consecutive heads form a group.

    Args:
        per_group: array whose first axis has `groups` entries; `groups` must divide `heads`.
        heads: length of the first axis of the result.

    Returns:
        Array with `heads` entries on the first axis; the argument itself where nothing is shared.

    Example:
        >>> import numpy as np
        >>> repeat_heads(np.array([1, 2]), 4).tolist()
        [1, 1, 2, 2]
    """
    groups = len(per_group)
    return per_group if groups == heads else np.repeat(per_group, heads // groups, axis=0)
