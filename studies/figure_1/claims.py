"""What the paper says of figure 1, held against what was measured."""

import numpy as np

from rankscope import factors
from rankscope.studies.figure_1.descent import Descent
from rankscope.studies.figure_1.settings import Figure1Settings
from rankscope.studies.verdict import CORRECTED, Case, Claim

FLOOR = 1e-13  # of the gap in float64, with a margin: below it there is only rounding


def gap(descent: Descent, curves: dict) -> Claim:
    """Theorem 3.4 as figure 1 shows it."""
    cases = []
    for replica, name in enumerate(descent.names()):
        rate, law = _rate(descent.steps, curves["nuclear_gap"][:, replica]), _law(descent, replica)
        if law > 0 and rate is not None:
            cases.append(Case(name, law, rate, 0.02 * law))
    return Claim(
        "figure-1.gap",
        "figure 1 left, theorem 3.4",
        "with λ > 0 the nuclear gap vanishes exponentially: its late rate is at least 2ηλ a step, the imbalance's",
        cases,
        relation="≥",
        remark="the gap is quadratic in the imbalance of the modes that are kept: it falls up to twice as fast",
    )


def gap_without_decay(descent: Descent, curves: dict) -> Claim:
    """The exception that figure 1's caption names, and why: the flow conserves the imbalance."""
    gap, imbalance = curves["nuclear_gap"], curves["balance_discrepancy"]
    floor = factors.nuclear_gap_lower_bound(descent.a[-1], descent.b[-1])
    cases = []
    for replica, name in enumerate(descent.names()):
        if descent.l2[replica] == 0:
            cases.append(Case(f"{name}, imbalance", 0.5 * imbalance[0, replica], imbalance[-1, replica], 0.0))
            cases.append(Case(f"{name}, gap", floor[replica], gap[-1, replica], FLOOR))
    return Claim(
        "figure-1.gap-without-decay",
        "figure 1 left",
        "with λ = 0 the gap does not vanish: most of the imbalance Q stays and keeps it above ‖Q‖²/2(‖A‖₂ + ‖B‖₂)²",
        cases,
        relation="≥",
    )


def imbalance(descent: Descent, curves: dict) -> Claim:
    """Lemma A.1 as figure 1 shows it."""
    cases = []
    for replica, name in enumerate(descent.names()):
        rate, law = _rate(descent.steps, curves["balance_discrepancy"][:, replica]), _law(descent, replica)
        if 0 < law < 1 and rate is not None:
            # A step multiplies a mode's part of Q by (1 − ηλ)² − η²g², 0 ≤ g ≤ λ: between the flow's rate and this.
            cases.append(Case(name, law, rate, -np.log1p(-law) - law + 0.02 * law))
    return Claim(
        "figure-1.imbalance",
        "figure 1 center left, lemma A.1",
        "‖AᵀA − BᵀB‖ vanishes exponentially at the rate 2ηλ a step (late, of a mode that is kept, 1 − 2ηλ)",
        cases,
        remark="the caption's time constant is 1/(2ηλ): inversely proportional to λ",
    )


def one_step(descent: Descent) -> Claim:
    """What a step of gradient descent does to the imbalance, to the last digit; needs a reading at every step."""
    eta, l2 = descent.learning_rate, descent.l2[:, None, None]
    G, A, B = descent.residual(), descent.a, descent.b
    Q = factors.imbalance(A, B)  # (T, R, K, K)
    drift = factors.imbalance(G @ B, G.swapaxes(-1, -2) @ A)  # BᵀGᵀGB − AᵀGGᵀA
    error = np.abs(Q[1:] - ((1 - eta * l2) ** 2 * Q + eta**2 * drift)[:-1]).max(axis=(0, 2, 3))  # (R,)
    size = np.abs(A).max() ** 2 * max(A.shape[-2:])
    return Claim(
        "figure-1.one-step",
        "lemma A.1, in discrete time",
        "a step takes Q to (1 − ηλ)²Q + η²(BᵀGᵀGB − AᵀGGᵀA), G = −∂L/∂W, exactly: the flow's law up to O(η²)",
        [Case(name, 0.0, value, 1e-14 * max(1.0, size)) for name, value in zip(descent.names(), error, strict=True)],
    )


def rest_points(rows: list[dict]) -> Claim:
    """Eq. 18 at the last step, of the modes that are at rest by then."""
    finished = _finished(rows)
    unfinished = len(rows) - len(finished)
    return Claim(
        "figure-1.shrinkage",
        "section 3.4, eq. 18; figure 1 center right",
        "singular values end at max(s − λ, 0)",
        [Case(_name(row), row["shrinkage"], row["singular_value"], _settled(row)) for row in finished],
        remark=f"{unfinished} of {len(rows)} need more time, 20/(2η min(|s − λ|, λ)) or more: see figure-1.relaxation",
    )


def relaxation(rows: list[dict]) -> Claim:
    """How a mode comes to rest, the critical one too."""
    return Claim(
        "figure-1.relaxation",
        "section 3.4, eqs. 12 and 13; figure 1 right",
        "from half time on, singular values follow σ' = 2σ(s − λ − σ): exponentially, but as 1/(2ηt) where λ = s",
        [
            Case(_name(row), row["from_half_time"], row["singular_value"], 0.02 * row["from_half_time"] + 1e-6)
            for row in rows
            if row["from_half_time"] != ""
        ],
    )


def caption(rows: list[dict]) -> Claim:
    """What the caption's loss, without the ½, does to its own words; `rows` of a descent on that loss."""
    cases = []
    for row in _finished(rows):
        printed = max(row["target"] - row["l2"], 0.0)
        if abs(printed - row["shrinkage"]) > 2 * _settled(row):  # elsewhere both say the same
            cases.append(Case(_name(row), printed, row["singular_value"], _settled(row), corrected=row["shrinkage"]))
    return Claim(
        "figure-1.caption",
        "figure 1, caption",
        "with the loss ‖ABᵀ − D‖² + (λ/2)(‖A‖² + ‖B‖²), as the caption prints it, singular values end at max(s − λ, 0)",
        cases,
        correction="without the ½ of eq. 11 the threshold is λ/2",
        expected=CORRECTED,
    )


def single_matrix(settings: Figure1Settings, target: np.ndarray, single: np.ndarray, full: int) -> Claim:
    """Eq. 19."""
    size = max(1.0, np.abs(target).max())
    return Claim(
        "figure-1.single-matrix",
        "section 3.4, eq. 19",
        "a single matrix in place of ABᵀ ends at S/(1 + λ): largest difference of an entry",
        [
            Case(f"l2={l2:g}", 0.0, np.abs(matrix - target / (1 + l2 / full)).max(), 1e-12 * size)
            for l2, matrix in _at_rest(settings, single, full)
        ],
    )


def single_matrix_rank(settings: Figure1Settings, target: np.ndarray, single: np.ndarray, full: int) -> Claim:
    """Eq. 19's point: shrinking without dropping."""
    rank = np.linalg.matrix_rank(target)
    return Claim(
        "figure-1.single-matrix-rank",
        "section 3.4, eq. 19",
        "the rank of a single matrix does not depend on λ",
        [
            Case(f"l2={l2:g}", rank, np.linalg.matrix_rank(matrix), 0.0)
            for l2, matrix in _at_rest(settings, single, full)
        ],
    )


def _at_rest(settings, single, full):
    for l2, matrix in zip(settings.optimizer.l2, single, strict=True):
        if settings.optimizer.learning_rate * (full + l2) * settings.training.steps >= 40:
            yield l2, matrix


def _law(descent, replica):
    """2ηλ."""
    return 2 * descent.learning_rate * descent.l2[replica]


def _rate(steps, curve):
    """Decay rate a step of the late part of a curve, above rounding; None where too little of it was read."""
    readable = np.flatnonzero((curve > FLOOR) & (curve < 0.01 * curve[0]))
    late = readable[len(readable) // 2 :]
    return -np.polyfit(steps[late], np.log(curve[late]), 1)[0] if len(late) >= 5 else None


def _name(row):
    return f"l2={row['l2']:g} seed={row['seed']} s={row['target']:g}"


def _finished(rows):
    """Modes that had twenty relaxation times, so that e⁻²⁰ of the way is left, and values that cannot be but zero."""
    return [row for row in rows if row["relaxation_times"] >= 20 or row["target"] == row["singular_value"] == 0]


def _settled(row):
    """Rounding and a little, and what the exact flow from half time on leaves of the way: modes may start from 1e-5."""
    left = 0.0 if row["from_half_time"] == "" else abs(row["from_half_time"] - row["shrinkage"])
    return 1e-6 * max(1.0, row["target"]) + 1.1 * left
