"""How many cores there are for this process, whatever it does on all of them."""

import os

SHARE = "RANKSCOPE_CORES"  # in the environment of a sweep's worker: the others have the rest


def cores() -> int:
    """Cores that this process may use: its share where it is one of several workers, else all that the system lets it.

    Example:

    >>> cores() >= 1
    True
    """
    if os.environ.get(SHARE, "").isdigit():
        return max(1, int(os.environ[SHARE]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # none on macOS
