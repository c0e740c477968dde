"""Some of many readings, layers or singular values: evenly chosen, the first and the last among them."""

import numpy as np


def evenly(count: int, most: int) -> np.ndarray:
    """At most so many places of `count`, evenly chosen, the first and the last among them.

    Example:
        >>> evenly(5, 3).tolist(), evenly(2, 3).tolist()
        ([0, 2, 4], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, max(most, 1))).round().astype(int)) if count else np.arange(0)
