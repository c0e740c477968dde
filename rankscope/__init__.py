"""Rankscope: what weight decay and other regularisers do to the rank of attention.

What a user needs stands here and is imported when it is first asked for, so that `import rankscope` takes no time and
no backend. ARCHITECTURE.md shows what lies behind it.

Example:
    >>> import numpy as np
    >>> import rankscope
    >>> pair = rankscope.FactorPair("qk", 0, "attention", a=np.eye(8, 4)[np.newaxis], b=np.eye(8, 4)[np.newaxis])
    >>> rankscope.measure(pair)
    Measurements of factor pairs: 1 layer, 1 product of heads; mean pseudo rank (null): W_KᵀW_Q 1.000 (0.9...)
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

#: Name → the package that has it.
_HOMES = {
    "RankMonitor": "callbacks",
    "AdamW": "optimizers",
    "AdamL2": "optimizers",
    "SGD": "optimizers",
    "tag": "zoo",
    "factor_pairs": "zoo",
    "FactorPair": "factors",
    "measure": "analysis",
    "analyze": "analysis",
    "compare": "analysis",
    "load_run": "analysis",
}

if TYPE_CHECKING:  # the same for editors and type checkers, which do not run __getattr__
    from rankscope.analysis import analyze, compare, load_run, measure
    from rankscope.callbacks import RankMonitor
    from rankscope.factors import FactorPair
    from rankscope.optimizers import SGD, AdamL2, AdamW
    from rankscope.zoo import factor_pairs, tag
else:

    def __getattr__(name: str) -> object:
        """Import what is asked for (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'rankscope' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"rankscope.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


__all__ = [
    "SGD",
    "AdamL2",
    "AdamW",
    "FactorPair",
    "RankMonitor",
    "__version__",
    "analyze",
    "compare",
    "factor_pairs",
    "load_run",
    "measure",
    "tag",
]
