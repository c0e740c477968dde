"""Lemma A.1 and Theorem 3.4: how fast gradient flow balances A and B, and how closely gradient descent follows."""

from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from rankscope.factors import nuclear_gap
from rankscope.studies.study import StudyWriter
from rankscope.studies.theory.flow import continuous, discrete
from rankscope.studies.theory.flow.path import integrate
from rankscope.studies.theory.problems import random_factors, random_problem
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import Claim

LOSSES = ("log-cosh", "Cauchy")  # not quadratic; the second is not convex, either
TIME_CONSTANTS = (1.0, 2.5)  # τ


def run(settings: TheorySettings, writer: StudyWriter) -> tuple[list[Claim], Callable[[Axes], None]]:
    """Integrate the flow and train by Keras; returns claims and what draws the panel."""
    model, seeds = settings.model, settings.seeds
    starts = {seed: random_factors(seed, model.hidden_dim, model.key_dim, model.stddev) for seed in seeds}
    problems = {
        (f"{loss} l2={l2:g} seed={seed}", seed): random_problem(loss, model.hidden_dim, l2, seed)
        for loss in LOSSES
        for l2 in settings.optimizer.l2
        for seed in seeds
    }
    flows = [
        integrate(problem, starts[seed], tau, f"{name} τ={tau:g}")
        for (name, seed), problem in problems.items()
        for tau in TIME_CONSTANTS
    ]
    first = {name: problem for (name, seed), problem in problems.items() if seed == seeds[0]}
    triples = discrete.paths(first, starts[seeds[0]])
    rows = [row for path in (*flows, *(path for triple in triples for path in triple)) for row in _rows(path)]
    writer.table("flow", rows)
    claims = [*continuous.lemma(flows), *continuous.theorem(flows), *discrete.claims(triples)]
    return claims, lambda axis: _draw(axis, flows, triples)


def _rows(path):
    """Some 20 readings of a path, for the table."""
    shown = np.s_[:: max(1, len(path.times) // 16)]
    gaps = path.problem.l2 * nuclear_gap(path.a, path.b)
    norms = [np.linalg.norm(q, axis=(1, 2)) for q in (path.imbalance, path.law)]
    for t, norm, law, gap in zip(*(values[shown] for values in (path.times, *norms, gaps)), strict=True):
        yield {
            "path": path.name,
            "l2": path.problem.l2,
            "t": t,
            "t_over_tau": t / path.tau,
            "imbalance": norm,
            "law": law,
            "gap": gap,
        }


def _draw(axis, flows, triples):
    """‖Q‖ and the gap against 2λt/τ, where Lemma A.1 is one line for every λ, τ and loss."""
    penalties = sorted({flow.problem.l2 for flow in flows})
    colours = dict(zip(penalties, matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(penalties))), strict=True))
    drawn = set()
    for path in (*flows, *(triple[2] for triple in triples)):
        l2, of_flow = path.problem.l2, path in flows
        if (l2, of_flow) in drawn:
            continue
        drawn.add((l2, of_flow))
        decays = 2 * l2 * path.times / path.tau
        norms, gap = np.linalg.norm(path.imbalance, axis=(1, 2)), nuclear_gap(path.a, path.b)
        if of_flow:
            axis.plot(decays, norms / norms[0], color=colours[l2], label=f"λ = {l2:g}: ‖Q‖ of the flow")
            axis.plot(decays, np.maximum(gap / gap[0], 1e-8), "--", color=colours[l2])
            axis.axhline(np.exp(-2 * l2 / path.tau), color=colours[l2], linestyle=":")
        else:
            every = max(1, len(decays) // 8)
            axis.plot(decays[::every], (norms / norms[0])[::every], "o", color=colours[l2], markerfacecolor="none")
    axis.set(
        yscale="log",
        xlabel="2λt/τ",
        ylabel="share of the start",
        title="Lemma A.1 and Theorem 3.4",
    )
    for style, label in (("o", "‖Q‖, gradient descent"), ("--", "gap"), (":", "‖Q‖ as printed")):
        axis.plot([], [], style, color="0.4", markerfacecolor="none", label=label)
    axis.legend()
