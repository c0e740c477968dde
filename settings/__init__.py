"""Settings of anything: from text to typed, checked objects, and every mistake in one line; no Keras."""

from rankscope.settings.complaints import nearest
from rankscope.settings.described import Described, describe, explained_yaml
from rankscope.settings.reader import (
    check_settings,
    first_difference,
    parse_assignment,
    read_tree,
    split_list,
)
from rankscope.settings.section import (
    Count,
    Decay,
    Duration,
    Fraction,
    NonNegative,
    Positive,
    Section,
    Seeds,
    Whole,
)

__all__ = [
    "Count",
    "Decay",
    "Described",
    "Duration",
    "Fraction",
    "NonNegative",
    "Positive",
    "Section",
    "Seeds",
    "Whole",
    "check_settings",
    "describe",
    "explained_yaml",
    "first_difference",
    "nearest",
    "parse_assignment",
    "read_tree",
    "split_list",
]
