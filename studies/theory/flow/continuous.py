"""Lemma A.1 and Theorem 3.4 along gradient flows."""

import numpy as np

from rankscope.factors import frobenius_bound, nuclear_gap
from rankscope.studies.theory.flow.path import Path
from rankscope.studies.verdict import CORRECTED, Case, Claim


def lemma(flows: list[Path]) -> list[Claim]:
    """Lemma A.1: of each flow the largest entry of Q at the end, and the entry that is ever furthest from the law."""
    cases = []
    for flow in flows:
        q, law = flow.imbalance, flow.law
        if flow.error > 1e-3 * np.abs(q[0]).max():
            continue
        printed = q[0] * np.exp(-2 * flow.problem.l2 / flow.tau)
        last = (len(q) - 1, *np.unravel_index(np.abs(q[0]).argmax(), q[0].shape))
        worst = np.unravel_index(np.abs(q - law).argmax(), q.shape)
        for entry in (last, worst):
            name = f"{flow.name} t={flow.times[entry[0]]:.3g} entry {entry[1]},{entry[2]}"
            cases.append(Case(name, printed[entry[1:]], q[entry], flow.error, corrected=law[entry]))
    return [
        Claim(
            "lemma-a.1",
            "appendix A.4.1, Lemma A.1",
            "Under gradient flow on any loss AᵀA − BᵀB = Q e^{−2λ/τ}, in every entry",
            cases,
            correction="e^{−2λt/τ}: t is missing",
            expected=CORRECTED,
            remark=_unjudged(len(flows) - len(cases) // 2, "Q began below what the integrator errs"),
        )
    ]


def theorem(flows: list[Path]) -> list[Claim]:
    """Theorem 3.4: the gap's exponential rate, and norms that stay bounded."""
    published, sharp, bounded, slopes = [], [], [], []
    for flow in flows:
        a, b, l2 = flow.a, flow.b, flow.problem.l2
        bound = frobenius_bound(a, b)
        objective = flow.problem.objective(a[0], b[0])
        # λF ≤ L_L2, which never grows, and no loss here is negative.
        bounded.append(Case(flow.name, objective / l2, bound.max(), 1e-9 * bound.max()))
        norm = np.abs(np.linalg.eigvalsh(flow.imbalance[0])).sum()  # ‖Q₀‖_*
        gap = nuclear_gap(a, b)
        # Late enough for a rate, and 10⁴ times what rounding makes of a gap.
        judged = np.flatnonzero((gap > 1e-11 * bound.max()) & (np.arange(len(gap)) >= len(gap) // 4))
        if not len(judged):
            continue
        lengths = sum(np.linalg.norm(f, "nuc", axis=(1, 2)) for f in (a, b)).max()
        units = flow.tau / (l2 * flow.times[judged])
        error = units.max() * 1e-4
        for cases, prefactor, predicted in ((published, np.sqrt(norm) * lengths / 2, 1), (sharp, norm / 2, 2)):
            rates = np.log(prefactor / gap[judged]) * units
            cases.append(Case(flow.name, predicted, rates.min(), error))
        late = judged[len(judged) // 2 :]
        if len(late) > 2:
            slopes.append(-np.polyfit(flow.times[late], np.log(gap[late]), 1)[0] * flow.tau / l2)
    fitted = f"Fitted late rates are {min(slopes):.3g} to {max(slopes):.3g} λ/τ. " if slopes else ""
    remark = fitted + _unjudged(len(flows) - len(sharp), "the gap was at rounding too early")
    source = "section 3.3, Theorem 3.4"
    return [
        Claim(
            "theorem-3.4",
            source,
            "|L_L2 − L_*| → 0 exponentially under gradient flow: by Lemma A.1 and Prop. A.4 at the rate λ/τ or faster",
            published,
            relation="≥",
            remark=f"Rates in units of λ/τ. {remark}",
        ),
        Claim(
            "theorem-3.4.sharp",
            f"{source}; ours",
            "At twice that rate, 2λ/τ, or faster: gap ≤ ½‖Q‖_*",
            sharp,
            relation="≥",
            remark=f"Rates in units of λ/τ. {remark}",
        ),
        Claim(
            "theorem-3.4.bounded",
            f"{source}; its assumption",
            "‖A‖ and ‖B‖ remain bounded: ½(‖A‖² + ‖B‖²) ≤ L_L2(0)/λ, since L_L2 never grows, if L ≥ 0 and λ > 0",
            bounded,
            relation="≤",
        ),
    ]


def _unjudged(count, why):
    return f"{count} flows are left out: {why}." if count else ""
