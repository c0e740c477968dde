"""Step times of keras.optimizers.AdamW, our AdamW, AdamL2: `KERAS_BACKEND=jax python benchmarks/optimizer.py`.

Two models of one transformer-like anatomy, 0.2 and 10 million parameters, trained by `fit` as users train. The
optimizers take turns, so that a machine that slows down slows all; a ratio is the median over the turns.
About 2 minutes a backend on 2 cores. The goal is a ratio of at most 1.05 of our AdamW to Keras'.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np

from rankscope.optimizers import AdamL2, AdamW

VOCABULARY, LENGTH, BATCH = 512, 32, 4
SIZES = {"0.2M": {"width": 64, "blocks": 3}, "10M": {"width": 320, "blocks": 8}}


def make_model(width, blocks, optimizer):
    """Embedding, blocks of attention and MLP, logits."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((LENGTH,), dtype="int32")
    x = keras.layers.Embedding(VOCABULARY, width)(tokens)
    for _ in range(blocks):
        y = keras.layers.LayerNormalization()(x)
        x = x + keras.layers.MultiHeadAttention(num_heads=4, key_dim=width // 4)(y, y, use_causal_mask=True)
        y = keras.layers.LayerNormalization()(x)
        x = x + keras.layers.Dense(width)(keras.layers.Dense(4 * width, activation="relu")(y))
    model = keras.Model(tokens, keras.layers.Dense(VOCABULARY)(x))
    model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def make_optimizers():
    """Stock and ours with the same settings; ours with two more groups, as they are used."""
    settings = {"learning_rate": 1e-3, "weight_decay": 0.1, "beta_2": 0.95, "global_clipnorm": 1.0}
    groups = {"query|key": 0.5, "value|attention_output": 0.2}
    return {
        "stock": keras.optimizers.AdamW(epsilon=1e-8, **settings),
        "ours": AdamW(**settings, decay_groups=groups),
        "AdamL2": AdamL2(**settings, decay_groups=groups),
    }


def milliseconds(model, x, y):
    """Time of one step, over one epoch."""
    start = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    return (time.perf_counter() - start) * 1000 * BATCH / len(x)


def ratio(times, one, other):
    """Median over the turns of how many times as long `one` took as `other`."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def main():
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns of each optimizer")
    parser.add_argument("--seconds", type=float, default=0.8, help="aimed length of a turn")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    for size, shape in SIZES.items():
        models = {name: make_model(**shape, optimizer=optimizer) for name, optimizer in make_optimizers().items()}
        x = rng.integers(0, VOCABULARY, size=(BATCH * 4, LENGTH))
        for model in models.values():  # compiles, then measures how many steps fill a turn
            milliseconds(model, x, x)
            step = milliseconds(model, x, x)
        x = rng.integers(0, VOCABULARY, size=(BATCH * max(4, int(args.seconds * 1000 / step)), LENGTH))
        times = {name: [] for name in models}
        for turn in range(args.rounds):
            for name in sorted(models, reverse=turn % 2 == 0):
                times[name].append(milliseconds(models[name], x, x))
        stock, ours, l2 = (statistics.median(times[name]) for name in ("stock", "ours", "AdamL2"))
        print(
            f"{keras.backend.backend():10} {size:>4} ({models['ours'].count_params():>10,} parameters): "
            f"stock {stock:7.2f} ms, ours {ours:7.2f} ms a step, ratio {ratio(times, 'ours', 'stock'):.3f}; "
            f"AdamL2 {l2:7.2f} ms, ratio to ours {ratio(times, 'AdamL2', 'ours'):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
