"""The models, and layers that tag the factors of their products; `registry` knows the models by name.

What stands here is imported when it is first asked for: `rankscope.zoo.registry` can be read without Keras.
"""

from typing import TYPE_CHECKING

#: Name → the module that has it.
_HOMES = {
    "GPT": "gpt",
    "HalfSquaredError": "linear",
    "HalfSquaredNorm": "linear",
    "LinearNetwork": "linear",
    "NextTokenLoss": "next_token_loss",
    "RecallTransformer": "recall",
    "VisionTransformer": "vit",
    "factor_pairs": "layers",
    "tag": "layers",
}

if TYPE_CHECKING:  # the same for editors and type checkers, which do not run __getattr__
    from rankscope.zoo.gpt import GPT
    from rankscope.zoo.layers import factor_pairs, tag
    from rankscope.zoo.linear import HalfSquaredError, HalfSquaredNorm, LinearNetwork
    from rankscope.zoo.next_token_loss import NextTokenLoss
    from rankscope.zoo.recall import RecallTransformer
    from rankscope.zoo.vit import VisionTransformer
else:

    def __getattr__(name: str) -> object:
        """Import what is asked for (PEP 562)."""
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(f"{__name__}.{_HOMES[name]}"), name))


__all__ = [
    "GPT",
    "HalfSquaredError",
    "HalfSquaredNorm",
    "LinearNetwork",
    "NextTokenLoss",
    "RecallTransformer",
    "VisionTransformer",
    "factor_pairs",
    "tag",
]
