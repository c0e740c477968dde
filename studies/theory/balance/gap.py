"""Prop. A.4, the steps of its proof and what is sharper: random pairs, and a search that climbs towards a violation."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from scipy.optimize import minimize

from rankscope import factors
from rankscope.factors.balance import squared_norm
from rankscope.studies.theory.balance.pairs import (
    PER_KIND,
    Pair,
    name_of,
    nuclear,
    of_unit_size,
    rounding_of,
    transposed,
    worst_pair,
)
from rankscope.studies.verdict import Case, Claim

CLIMBS = [(1, 1, 1), (3, 3, 2), (2, 3, 3)]  # rows of A, of B, key_dim
#: Function of pairs that gives what a bound says is the smaller, and what it says is the larger.
Sides = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def climb(ratio: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> tuple[np.ndarray, float]:
    """Climb from a start to a local maximum of a ratio, by L-BFGS with differences.

    Args:
        ratio: of points `(N, n)`, gives `(N,)`; smooth almost everywhere.
        start: `(n,)`.

    Returns:
        The point reached, and its ratio.

    Example:

    >>> point, top = climb(lambda points: 1 - np.square(points - 2.0).sum(axis=-1), np.zeros(1))
    >>> point.round(6).tolist(), round(top, 12)
    ([2.0], 1.0)
    """
    nudges = 1e-7 * np.eye(1 + len(start), len(start), -1)  # the first point stays where it is

    def downhill(point):
        here, *nudged = ratio(point + nudges)
        return -here, (here - nudged) / 1e-7

    options = {"maxiter": 200, "maxfun": 200, "ftol": 1e-10, "gtol": 1e-9}
    found = minimize(downhill, start, jac=True, method="L-BFGS-B", options=options)
    return found.x, -float(found.fun)


def gap_bounds(trials: Mapping[str, Pair], seeds: Sequence[int]) -> list[Claim]:
    """Prop. A.4, the steps of its proof, and what is sharper: random pairs, then climbs towards a violation."""
    claims = []
    for bound, (source, statement, sides) in BOUNDS.items():
        tried = {name: ratio_of(sides, *pair) for name, pair in trials.items()}
        places = product(CLIMBS, seeds)
        climbed = {f"climbed, {name_of(shape, seed)}": climbed_ratio(sides, shape, seed) for shape, seed in places}
        cases = [Case(name, 1.0, ratio.max(), 0.0) for name, ratio in {**tried, **climbed}.items()]
        gaussian = max(ratio[:PER_KIND].max() for ratio in tried.values())
        nearest = max(ratio.max() for ratio in climbed.values())
        remark = f"Gaussian pairs reach {gaussian:.4f}, climbing {nearest:.6f}"
        claims.append(Claim(bound, source, f"{statement}: largest ratio", cases, "≤", remark=remark))
    identity = []
    for name, pair in trials.items():
        a, b = of_unit_size(*pair)
        norm = factors.nuclear_norm(factors.singular_values(a, b))
        identity.append(worst_pair(name, norm, nuclear(_root(a) @ _root(b)), rounding_of(a, b)))
    statement = "‖ABᵀ‖_* = ‖S_B² + ΔS_B‖_* = ‖√(AᵀA) √(BᵀB)‖_*"
    return [*claims, Claim("prop-a.4.identity", "Prop. A.4, eqs. 32 to 34", statement, identity)]


def ratio_of(sides: Sides, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smaller side over larger side; what rounding may add to the smaller one is granted to the larger one."""
    small, large = sides(*of_unit_size(a, b))
    return small / (large + rounding_of(a, b))


def climbed_ratio(sides: Sides, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """The ratio of both sides where a climb from a Gaussian pair of some shape ends, (1,)."""
    rows_a, rows_b, key_dim = shape

    def ratio(points):
        a, b = np.split(points, [rows_a * key_dim], axis=-1)
        return ratio_of(sides, a.reshape(-1, rows_a, key_dim), b.reshape(-1, rows_b, key_dim))

    rng = np.random.default_rng([seed, *shape])
    return ratio(climb(ratio, rng.standard_normal((rows_a + rows_b) * key_dim))[0][None])


def _root(factor):
    """√(AᵀA) by the SVD of A: roots of the Gram's eigenvalues would turn 1e-16 into 1e-8."""
    _, sigma, v = np.linalg.svd(factor, full_matrices=False)
    return transposed(v) * sigma[:, None] @ v


def _first_form(a, b):
    norm = factors.nuclear_norm(factors.singular_values(a, b))
    return np.abs(norm - squared_norm(a)), np.sqrt(2 * factors.nuclear_gap_bound_sharp(a, b)) * nuclear(a)


def _gap_under(bound):
    return lambda a, b: (factors.nuclear_gap(a, b), bound(a, b))


OURS = "ours, beside Prop. A.4"
BOUNDS = {  # name → source, statement, function that gives the two sides
    "prop-a.4.first-of-a": ("Prop. A.4", "|‖ABᵀ‖_* − ‖A‖²| ≤ √‖Q‖_* ‖A‖_*", _first_form),
    "prop-a.4.first-of-b": ("Prop. A.4", "|‖ABᵀ‖_* − ‖B‖²| ≤ √‖Q‖_* ‖B‖_*", lambda a, b: _first_form(b, a)),
    "prop-a.4.second": ("Prop. A.4", "gap ≤ √‖Q‖_* ½(‖A‖_* + ‖B‖_*)", _gap_under(factors.nuclear_gap_bound)),
    "prop-a.4.frobenius": (OURS, "gap ≤ √‖Q‖_* ½(‖A‖ + ‖B‖)", _gap_under(factors.nuclear_gap_bound_frobenius)),
    "prop-a.4.sharper": (OURS, "gap ≤ ½‖Q‖_*", _gap_under(factors.nuclear_gap_bound_sharp)),
    "prop-a.4.order": (
        OURS,
        "½‖Q‖_* ≤ √‖Q‖_* ½(‖A‖ + ‖B‖), so that it is never above Prop. A.4",
        lambda a, b: (factors.nuclear_gap_bound_sharp(a, b), factors.nuclear_gap_bound_frobenius(a, b)),
    ),
    "prop-a.4.converse": (
        OURS,
        "gap ≥ ‖Q‖² / 2(‖A‖₂ + ‖B‖₂)², spectral norms, so that it vanishes only where Q does",
        lambda a, b: (factors.nuclear_gap_lower_bound(a, b), factors.nuclear_gap(a, b)),
    ),
    "prop-a.4.powers-stormer": (
        "Prop. A.4, after eq. 31",
        "‖√(AᵀA) − √(BᵀB)‖² ≤ ‖Q‖_*",
        lambda a, b: (squared_norm(_root(a) - _root(b)), 2 * factors.nuclear_gap_bound_sharp(a, b)),
    ),
}
