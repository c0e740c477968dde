"""Layouts: from tensors as files store them to one (hidden_dim, key_dim) factor a head.

Nothing is copied where a view will do: only interleaved queries and biases need room of their own.
"""

import numpy as np


def flat_shape(shape: tuple[int, ...], stored: str, role: str) -> tuple[int, int] | None:
    """What a kernel comes to as a matrix: inner size (heads · key_dim, of all that is fused) and hidden size.

    Args:
        shape: of the tensor.
        stored: as in `family.Tower`.
        role: "query", "key", "value", "fused" or "output".

    Returns:
        `(inner, hidden)`, or None for a shape that this layout does not know.

    Example:

    >>> flat_shape((96, 32), "out_in", "fused"), flat_shape((32, 4, 8), "heads", "query")
    ((96, 32), (32, 32))
    """
    if any(size < 1 for size in shape):
        return None
    if stored in ("heads", "heads_first") and len(shape) == 3:
        heads, hidden, key_dim = _axes(shape, stored, role)
        return heads * key_dim, hidden
    if len(shape) != 2 or stored == "heads_first":
        return None
    # A Linear's output has the inner axis last, as its inputs have the hidden axis; the other way round in Keras.
    return tuple(shape) if (stored == "out_in") != (role == "output") else tuple(shape)[::-1]


def heads_of(shape: tuple[int, ...], stored: str, role: str) -> int | None:
    """The number of heads where the shape tells it.

    >>> heads_of((32, 4, 8), "heads", "query"), heads_of((32, 32), "out_in", "query")
    (4, None)
    """
    return _axes(shape, stored, role)[0] if len(shape) == 3 and stored in ("heads", "heads_first") else None


def _axes(three, stored, role):
    """(heads, hidden, key_dim) of something with three axes."""
    first, second, third = three
    if role == "output":
        return first, third, second  # (H, K, D)
    return (first, second, third) if stored == "heads_first" else (second, first, third)  # (H, D, K) or (D, H, K)


def by_head(kernel: np.ndarray, stored: str, role: str, heads: int) -> np.ndarray:
    """One factor a head.

    Args:
        kernel: of query, key, value or output, with two or three axes.
        stored: as in `family.Tower`.
        role: "query", "key", "value" or "output".
        heads: of this kernel; divides its inner size.

    Returns:
        A view, (heads, hidden_dim, key_dim).

    Example:

    >>> linear = np.arange(6).reshape(2, 3)  # out, in
    >>> by_head(linear, "out_in", "query", heads=2)[1].ravel().tolist()
    [3, 4, 5]
    """
    if kernel.ndim == 3:
        order = {"heads_first": (0, 1, 2), "heads": (1, 0, 2)}[stored] if role != "output" else (0, 2, 1)
        return kernel.transpose(order)  # (H, D, K)
    if (stored == "out_in") != (role == "output"):
        return kernel.reshape(heads, -1, kernel.shape[1]).swapaxes(1, 2)  # (H·K, D) -> (H, K, D) -> (H, D, K)
    return kernel.reshape(kernel.shape[0], heads, -1).swapaxes(0, 1)  # (D, H·K) -> (D, H, K) -> (H, D, K)


def split_fused(
    fused: np.ndarray, stored: str, order: str, heads: int, kv_heads: int, key_dim: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query, key and value of one tensor.

    Args:
        fused: kernel of (heads + 2 · kv_heads) · key_dim rows, or columns, as `stored` says.
        stored: as in `family.Tower`.
        order: "split" or "interleaved", as in `family.Tower`.
        heads: of the queries.
        kv_heads: of keys and values; divides `heads`.
        key_dim: size of a head.

    Returns:
        `(query, key, value)`, (heads, hidden_dim, key_dim) and twice (kv_heads, hidden_dim, key_dim).

    Example:

    >>> rows = np.arange(4).reshape(4, 1)  # two queries, a key, a value, each with one row
    >>> [part.ravel().tolist() for part in split_fused(rows, "out_in", "split", heads=2, kv_heads=1, key_dim=1)]
    [[0, 1], [2], [3]]
    """
    rows = fused if stored == "out_in" else fused.reshape(len(fused), -1).T  # (R, D)
    hidden = rows.shape[1]
    if order == "split":
        ends = [heads * key_dim, (heads + kv_heads) * key_dim]
        parts = [part.reshape(-1, key_dim, hidden) for part in np.split(rows, ends)]  # (H, K, D), (Hkv, K, D), …
    else:
        groups = rows.reshape(kv_heads, heads // kv_heads + 2, key_dim, hidden)
        query = groups[:, :-2].reshape(heads, key_dim, hidden)  # a copy if there are several groups of several
        parts = [query, groups[:, -2], groups[:, -1]]
    return tuple(part.swapaxes(1, 2) for part in parts)  # (H, D, K), (Hkv, D, K), (Hkv, D, K)


def with_bias(kernel: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """The factor with its bias as a further row: [x; 1] in place of x.

    Args:
        kernel: (heads, hidden_dim, key_dim).
        bias: (heads, 1, key_dim); zeros if None.

    Returns:
        (heads, hidden_dim + 1, key_dim), a copy.

    Example:

    >>> with_bias(np.ones((1, 2, 1)), None).ravel().tolist()
    [1.0, 1.0, 0.0]
    """
    if bias is None:
        bias = np.zeros((len(kernel), 1, kernel.shape[2]), kernel.dtype)
    return np.concatenate([kernel, bias], axis=1)  # (H, D + 1, K)
