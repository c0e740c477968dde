"""Checkpoints in memory for the tests of what is measured and printed."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from rankscope.factors import FactorPair


def checkpoint(layers=2, heads=4, kv_heads=4, hidden_dim=48, key_dim=8, value_dim=8, scale=1.0, seed=0, rank=None):
    """Gaussian factors as a checkpoint's reader would give them; `rank` cuts them down."""
    rng = np.random.default_rng(seed)

    def factor(count, key_dim):
        values = scale * rng.standard_normal((count, hidden_dim, key_dim))
        if rank is not None:
            values[:, :, rank:] = 0.0
        return values

    pairs = []
    for layer in range(layers):
        path = f"layers.{layer}.attention"
        pairs.append(FactorPair("qk", layer, path, factor(kv_heads, key_dim), factor(heads, key_dim)))
        pairs.append(FactorPair("vo", layer, path, factor(heads, value_dim), factor(kv_heads, value_dim)))
    return SimpleNamespace(
        name=f"toy-{seed}",
        path=Path(f"/somewhere/toy-{seed}"),
        family=SimpleNamespace(name="toy"),
        notes=("a note",),
        num_pairs=2 * layers,
        sites=[SimpleNamespace(layer=layer, tower="layers.*.attention") for layer in range(layers)],
        pairs=lambda: iter(pairs),
    )
