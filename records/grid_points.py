"""A point of a grid: what its settings are called, and how a number is averaged over its seeds."""

import math
import statistics
from collections.abc import Sequence

#: Settings that have a flag of `fit`, and its name in the names of runs.
SHORT_NAMES = {
    "optimizer.weight_decay": "wd",
    "optimizer.attention_weight_decay": "wd_attn",
    "optimizer.attention_weight_decay.qk": "wd_qk",
    "optimizer.attention_weight_decay.vo": "wd_vo",
    "optimizer.learning_rate": "lr",
    "training.steps": "steps",
    "training.batch_size": "batch_size",
    "training.mixed_precision": "mixed_precision",
    "training.time_budget": "time_budget",
    "data.source": "data",
    "data.skip_bad_images": "skip_bad_images",
}


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Mean of a sample, and half the width of its 95 % confidence interval by Student's t; NaN for what is unknown.

    Example:

    >>> mean_and_half_width([1.0, 2.0, 3.0])  # 4.3027 · 1/√3
    (2.0, 2.484...)
    >>> mean_and_half_width([1.0])
    (1.0, nan)
    """
    if len(values) < 2:
        return (values[0] if values else math.nan), math.nan
    from scipy.special import stdtrit  # slow to import

    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), float(stdtrit(len(values) - 1, 0.975)) * error
