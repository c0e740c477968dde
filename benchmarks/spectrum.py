"""Spectrum of A Bᵀ from its factors against the dense SVD of the product: time, ratio, difference.

Run from the root, about a minute (the dense SVD at 4096 is nearly all of it):

    python benchmarks/spectrum.py
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: threads that wait for a busy core spoil every ratio

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rankscope.factors import FactorPair, measure, singular_values


def seconds(function, repeats):
    """Best of `repeats` calls after one that warms up (a single call is taken as it comes), and the last result."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def main():
    """Print one line per shape."""
    rng = np.random.default_rng(0)
    print("one head, one factor deficient    factors        dense      ratio  difference / σ₁")
    for (hidden_dim, key_dim), dense_repeats in (((768, 64), 3), ((4096, 128), 1)):
        full = rng.standard_normal((2, hidden_dim, key_dim))
        half = full @ rng.standard_normal((key_dim, key_dim // 2)) @ rng.standard_normal((key_dim // 2, key_dim))
        from_factors, sigma = seconds(lambda a=full[0], b=half[1]: singular_values(a, b), 5)
        dense, expected = seconds(lambda a=full[0], b=half[1]: np.linalg.svd(a @ b.T, compute_uv=False), dense_repeats)
        difference = np.abs(sigma - expected[:key_dim]).max() / expected[0]
        name = f"{hidden_dim} × {key_dim}"
        print(
            f"{name:<30} {1e3 * from_factors:8.2f} ms {1e3 * dense:9.1f} ms {dense / from_factors:8.0f} ×"
            f" {difference:14.1e}"
        )

    print("\nmeasure, all quantities of a pair with the null, float32")
    for shape in ((4, 64, 16), (12, 768, 64), (32, 4096, 128)):
        pair = FactorPair("qk", 0, "attention", *rng.standard_normal((2, *shape)).astype("float32"))
        elapsed, _ = seconds(lambda pair=pair: measure(pair), 100 if shape[0] == 4 else 3)
        print(f"{shape!s:<30} {1e3 * elapsed:8.2f} ms {1e3 * elapsed / shape[0]:9.2f} ms a head")


if __name__ == "__main__":
    main()
