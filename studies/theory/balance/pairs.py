"""Random pairs A, B of many shapes, scales and ranks, and what float64 makes of their norms."""

import numpy as np

from rankscope import factors
from rankscope.studies.verdict import Case

EPS = np.finfo(np.float64).eps
PER_KIND = 40  # pairs of one kind, shape and seed
Pair = tuple[np.ndarray, np.ndarray]  # A and B of many pairs, (N, rows, key_dim) each


def random_pairs(rng: np.random.Generator, shape: tuple[int, int, int], stddev: float) -> Pair:
    """Pairs of every kind that a bound could fail on, `(N, rows, key_dim)` each."""
    rows_a, rows_b, key_dim = shape

    def gaussian(rows):
        return stddev * rng.standard_normal((PER_KIND, rows, key_dim))

    def spread(low, high):
        return 10 ** rng.uniform(low, high, (PER_KIND, 1, 1))

    few = max(1, min(shape) // 2)
    first = np.arange(key_dim) < (key_dim + 1) // 2
    near, noise, scale = balanced_pairs(rng, shape, stddev, min(shape)), spread(-8, 0), spread(-40, 40)
    kinds = [
        (gaussian(rows_a), gaussian(rows_b)),
        (gaussian(rows_a), gaussian(rows_b) * spread(-3, 3)),
        tuple(scale * gaussian(rows) for rows in shape[:2]),
        tuple(gaussian(rows) @ np.diag(np.arange(key_dim) < few) @ gaussian(key_dim) for rows in shape[:2]),
        (gaussian(rows_a) * first, gaussian(rows_b) * ~first),  # ABᵀ = 0
        (near[0] + noise * gaussian(rows_a), near[1] + noise * gaussian(rows_b)),
        (gaussian(rows_a) * (np.arange(key_dim) == 0), 0 * gaussian(rows_b)),  # rank one against nothing
    ]
    return tuple(np.concatenate(side) for side in zip(*kinds, strict=True))


def balanced_pairs(rng: np.random.Generator, shape: tuple[int, int, int], stddev: float, rank: int) -> Pair:
    """AᵀA = BᵀB = RᵀR: the same R turned into A and B by two isometries; no SVD is involved."""
    rows_a, rows_b, key_dim = shape
    root = stddev * rng.standard_normal((PER_KIND, rank, key_dim))
    return tuple(np.linalg.qr(rng.standard_normal((PER_KIND, rows, rank)))[0] @ root for rows in (rows_a, rows_b))


def name_of(shape: tuple[int, int, int], seed: int) -> str:
    """Of the case of a shape, such as `6×3 6×3 seed=0`."""
    rows_a, rows_b, key_dim = shape
    return f"{rows_a}×{key_dim} {rows_b}×{key_dim} seed={seed}"


def rounding_of(a: np.ndarray, b: np.ndarray) -> float:
    """What float64 makes of ‖A‖², ‖B‖², ‖ABᵀ‖_* and ‖Q‖_*, in units of ½(‖A‖² + ‖B‖²)."""
    return 4 * (a.shape[-2] + b.shape[-2] + a.shape[-1]) * EPS


def worst_pair(name: str, predicted: np.ndarray, measured: np.ndarray, tolerance: float) -> Case:
    """The case of the pair where the two differ most."""
    worst = np.argmax(np.abs(predicted - measured))
    return Case(name, predicted[worst], measured[worst], tolerance)


def transposed(matrix: np.ndarray) -> np.ndarray:
    """Each matrix transposed."""
    return np.swapaxes(matrix, -1, -2)


def of_unit_size(a: np.ndarray, b: np.ndarray) -> Pair:
    """The pair with ½(‖A‖² + ‖B‖²) = 1: every bound here has the units of the gap."""
    scale = np.sqrt(factors.frobenius_bound(a, b))[:, None, None]
    return a / scale, b / scale


def nuclear(matrix: np.ndarray) -> np.ndarray:
    """‖·‖_* of any matrices."""
    return factors.nuclear_norm(np.linalg.svd(matrix, compute_uv=False))
