"""Eqs. 3 to 9 and Prop. 3.1 on pairs: the nuclear norm of A Bᵀ beside the norms of A and B."""

from collections.abc import Mapping, Sequence

import numpy as np

from rankscope import factors
from rankscope.factors.balance import squared_norm
from rankscope.studies.theory.balance.pairs import (
    EPS,
    PER_KIND,
    Pair,
    of_unit_size,
    rounding_of,
    transposed,
    worst_pair,
)
from rankscope.studies.theory.problems import ENTRY_LOSSES
from rankscope.studies.verdict import Case, Claim


def nuclear_norms(trials: Mapping[str, Pair]) -> list[Claim]:
    """Eqs. 3 to 8, each in units of ½(‖A‖² + ‖B‖²)."""
    cases = {number: [] for number in (3, 4, 5, 6, 7, 8)}
    thin = 0.0
    for name, (a, b) in trials.items():
        rounding = rounding_of(a, b)
        a, b = of_unit_size(a, b)
        w = a @ transposed(b)
        u, sigma, v = np.linalg.svd(w)
        nuclear = sigma.sum(axis=-1)
        # An eigenvalue of WWᵀ is off by about rows · EPS, and its root by the root of that.
        roots = np.sqrt(np.maximum(np.linalg.eigvalsh(w @ transposed(w)), 0))
        cases[3].append(worst_pair(name, nuclear, roots.sum(axis=-1), len(u[0]) * np.sqrt(4 * len(u[0]) * EPS)))
        cases[4].append(worst_pair(name, nuclear, factors.nuclear_norm(factors.singular_values(a, b)), rounding))
        left, right, kept = transposed(u) @ a, v @ b, sigma.shape[-1]  # UᵀA, VᵀB
        trace = np.einsum("nik,nik->n", left[:, :kept], right[:, :kept])
        root, norms = (np.sqrt(squared_norm(x) * squared_norm(y)) for x, y in ((left, right), (a, b)))
        cases[5].append(worst_pair(name, nuclear, trace, rounding))
        cases[6].append(Case(name, 1.0, (trace / (root + rounding)).max(), 0.0))
        cases[7].append(worst_pair(name, norms, root, rounding))
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


def losses(penalties: Sequence[float], trials: Mapping[str, Pair]) -> Claim:
    """Eq. 9 for each λ and each loss of an entry."""
    cases = []
    for name, loss in ENTRY_LOSSES.items():
        for l2 in penalties:
            excess, allowed = [], []
            for pair in trials.values():
                a, b = (side[: 2 * PER_KIND] for side in pair)  # the Gaussian ones: at 1e80 W is all there is
                value = loss.value(np, a @ transposed(b), 1.0).sum(axis=(-2, -1))
                nuclear = value + l2 * factors.nuclear_norm(factors.singular_values(a, b))
                frobenius = value + l2 * factors.frobenius_bound(a, b)
                excess.append(((nuclear - frobenius) / frobenius).max())
                allowed.append(rounding_of(a, b))
            cases.append(Case(f"{name} l2={l2:g}", 0.0, max(excess), max(allowed)))
    statement = "L_*(ABᵀ) ≤ L_L2(A, B) for any loss L: largest difference, in units of L_L2"
    return Claim("eq-9", "eq. 9", statement, cases, "≤")


def proposition_3_1(balanced: Mapping[str, Pair]) -> list[Claim]:
    """Prop. 3.1; the √ of singular values turns rounding into its root."""
    rebuilt, tight = [], []
    for name, (a, b) in balanced.items():
        size, rounding = factors.frobenius_bound(a, b), rounding_of(a, b)
        u, sigma, v = np.linalg.svd(a @ transposed(b), full_matrices=False)
        kept = min(a.shape[-2], b.shape[-2], a.shape[-1])  # W has no more rank than that
        padding = [(0, 0), (0, 0), (0, a.shape[-1] - kept)]
        root = np.sqrt(sigma[:, None, :kept])
        left, right = np.pad(u[..., :kept] * root, padding), np.pad(transposed(v)[..., :kept] * root, padding)
        # The rotation that takes both at once from U√S and V√S to A and B (orthogonal Procrustes problem).
        x, _, z = np.linalg.svd(transposed(a) @ left + transposed(b) @ right)
        o = x @ z
        error = squared_norm(a - left @ transposed(o)) + squared_norm(b - right @ transposed(o))
        rebuilt.append(Case(name, 0.0, np.sqrt(error / size).max(), np.sqrt(a.shape[-1] * rounding)))
        tight.append(worst_pair(name, np.ones_like(size), factors.nuclear_norm(sigma) / size, rounding))
    remark = "holds without the bottleneck of section 3.2, too: for more columns than rows"
    statement = "if Q = 0, A = U(√S 0)ᵀOᵀ and B = V(√S 0)ᵀOᵀ with an orthogonal O"
    return [
        Claim("prop-3.1.reconstruction", "Prop. 3.1", statement, rebuilt, remark=remark),
        Claim("prop-3.1.bound", "Prop. 3.1", "if Q = 0, ‖ABᵀ‖_* / ½(‖A‖² + ‖B‖²) = 1", tight, remark=remark),
    ]
