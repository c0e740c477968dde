"""What holds of any pair A, B without training: eqs. 3 to 9, Prop. 3.1 and Prop. A.4, and our sharper bound of the gap.

Random pairs of many shapes, scales and ranks, and a search that climbs towards a violation. Q is AᵀA − BᵀB, the gap
½(‖A‖² + ‖B‖²) − ‖ABᵀ‖_*.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from scipy.optimize import minimize

from rankscope import factors
from rankscope.factors.balance import squared_norm
from rankscope.studies.study import StudyWriter
from rankscope.studies.theory.problems import ENTRY_LOSSES
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import Case, Claim

EPS = np.finfo(np.float64).eps
SHAPES = [(1, 1, 1), (6, 6, 3), (9, 4, 3), (2, 7, 4), (3, 5, 6), (2, 2, 5), (12, 12, 1)]  # rows of A, of B, key_dim
CLIMBS = [(1, 1, 1), (3, 3, 2), (2, 3, 3)]
PER_KIND = 40  # pairs of one kind, shape and seed


def run(settings: TheorySettings, writer: StudyWriter) -> tuple[list[Claim], Callable[[Axes], None]]:
    """Try section 3.1, Prop. 3.1 and Prop. A.4; write `balance_bounds`.

    Returns:
        The claims, and a function that draws the gap against its bounds.
    """
    model = settings.model
    own = (model.hidden_dim, model.hidden_dim, model.key_dim)
    trials, balanced = {}, {}
    for shape, seed in product(dict.fromkeys([own, *SHAPES]), settings.seeds):
        rng, name = np.random.default_rng([seed, *shape]), _name(shape, seed)
        trials[name] = _pairs(rng, shape, model.stddev)
        for rank in {min(shape), max(1, min(shape) // 2)}:
            balanced[f"{name} rank={rank}"] = _balanced(rng, shape, model.stddev, rank)
    rows = _rows(trials[_name(own, settings.seeds[0])])
    writer.table("balance_bounds", rows)
    claims = [*_nuclear_norms(trials), _losses(settings.optimizer.l2, trials), *_balance(balanced)]
    return [*claims, *_gap_bounds(trials, settings.seeds)], lambda axis: _draw(axis, rows)


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


def nuclear(matrix: np.ndarray) -> np.ndarray:
    """‖·‖_* of any matrices."""
    return factors.nuclear_norm(np.linalg.svd(matrix, compute_uv=False))


# === Pairs ===


def _pairs(rng, shape, stddev):
    """Pairs of every kind that a bound could fail on, `(N, rows, key_dim)` each."""
    rows_a, rows_b, key_dim = shape

    def gaussian(rows):
        return stddev * rng.standard_normal((PER_KIND, rows, key_dim))

    def spread(low, high):
        return 10 ** rng.uniform(low, high, (PER_KIND, 1, 1))

    few = max(1, min(shape) // 2)
    first = np.arange(key_dim) < (key_dim + 1) // 2
    near, noise, scale = _balanced(rng, shape, stddev, min(shape)), spread(-8, 0), spread(-40, 40)
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


def _balanced(rng, shape, stddev, rank):
    """AᵀA = BᵀB = RᵀR: the same R turned into A and B by two isometries; no SVD is involved."""
    rows_a, rows_b, key_dim = shape
    root = stddev * rng.standard_normal((PER_KIND, rank, key_dim))
    return tuple(np.linalg.qr(rng.standard_normal((PER_KIND, rows, rank)))[0] @ root for rows in (rows_a, rows_b))


def _name(shape, seed):
    rows_a, rows_b, key_dim = shape
    return f"{rows_a}×{key_dim} {rows_b}×{key_dim} seed={seed}"


def _rounding(a, b):
    """What float64 makes of ‖A‖², ‖B‖², ‖ABᵀ‖_* and ‖Q‖_*, in units of ½(‖A‖² + ‖B‖²)."""
    return 4 * (a.shape[-2] + b.shape[-2] + a.shape[-1]) * EPS


def _equal(name, predicted, measured, tolerance):
    """The case of the pair where the two differ most."""
    worst = np.argmax(np.abs(predicted - measured))
    return Case(name, predicted[worst], measured[worst], tolerance)


def _transposed(matrix):
    return np.swapaxes(matrix, -1, -2)


# === Claims ===


def _nuclear_norms(trials):
    """Eqs. 3 to 8, each in units of ½(‖A‖² + ‖B‖²)."""
    cases = {number: [] for number in (3, 4, 5, 6, 7, 8)}
    thin = 0.0
    for name, (a, b) in trials.items():
        rounding = _rounding(a, b)
        a, b = _of_unit_size(a, b)
        w = a @ _transposed(b)
        u, sigma, v = np.linalg.svd(w)
        nuclear = sigma.sum(axis=-1)
        # An eigenvalue of WWᵀ is off by about rows · EPS, and its root by the root of that.
        roots = np.sqrt(np.maximum(np.linalg.eigvalsh(w @ _transposed(w)), 0))
        cases[3].append(_equal(name, nuclear, roots.sum(axis=-1), len(u[0]) * np.sqrt(4 * len(u[0]) * EPS)))
        cases[4].append(_equal(name, nuclear, factors.nuclear_norm(factors.singular_values(a, b)), rounding))
        left, right, kept = _transposed(u) @ a, v @ b, sigma.shape[-1]  # UᵀA, VᵀB
        trace = np.einsum("nik,nik->n", left[:, :kept], right[:, :kept])
        root, norms = (np.sqrt(squared_norm(x) * squared_norm(y)) for x, y in ((left, right), (a, b)))
        cases[5].append(_equal(name, nuclear, trace, rounding))
        cases[6].append(Case(name, 1.0, (trace / (root + rounding)).max(), 0.0))
        cases[7].append(_equal(name, norms, root, rounding))
        cases[8].append(Case(name, 1.0, norms.max(), rounding))
        thin = max(thin, (norms - np.sqrt(squared_norm(left[:, :kept]) * squared_norm(right[:, :kept]))).max())
    remark = f"U and V have to be square: with those of the thin SVD the root is smaller, here by up to {thin:.2g}"
    return [
        Claim("eq-3", "eq. 3", "‖W‖_* = tr √(WWᵀ)", cases[3]),
        Claim("eq-4", "eq. 4", "‖W‖_* = Σσ, also by QR of A and of B without forming W", cases[4]),
        Claim("eq-5", "eq. 5", "‖W‖_* = tr(UᵀABᵀV)", cases[5]),
        Claim("eq-6", "eq. 6", "tr(UᵀABᵀV) ≤ √(tr(UᵀAAᵀU) tr(BᵀVVᵀB)): largest ratio", cases[6], "≤"),
        Claim("eq-7", "eq. 7", "the root of eq. 6 is ‖A‖‖B‖", cases[7], remark=remark),
        Claim("eq-8", "eq. 8", "‖A‖‖B‖ ≤ ½(‖A‖² + ‖B‖²): largest ratio", cases[8], "≤"),
    ]


def _losses(penalties, trials):
    cases = []
    for name, loss in ENTRY_LOSSES.items():
        for l2 in penalties:
            excess, allowed = [], []
            for pair in trials.values():
                a, b = (side[: 2 * PER_KIND] for side in pair)  # the Gaussian ones: at 1e80 W is all there is
                value = loss.value(np, a @ _transposed(b), 1.0).sum(axis=(-2, -1))
                nuclear = value + l2 * factors.nuclear_norm(factors.singular_values(a, b))
                frobenius = value + l2 * factors.frobenius_bound(a, b)
                excess.append(((nuclear - frobenius) / frobenius).max())
                allowed.append(_rounding(a, b))
            cases.append(Case(f"{name} l2={l2:g}", 0.0, max(excess), max(allowed)))
    statement = "L_*(ABᵀ) ≤ L_L2(A, B) for any loss L: largest difference, in units of L_L2"
    return Claim("eq-9", "eq. 9", statement, cases, "≤")


def _balance(balanced):
    """Prop. 3.1; the √ of singular values turns rounding into its root."""
    rebuilt, tight = [], []
    for name, (a, b) in balanced.items():
        size, rounding = factors.frobenius_bound(a, b), _rounding(a, b)
        u, sigma, v = np.linalg.svd(a @ _transposed(b), full_matrices=False)
        kept = min(a.shape[-2], b.shape[-2], a.shape[-1])  # W has no more rank than that
        padding = [(0, 0), (0, 0), (0, a.shape[-1] - kept)]
        root = np.sqrt(sigma[:, None, :kept])
        left, right = np.pad(u[..., :kept] * root, padding), np.pad(_transposed(v)[..., :kept] * root, padding)
        # The rotation that takes both at once from U√S and V√S to A and B (orthogonal Procrustes problem).
        x, _, z = np.linalg.svd(_transposed(a) @ left + _transposed(b) @ right)
        o = x @ z
        error = squared_norm(a - left @ _transposed(o)) + squared_norm(b - right @ _transposed(o))
        rebuilt.append(Case(name, 0.0, np.sqrt(error / size).max(), np.sqrt(a.shape[-1] * rounding)))
        tight.append(_equal(name, np.ones_like(size), factors.nuclear_norm(sigma) / size, rounding))
    remark = "holds without the bottleneck of section 3.2, too: for more columns than rows"
    statement = "if Q = 0, A = U(√S 0)ᵀOᵀ and B = V(√S 0)ᵀOᵀ with an orthogonal O"
    return [
        Claim("prop-3.1.reconstruction", "Prop. 3.1", statement, rebuilt, remark=remark),
        Claim("prop-3.1.bound", "Prop. 3.1", "if Q = 0, ‖ABᵀ‖_* / ½(‖A‖² + ‖B‖²) = 1", tight, remark=remark),
    ]


def _gap_bounds(trials, seeds):
    """Prop. A.4, the steps of its proof, and what is sharper: random pairs, then climbs towards a violation."""
    claims = []
    for bound, (source, statement, sides) in BOUNDS.items():
        tried = {name: _ratio(sides, *pair) for name, pair in trials.items()}
        places = product(CLIMBS, seeds)
        climbed = {f"climbed, {_name(shape, seed)}": _climbed(sides, shape, seed) for shape, seed in places}
        cases = [Case(name, 1.0, ratio.max(), 0.0) for name, ratio in {**tried, **climbed}.items()]
        gaussian = max(ratio[:PER_KIND].max() for ratio in tried.values())
        nearest = max(ratio.max() for ratio in climbed.values())
        remark = f"Gaussian pairs reach {gaussian:.4f}, climbing {nearest:.6f}"
        claims.append(Claim(bound, source, f"{statement}: largest ratio", cases, "≤", remark=remark))
    identity = []
    for name, pair in trials.items():
        a, b = _of_unit_size(*pair)
        norm = factors.nuclear_norm(factors.singular_values(a, b))
        identity.append(_equal(name, norm, nuclear(_root(a) @ _root(b)), _rounding(a, b)))
    statement = "‖ABᵀ‖_* = ‖S_B² + ΔS_B‖_* = ‖√(AᵀA) √(BᵀB)‖_*"
    return [*claims, Claim("prop-a.4.identity", "Prop. A.4, eqs. 32 to 34", statement, identity)]


def _ratio(sides, a, b):
    """Smaller side over larger side; what rounding may add to the smaller one is granted to the larger one."""
    small, large = sides(*_of_unit_size(a, b))
    return small / (large + _rounding(a, b))


def _climbed(sides, shape, seed):
    rows_a, rows_b, key_dim = shape

    def ratio(points):
        a, b = np.split(points, [rows_a * key_dim], axis=-1)
        return _ratio(sides, a.reshape(-1, rows_a, key_dim), b.reshape(-1, rows_b, key_dim))

    rng = np.random.default_rng([seed, *shape])
    return ratio(climb(ratio, rng.standard_normal((rows_a + rows_b) * key_dim))[0][None])


def _of_unit_size(a, b):
    """The pair with ½(‖A‖² + ‖B‖²) = 1: every bound here has the units of the gap."""
    scale = np.sqrt(factors.frobenius_bound(a, b))[:, None, None]
    return a / scale, b / scale


def _root(factor):
    """√(AᵀA) by the SVD of A: roots of the Gram's eigenvalues would turn 1e-16 into 1e-8."""
    _, sigma, v = np.linalg.svd(factor, full_matrices=False)
    return _transposed(v) * sigma[:, None] @ v


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


# === Panel ===


def _rows(pairs):
    a, b = _of_unit_size(*pairs)
    columns = {
        "gap": factors.nuclear_gap(a, b),
        "lower": factors.nuclear_gap_lower_bound(a, b),
        "half_imbalance": factors.nuclear_gap_bound_sharp(a, b),
        "prop_a4": factors.nuclear_gap_bound(a, b),
    }
    return [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def _draw(axis, rows):
    shown = [row for row in rows if row["gap"] > 1e-13]  # the others are balanced to the last digits
    gaps, line = [row["gap"] for row in shown], [1e-14, 1]
    for name, label, style in (
        ("prop_a4", r"$\leq$ Prop. A.4", {"marker": "o", "color": "#E69F00"}),
        ("half_imbalance", r"$\leq \frac{1}{2}\|Q\|_*$ (ours)", {"marker": "x", "color": "#0072B2"}),
        ("lower", r"$\geq \|Q\|^2/\,2(\|A\|_2+\|B\|_2)^2$ (ours)", {"marker": "+", "color": "#CC79A7"}),
    ):
        axis.plot(gaps, [row[name] for row in shown], linestyle="", markersize=3.5, label=label, **style)
    axis.plot(line, line, "k-", linewidth=1, label="bound = gap")
    axis.set(xscale="log", yscale="log", xlabel=r"nuclear gap, in units of $\frac{1}{2}(\|A\|^2+\|B\|^2)$")
    axis.set(title="Prop. A.4 and sharper: random pairs", ylabel="bound")
    axis.legend(fontsize="small", frameon=False, loc="lower right")
