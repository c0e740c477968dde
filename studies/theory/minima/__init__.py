"""Lemma 3.2 and Theorem 3.3: where L2 on the factors comes to rest, and that the nuclear norm rests there, too."""

from collections.abc import Callable
from dataclasses import replace

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from rankscope.studies.study import StudyWriter
from rankscope.studies.theory.minima import claims
from rankscope.studies.theory.minima.stationary import EPS, Rest, balanced_factors, thresholded_minimum
from rankscope.studies.theory.problems import CONVEX, LOSSES, descend, random_factors, random_problem
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import Claim

#: A momentum of 0.9 brings soft modes to rest ten times as fast, and stiff ones as 0.9^(steps/2): 5e-19 at the end.
STEPS, MOMENTUM = 800, 0.9


def run(settings: TheorySettings, writer: StudyWriter) -> tuple[list[Claim], Callable[[Axes], None]]:
    """Train to rest, and compare with singular value thresholding; returns claims and what draws the panel."""
    references = {(loss, l2): _reference(loss, settings, l2) for loss in CONVEX for l2 in settings.optimizer.l2}
    rests, ladder = _train(settings, references)
    rows = [_row(rest, references[rest.loss, rest.problem.l2]) for rest in ladder]
    writer.table("minima", rows)
    found = [*claims.lemma(rests, ladder), *claims.theorem(rests, ladder, references)]
    return found, lambda axis: _draw(axis, [row for row in rows if row["loss"] == "completion"])


def _reference(loss, settings, l2):
    """The minimum of L_*, factorised with one column to spare."""
    seed = settings.seeds[0]
    problem = random_problem(loss, settings.model.hidden_dim, l2, seed)
    w = thresholded_minimum(problem)
    whole = Rest(loss, seed, problem, *balanced_factors(w, len(w)))
    return replace(whole, **dict(zip("ab", balanced_factors(w, whole.rank + 1), strict=True)))


def _train(settings, references):
    """Runs with key_dim columns, of each loss, λ and seed; and runs with about as many columns as the minimum needs."""
    hidden_dim, key_dim, stddev = (getattr(settings.model, name) for name in ("hidden_dim", "key_dim", "stddev"))
    first = settings.seeds[0]
    plan = [(n, l2, seed, key_dim) for n in LOSSES for l2 in settings.optimizer.l2 for seed in settings.seeds]
    count = len(plan)
    for (loss, l2), best in references.items():
        rungs = np.linspace(1, best.rank + 1, 6).round().astype(int).tolist() if loss == "completion" else []
        plan += [(loss, l2, first, inner) for inner in sorted({*rungs, best.rank, best.rank + 1})]
    width = max(inner for *_, inner in plan)
    problems = [random_problem(loss, hidden_dim, l2, seed) for loss, l2, seed, _ in plan]
    starts = [
        tuple(f * (np.arange(width) < inner) for f in random_factors(seed, hidden_dim, width, stddev))
        for *_, seed, inner in plan
    ]
    rates = [1 / problem.stiffness(*start) for problem, start in zip(problems, starts, strict=True)]
    a, b = descend(problems, rates, starts, STEPS, STEPS, MOMENTUM)
    ends = [
        Rest(loss, seed, problem, a[-1, i, :, :inner], b[-1, i, :, :inner])
        for i, ((loss, _, seed, inner), problem) in enumerate(zip(plan, problems, strict=True))
    ]
    return ends[:count], ends[count:]


def _row(rest, best):
    """What the panel and the table show of a run of the ladder."""
    return {
        "loss": rest.loss,
        "l2": rest.problem.l2,
        "inner_dim": rest.a.shape[1],
        "rank": rest.rank,
        "rank_of_minimum": best.rank,
        "gradient": rest.gradient,
        "objective": rest.problem.objective(rest.a, rest.b),
        "minimum": best.problem.nuclear_objective(best.product),
        "distance": float(np.linalg.norm(rest.product - best.product)),
        "pull": rest.pull,
        "at_rest": rest.at_rest,
    }


def _draw(axis, rows):
    """How far above the minimum of L_* the runs of the ladder end, against their columns."""
    penalties = sorted({row["l2"] for row in rows})
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(penalties)))
    for colour, l2 in zip(colours, penalties, strict=True):
        own = [row for row in rows if row["l2"] == l2]
        excess = [max(row["objective"] / row["minimum"] - 1, EPS) for row in own]
        axis.plot([row["inner_dim"] for row in own], excess, color=colour, label=f"λ = {l2:g}")
        for row, height in zip(own, excess, strict=True):
            axis.plot(
                row["inner_dim"], height, "o", color=colour, markerfacecolor=colour if row["at_rest"] else "white"
            )
        axis.axvline(own[0]["rank_of_minimum"], color=colour, linestyle=":")
    axis.set(
        yscale="log",
        xlabel="columns (dotted: rank of the minimum)",
        ylabel=r"relative excess of $L_{L2}$ over min $L_*$",
        title="Theorem 3.3: matrix completion",
    )
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.plot([], [], "o", color="0.4", markerfacecolor="white", label="not at rest")
    axis.legend(loc="lower left")
