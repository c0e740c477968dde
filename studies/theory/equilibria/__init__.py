"""Section 3.4 and appendix B: training of a two-layer linear network, all of its equilibria, and which are stable."""

from collections.abc import Callable
from dataclasses import replace

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from rankscope.studies.study import StudyWriter
from rankscope.studies.theory.equilibria.appendix_b import assumption_claims, equation_claims, find_equilibria
from rankscope.studies.theory.equilibria.stability import stability
from rankscope.studies.theory.equilibria.training import end_claims, flow_claims, single_matrix_claim, train
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import Claim


def run(settings: TheorySettings, writer: StudyWriter) -> tuple[list[Claim], Callable[[Axes], None]]:
    """Train, solve for equilibria and linearise; returns claims and what draws the panel."""
    s = np.sort(settings.data.singular_values)[::-1]
    distinct = s[np.r_[True, np.diff(s) < -1e-6 * s[0]]]
    runs, points = train(settings, s), find_equilibria(settings, distinct, settings.seeds)
    points += [run.point for run in runs if len(distinct) == len(s) and not run.critical]
    on_stability, linearised = stability(distinct, settings.optimizer.l2)
    writer.table("equilibria", [_row(point) for point in linearised])
    for_any = [*flow_claims(settings, s), *end_claims(runs), single_matrix_claim(settings, s)]
    for_distinct = [*equation_claims(points), *on_stability, *assumption_claims(settings, distinct)]
    if len(distinct) < len(s):
        remark = f"{len(s) - len(distinct)} singular values that repeat are left out: appendix B wants them distinct."
        for_distinct = [replace(claim, remark=f"{claim.remark} {remark}".strip()) for claim in for_distinct]
    none = "Training would take too long: some modes are too slow beside others."
    claims = [
        claim if claim.cases else replace(claim, remark=claim.remark or none) for claim in (*for_any, *for_distinct)
    ]
    return claims, lambda axis: _draw(axis, linearised, settings.model.key_dim)


def _row(point):
    return {
        "l2": point.l2,
        "kept": " ".join(f"{point.s[i]:g}" for i in point.kept),
        "free_unit": bool(point.free),
        "objective": point.objective,
        "growth": point.fastest,
        "stable": point.stable,
    }


def _draw(axis, points, key_dim):
    """Every equilibrium of a network with key_dim hidden units: its loss, and how fast one leaves it."""
    points = [point for point in points if point.exists_with(key_dim)]
    penalties = sorted({point.l2 for point in points})
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(penalties)))
    for colour, l2 in zip(colours, penalties, strict=True):
        own = [point for point in points if point.l2 == l2]
        lowest = min(point.objective for point in own)
        for free, marker in ((0, "s"), (1, "o")):
            some = [point for point in own if point.free == free]
            label = f"λ = {l2:g}" if free == own[0].free else None
            excess, growth = [point.objective - lowest for point in some], [point.fastest for point in some]
            axis.plot(excess, growth, marker, color=colour, markerfacecolor="none", label=label)
    axis.axhline(0, color="black", linewidth=1)
    axis.set(
        xlabel="loss above the minimum",
        ylabel="fastest growth rate of a perturbation",
        title=f"Section 3.4: all equilibria, $d_2$ = {key_dim}",
    )
    for marker, label in (("o", "a hidden unit is free"), ("s", "none is")):
        axis.plot([], [], marker, color="0.4", markerfacecolor="none", label=label)
    axis.legend()
