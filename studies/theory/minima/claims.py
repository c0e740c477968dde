"""What Lemma 3.2, Theorem 3.3 and the abstract say of stationary points, held against those that were found."""

from dataclasses import replace

import numpy as np

from rankscope.factors import balance_discrepancy, nuclear_gap_lower_bound
from rankscope.studies.theory.minima.stationary import EPS, Rest
from rankscope.studies.verdict import CORRECTED, Case, Claim


def lemma(rests: list[Rest], ladder: list[Rest]) -> list[Claim]:
    """Lemma 3.2 at minima and at saddles, and what follows from it."""
    judged = [rest for rest in (*rests, *ladder) if rest.at_rest]
    zero = replace(rests[0], a=0 * rests[0].a, b=0 * rests[0].b)
    # A minimum with too few columns is a saddle once there is one more, of zeros.
    spare = [{name: np.pad(getattr(rest, name), ((0, 0), (0, 1))) for name in "ab"} for rest in judged]
    saddles = [zero] + [replace(r, **wider) for r, wider in zip(judged, spare, strict=True) if r.pull > 1.001]
    points = [(str(rest), rest) for rest in judged] + [(f"saddle {rest}", rest) for rest in saddles]
    squared = [rest for rest in judged if rest.loss == "squared" and rest.rank]
    return [
        Claim(
            "lemma-3.2",
            "section 3.2, Lemma 3.2",
            "At any stationary point of L_L2, AᵀA = BᵀB",
            [Case(name, 0, balance_discrepancy(rest.a, rest.b), rest.imbalance_bound()) for name, rest in points],
            remark=f"{len(saddles)} of the points are saddles. {_left_out([*rests, *ladder])}",
        ),
        Claim(
            "lemma-3.2.equal-losses",
            "section 3.2, after Lemma 3.2",
            "At a stationary point L_L2(A, B) and L_*(A Bᵀ) coincide",
            [_equal_losses(name, rest) for name, rest in points],
        ),
        Claim(
            "abstract.penalty",
            "abstract",
            "λ(‖A‖² + ‖B‖²) on the factors is λ‖A Bᵀ‖_* on W: from the σ₁ of ½m‖W − Y‖² it takes λ/m",
            [_threshold(rest) for rest in squared],
            correction="it is 2λ‖A Bᵀ‖_*; eq. 2 has the ½",
            expected=CORRECTED,
        ),
    ]


def _equal_losses(name, rest):
    """The gap is at most ½‖Q‖_* ≤ ½√k‖Q‖_F."""
    objective = rest.problem.objective(rest.a, rest.b)
    gap = 0.5 * np.sqrt(rest.a.shape[1]) * rest.imbalance_bound()
    error = rest.problem.l2 * gap + 100 * EPS * objective
    return Case(name, rest.problem.nuclear_objective(rest.product), objective, error)


def _threshold(rest):
    """Runs on (λ'/2)(‖A‖² + ‖B‖²) are runs on the abstract's penalty with λ = λ'/2."""
    half, weight = rest.problem.l2 / 2, float(np.max(rest.problem.weights))
    before, after = (np.linalg.norm(w, 2) for w in (rest.problem.target, rest.product))
    # This mode's curvatures are 2λ' and 2(mσ₁ − λ'); its σ moves by twice a column's length times the column's error.
    error = 4 * rest.gradient * rest.size / min(half, weight * before - 2 * half) + 100 * EPS * before
    return Case(f"l2={half:g} of {rest}", half / weight, before - after, error, corrected=2 * half / weight)


def theorem(rests: list[Rest], ladder: list[Rest], references: dict[tuple[str, float], Rest]) -> list[Claim]:
    """Theorem 3.3 in both directions, with enough columns and with too few; references are minima of L_*."""
    judged = [(rest, references[rest.loss, rest.problem.l2]) for rest in ladder if rest.at_rest]
    # Idle columns, or a G that pulls up no further one: by the theorem, no constraint is active.
    free = [(rest, best) for rest, best in judged if rest.rank < rest.a.shape[1] or rest.pull < 1 + 1e-6]
    bound = [pair for pair in judged if pair not in free]
    ranks = [
        Case(str(rest), min(rest.a.shape), rest.rank, 0, corrected=best.rank)
        for rest, best in free
        if best.rank < min(rest.a.shape) and best.margin > 1e-2  # else idle columns are slow to vanish
    ]
    local = [rest for rest, _ in bound] + [rest for rest in rests if rest.loss == "Cauchy" and rest.at_rest][:1]
    source, remark = "section 3.2, Theorem 3.3", _left_out(ladder)
    return [
        Claim(
            "theorem-3.3.same-minimum",
            source,
            "A local minimum of a convex L_L2, with columns to spare, is the minimum of L_* (→)",
            [case for pair in free for case in _same(*pair)],
            remark=remark,
        ),
        Claim(
            "theorem-3.3.reverse",
            source,
            "A minimum of L_*, factorised in balance, is a local minimum of L_L2 (←): no curvature is negative",
            [_least_curvature(best) for (loss, _), best in references.items() if loss in ("completion", "log-cosh")],
            relation="≥",
        ),
        Claim(
            "theorem-3.3.balance",
            source,
            "Only in balance: L_L2 of other factors of the same W is higher by λ‖Q‖²/2(‖A‖ + ‖B‖)² or more",
            [_unbalanced(rest) for rest, _ in judged],
            relation="≥",
        ),
        Claim(
            "theorem-3.3.bottleneck",
            source,
            "A local minimum of L_L2 with too few columns is one of L_* among matrices of that rank, not of all",
            [_least_curvature(rest) for rest in local]
            + [Case(f"{rest} perturbed", 0, *rest.perturbed()) for rest in local]
            + [_above(*pair) for pair in bound],
            relation="≥",
            remark=remark,
        ),
        Claim(
            "theorem-3.3.rank",
            source,
            "W is a minimum among matrices of rank r, the largest that A Bᵀ can have",
            ranks,
            correction="of rank ≤ r: λ leaves fewer singular values than there are columns",
            expected=CORRECTED,
            remark="" if ranks else "λ takes no singular value away here",
        ),
    ]


def _same(rest, best):
    """The values of L_*, and for matrix completion W itself."""
    g, size = -rest.problem.slope(rest.product), np.linalg.norm(best.product)
    values = [rest.problem.nuclear_objective(of.product) for of in (best, rest)]
    # By convexity L_*(W') ≥ L_*(W) − (λ‖W‖_* − ⟨G, W⟩) − (σ₁(G) − λ)‖W'‖_* for every W'; the last by rounding.
    slack = rest.problem.l2 * np.linalg.norm(rest.product, "nuc") - np.sum(g * rest.product)
    slack += max(0.0, min(rest.pull - 1, 1e-6)) * rest.problem.l2 * np.linalg.norm(best.product, "nuc")
    yield Case(f"L_* of {rest}", values[0], values[1], abs(slack) + 1000 * EPS * values[0])
    if rest.loss == "completion":
        # With no margin, or in a flat direction, W may be one minimum of many.
        stiffness = min(rest.margin * rest.problem.l2, rest.curvatures().min())
        if stiffness > 1e-6 * rest.problem.l2:
            # From either end one Newton step leads to the minimum.
            error = 4 * rest.size * (rest.gradient + best.gradient) / stiffness / size + 1e-12
            yield Case(f"W of {rest}", 0, np.linalg.norm(rest.product - best.product) / size, error)


def _least_curvature(rest):
    return Case(f"curvature at {rest}", 0, rest.curvatures().min(), rest.curvature_error())


def _above(rest, best):
    """G's first singular vectors u, v: a step to W + t u vᵀ lowers L_* by (σ₁(G) − λ)²/2L at least."""
    gain = (rest.problem.l2 * (rest.pull - 1)) ** 2 / (2 * rest.problem.steepest)
    values = [rest.problem.nuclear_objective(of.product) for of in (best, rest)]
    return Case(f"L_* of {rest} above the minimum", gain, values[1] - values[0], 1000 * EPS * values[0])


def _unbalanced(rest):
    """(A R, B R⁻ᵀ) with a random R."""
    mix = np.random.default_rng(rest.a.shape[1]).normal(size=(rest.a.shape[1],) * 2)
    u, _, v = np.linalg.svd(mix)
    stretch = u * np.geomspace(0.5, 1.5, len(u)) @ v
    a, b = rest.a @ stretch, rest.b @ np.linalg.inv(stretch).T
    least = rest.problem.l2 * nuclear_gap_lower_bound(a, b)
    here = rest.problem.nuclear_objective(rest.product)
    return Case(str(rest), least, rest.problem.objective(a, b) - here, 1000 * EPS * here)


def _left_out(runs):
    count = sum(not rest.at_rest for rest in runs)
    return f"{count} of {len(runs)} runs are left out: a singular value of G near λ keeps them from rest." * (count > 0)
