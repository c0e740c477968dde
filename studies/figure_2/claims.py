"""What section 3.5 and figure 2 say, held against where the trainings ended."""

import numpy as np

from rankscope.factors import adamw_rest_gradient
from rankscope.studies.figure_2.descent import DEFAULT_EPSILON
from rankscope.studies.figure_2.ends import Ends, imbalance
from rankscope.studies.figure_2.rest import (
    OPTIMIZERS,
    PARAMETRISATIONS,
    first_order_error,
    largest_share,
    sparse_share,
    stability_limit,
    weights_at,
)
from rankscope.studies.verdict import CORRECTED, FAILS, HOLDS, Case, Claim

LINEAR = 0.25  # λ|W| up to which first order is put to the test: there the next order is at most ⅓ of it


def _cases(ends: Ends, optimizers, parametrisation, measure):
    """Of the main cell, by `measure(*ends)`: predicted, measured, tolerance; none where one of them is not at rest."""
    chosen = [ends.main(optimizer, parametrisation) for optimizer in optimizers]
    judged = np.flatnonzero(np.all([end.judged for end in chosen], axis=0))
    numbers = np.transpose(measure(*chosen))  # (S, 3)
    return [Case(f"{chosen[0].name} start={start}", *numbers[start]) for start in judged]


def rest_points(ends: Ends, parametrisation: str) -> Claim:
    """AdamW's stationary points."""
    kind = "AdamW", parametrisation
    at_rest = ends.of[kind] if ends.main(*kind).judged.any() else []
    return Claim(
        f"figure-2.rest-{parametrisation}",
        "section 3.5",
        f"AdamW on {_words(parametrisation)} ends where λW = −g/(|g| + ε): distance from that point",
        [
            Case(f"{end.name} start={start}", 0.0, end.distance(end.rest)[start], end.tolerance[start])
            for end in at_rest
            for start in np.flatnonzero(end.judged)
        ],
        remark=ends.remark(kind) or "tolerance: what is left of the way at the slowest rate of the step's Jacobian",
    )


def equivalence(ends: Ends, parametrisation: str) -> Claim:
    """The conjecture of figure 2."""
    kinds = [(optimizer, parametrisation) for optimizer in OPTIMIZERS]
    share, remark = largest_share(ends.surface, ends.cells[0], parametrisation), ends.remark(*kinds)
    bound = _equivalence_bound(ends.surface, ends.cells[0], parametrisation)

    def measure(adamw, adam_l2):
        distance = adamw.distance(adam_l2.w)
        return np.zeros_like(distance), distance, bound + adamw.tolerance + adam_l2.tolerance

    adamw, adam_l2 = (ends.main(*kind).rest for kind in kinds)
    within = np.linalg.norm(adamw - adam_l2) <= bound * (1 + 1e-9) + 1e-12 * ends.surface.distance
    return Claim(
        f"figure-2.equivalence-{parametrisation}",
        "section 3.5; figure 2",
        f"AdamW and Adam with λ_L2 = ελ on {_words(parametrisation)} end at the same point, for λ|W| ≪ 1",
        _cases(ends, OPTIMIZERS, parametrisation, measure),
        expected=HOLDS if within else FAILS,
        remark=remark
        or f"λ|W| = {share:.3f} at rest allows {bound:.2g}"
        + ("" if within else f", but AdamW's products are sparse below {sparse_share(ends.surface):.3g} only"),
    )


def _equivalence_bound(surface, cell, parametrisation):
    """How far apart λ|W| ≤ s can bring both rest points: AdamW's is that of a penalty between ελ and ελ/(1 − s).

    Directly that turns w along S by at most s/2(1 − s) of d and moves it off S by λ_L2 s/(1 − s) of d. Products stay on
    their axis (as long as s is below `sparse_share`) and move along it by λ_L2/n² s/(1 − s).
    """
    s, l2 = largest_share(surface, cell, parametrisation), cell.l2
    if parametrisation == "direct":
        return surface.distance * (0.5 + l2) * s / (1 - s)
    return l2 / np.abs(surface.n).max() ** 2 * s / (1 - s)


def strength(ends: Ends) -> Claim:
    """Section 3.5's ελ/2 against figure 2's ελ."""
    n, d = ends.surface.n, ends.surface.distance
    cases = []
    for parametrisation in PARAMETRISATIONS:
        end = ends.main("AdamW", parametrisation)
        decay, epsilon, rest = end.cell.weight_decay, end.cell.epsilon, weights_at(end.rest, parametrisation)
        if not rest.any():
            continue
        exact = -(adamw_rest_gradient(rest, decay, epsilon) * rest).sum() / (rest**2).sum() / end.cell.l2
        # The penalty whose gradient balances the loss's along W, as a share of ελ: −g·W = λ_L2 W·W.
        residual, factors = d - end.w @ n, len(rest)
        measured = factors * residual * (end.w @ n) / (end.weights**2).sum(axis=(1, 2)) / end.cell.l2
        off = end.tolerance / abs(d - end.rest @ n) + 4 * end.tolerance / np.linalg.norm(end.rest)
        off += end.imbalance_tolerance / (rest**2).sum()
        for start in np.flatnonzero(end.judged):
            allowed = exact * off[start]
            cases.append(Case(f"{end.name} start={start}", exact / 2, measured[start], allowed, corrected=exact))
    return Claim(
        "figure-2.strength",
        "section 3.5",
        "AdamW rests where Adam does with an L2 penalty of strength ελ/2 (1 + λ|W| + …), here as a multiple of ελ",
        cases,
        correction="ελ, as figure 2 has it: ελ/2 belongs to a penalty λ‖W‖², and eq. 2 has (λ/2)‖W‖²",
        expected=CORRECTED,
        remark=ends.remark(*(("AdamW", parametrisation) for parametrisation in PARAMETRISATIONS)),
    )


def bounded(ends: Ends) -> Claim:
    """What section 3.5 calls clear."""
    at_rest = [end for kind in PARAMETRISATIONS for end in ends.of["AdamW", kind] if end.judged.all()]
    return Claim(
        "figure-2.bounded",
        "section 3.5",
        "where AdamW rests, λ|W| < 1",
        [Case(end.name, 1.0, end.cell.weight_decay * np.abs(end.weights).max(), 0.0) for end in at_rest],
        relation="≤",
        remark="" if at_rest else ends.remark(*(("AdamW", kind) for kind in PARAMETRISATIONS)),
    )


def first_order(ends: Ends) -> Claim:
    """Where the equivalence begins to end."""
    cases = []
    for parametrisation in PARAMETRISATIONS:
        for adamw, adam_l2 in zip(*(ends.of[optimizer, parametrisation] for optimizer in OPTIMIZERS), strict=True):
            share = largest_share(ends.surface, adamw.cell, parametrisation)
            kept = parametrisation == "direct" or share < sparse_share(ends.surface)
            if adamw.cell.epsilon != ends.cells[0].epsilon or not (adamw.judged & adam_l2.judged).all():
                continue
            if share <= LINEAR and kept:
                predicted = first_order_error(ends.surface, adamw.cell, parametrisation)
                # The rest of 1/(1 − s) = 1 + s + …, by the share of the larger weights, those of L2.
                largest = adam_l2.cell.weight_decay * np.abs(weights_at(adam_l2.rest, parametrisation)).max()
                tolerance = predicted * largest / (1 - largest) + (adamw.tolerance + adam_l2.tolerance).max()
                cases.append(Case(adamw.name, predicted, adamw.distance(adam_l2.w).max(), tolerance))
    return Claim(
        "figure-2.first-order",
        "section 3.5",
        "the end points of AdamW and of L2 differ in proportion to λ|W|: by λ_L2 λW|W| through the inverse Hessian",
        cases,
        remark=ends.remark(*((optimizer, kind) for optimizer in OPTIMIZERS for kind in PARAMETRISATIONS))
        or f"for λ|W| up to {LINEAR}; AdamW's products cease to be sparse at {sparse_share(ends.surface):.3g}",
    )


def minimiser(ends: Ends, parametrisation: str) -> Claim:
    """The red cross or the blue one."""
    point, norm = _cross(ends.surface, parametrisation)
    kinds = [(optimizer, parametrisation) for optimizer in OPTIMIZERS]

    def measure(end):
        predicted = np.linalg.norm(end.rest - point)
        return np.full(len(end.w), predicted), end.distance(point), end.tolerance

    cases = []
    for optimizer in OPTIMIZERS:
        for case in _cases(ends, [optimizer], parametrisation, measure):
            cases.append(Case(f"{optimizer} {case.name}", case.predicted, case.measured, case.tolerance))
    return Claim(
        f"figure-2.{norm.lower()}-minimiser",
        "figure 2",
        f"{_words(parametrisation)} end beside the {norm}-minimiser of S, as far from it as λ and ε put them",
        cases,
        remark=ends.remark(*kinds),
    )


def nearest(ends: Ends) -> Claim:
    """That the two parametrisations end at different crosses."""
    cases, nearer = [], True
    for optimizer in OPTIMIZERS:
        for parametrisation in PARAMETRISATIONS:
            own, other = _cross(ends.surface, parametrisation)[0], _cross(ends.surface, parametrisation, other=True)[0]

            def measure(end, own=own, other=other):
                share = end.distance(own) / (end.distance(own) + end.distance(other))
                return np.full(len(share), 0.5), share, np.zeros(len(share))

            for case in _cases(ends, [optimizer], parametrisation, measure):
                cases.append(Case(f"{optimizer} {case.name}", case.predicted, case.measured, case.tolerance))
            rest = ends.main(optimizer, parametrisation).rest
            nearer &= bool(np.linalg.norm(rest - own) < np.linalg.norm(rest - other))
    return Claim(
        "figure-2.nearest",
        "figure 2",
        "direct weights end nearer to the L2-minimiser, products to the L1-minimiser: share of the way between them",
        cases,
        relation="≤",
        expected=HOLDS if nearer else FAILS,
        remark=ends.remark(*((optimizer, kind) for optimizer in OPTIMIZERS for kind in PARAMETRISATIONS))
        or (
            ""
            if nearer
            else f"here ελ = {ends.cells[0].l2:.2g} or λ|W| is too large: the exact rest points say so, too"
        ),
    )


def balance(ends: Ends) -> Claim:
    """Lemma 3.2 for AdamW."""
    cases = []
    for optimizer in OPTIMIZERS:
        end = ends.main(optimizer, "products")
        for start in np.flatnonzero(end.judged):
            numbers = imbalance(end.weights)[start], end.imbalance_tolerance[start]
            cases.append(Case(f"{optimizer} {end.name} start={start}", 0.0, *numbers))
    return Claim(
        "figure-2.balance",
        "sections 3.2 and 3.5",
        "the imbalance a² − b² of products vanishes under AdamW as it does under Adam with L2",
        cases,
        remark=ends.remark(("AdamW", "products"), ("AdamL2", "products")),
    )


def stability(ends: Ends) -> Claim:
    """Section 3.5's proviso, "if the dynamic converges"."""
    cases = []
    for (optimizer, _), all_ends in ends.of.items():
        for end in all_ends:
            # Nearer to 1 than that, some thousand steps do not tell.
            telling = end.judged if end.stable else np.full(len(end.rests), end.growth > 1.01)
            for start in np.flatnonzero(telling):
                numbers = float(end.stable), float(end.rests[start]), 0.0
                cases.append(Case(f"{optimizer} {end.name} start={start}", *numbers))
    limits = ", ".join(f"{stability_limit(ends.surface, ends.cells[0], kind):.2g} {kind}" for kind in PARAMETRISATIONS)
    return Claim(
        "figure-2.stability",
        "section 3.5, its proviso",
        "Adam comes to rest (1) or circles for ever (0) as the step's Jacobian at the rest point says",
        cases,
        remark=f"about where ε is above η · curvature (1 − β₁)/(2(1 + β₁)): {limits}",
    )


def default_epsilon(ends: Ends) -> Claim:
    """The equivalence with the ε that everyone has."""
    cases, notes, stable = [], [], True
    for parametrisation in PARAMETRISATIONS:
        end = ends.of["AdamW", parametrisation][ends.usual]
        time = end.steps * end.cell.learning_rate * end.cell.weight_decay  # in which decay alone leaves e^−time
        if not end.stable and time < 5:
            continue
        allowed = end.tolerance if end.stable else np.full(len(end.mean), 1e-6 * ends.surface.distance)
        for start in np.flatnonzero(np.isfinite(allowed)):
            distance = np.linalg.norm((end.w if end.stable else end.mean)[start] - end.rest)
            cases.append(Case(f"{end.name} start={start}", 0.0, distance, allowed[start]))
        if not end.stable:
            stable = False
            away = np.linalg.norm(end.mean - ends.surface.max_minimiser, axis=-1).max()
            limit = stability_limit(ends.surface, end.cell, parametrisation)
            notes.append(
                f"{parametrisation} below ε = {limit:.2g}, here within {end.circling.max():.2g} of a mean that is "
                f"{away:.2g} from the point of S with the smallest max|w|"
            )
    return Claim(
        "figure-2.default-epsilon",
        "section 3.5",
        f"with the usual ε = {DEFAULT_EPSILON:g}, too, AdamW rests, and beside L2 for λ|W| ≪ 1: mean w from there",
        cases,
        expected=HOLDS if stable else FAILS,
        remark=f"w circles: {'; '.join(notes)}" if notes else "" if cases else "needs training.steps of 5/(ηλ) or more",
    )


def _cross(surface, parametrisation, other=False):
    """The minimiser of S that this parametrisation is to find, or the other one, and its norm."""
    if (parametrisation == "direct") != other:
        return surface.l2_minimiser, "L2"
    return surface.l1_minimiser, "L1"


def _words(parametrisation):
    return "direct weights" if parametrisation == "direct" else "products"
