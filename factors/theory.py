"""What the paper predicts of a pair, to stand beside what is measured."""

import numpy as np

from factors.balance import imbalance
from factors.spectrum import nuclear_norm, reduce_rows


def nuclear_gap_bound(a, b):
    """Right side of Prop. A.4 of the paper: √‖Q‖_* · (‖A‖_* + ‖B‖_*)/2 with Q = AᵀA − BᵀB.

    It bounds the nuclear gap, loosely. The sharper gap ≤ ½‖Q‖_* always holds too: ‖A Bᵀ‖_* ≥ tr(G_A^½ G_B^½), and the
    latter is at least ½ tr(G_A + G_B − |Q|) for any two Grams (Audenaert et al. 2007). Rounding of Q enters through a
    square root, so for balanced factors expect 1e-8 of the Frobenius bound and not 1e-16.

    Args:
        a: (..., rows_a, key_dim), real and finite.
        b: (..., rows_b, key_dim).

    Returns:
        float64 array of shape (...), ≥ 0, in squared units of the factors.

    Example:
        Q = 25 − 9 = 16: √16 · (5 + 3)/2 = 16, where the gap is ½(25 + 9) − 15 = 2.

        >>> float(nuclear_gap_bound([[5.0]], [[3.0]]))
        16.0
    """
    imbalance_norm = np.abs(np.linalg.eigvalsh(imbalance(a, b))).sum(axis=-1)  # Q is symmetric: σ = |eigenvalue|
    return np.sqrt(imbalance_norm) * 0.5 * (_nuclear_norm_of(a) + _nuclear_norm_of(b))


def _nuclear_norm_of(factor):
    return nuclear_norm(np.linalg.svd(reduce_rows(factor), compute_uv=False))
