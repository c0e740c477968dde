"""Spearman's correlation over runs, and its interval by the bootstrap."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap, rankdata

RESAMPLES = 9999
LEVEL = 0.95


@dataclass(frozen=True)
class Correlation:
    """Spearman's correlation, with the ends of its interval.

    Args:
        value: of all points.
        low: lower end of the 95 % interval.
        high: upper end.
        points: how many there are.
    """

    value: float
    low: float
    high: float
    points: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] over {self.points} runs"


def spearman(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Spearman's correlation along an axis, ties sharing their mean rank; 0 where either is all alike.

    Args:
        x: `(…, points)`.
        y: `(…, points)`.
        axis: of the points.

    Returns:
        `(…,)`, from −1 to 1.

    Example:
        Ranks 1, 2, 3 and 3, 1, 2: 1 − 6 (4 + 1 + 1)/(3 · 8).

        >>> float(spearman(np.array([0.0, 0.1, 1.0]), np.array([0.9, 0.5, 0.6])))
        -0.5
    """
    ranks = [rankdata(values, axis=axis) for values in (x, y)]
    a, b = (rank - rank.mean(axis=axis, keepdims=True) for rank in ranks)
    scale = np.sqrt((a * a).sum(axis=axis) * (b * b).sum(axis=axis))
    products = (a * b).sum(axis=axis)
    return np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)


def correlation(x: np.ndarray, y: np.ndarray) -> Correlation:
    """Spearman's correlation of points `(points,)`, at least 2, and its 95 % interval.

    The interval is that of the percentile bootstrap: the points are drawn with replacement 9,999 times, and 2.5 % of
    the correlations lie below it and above it. The draws are the same each time.
    """
    ends = bootstrap(
        (x, y),
        spearman,
        paired=True,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Correlation(float(spearman(x, y)), float(ends.low), float(ends.high), len(x))
