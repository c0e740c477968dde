"""Gradient descent beside Lemma A.1: the exact law of a step, its rate, and what is left of the difference as η → 0."""

import numpy as np

from rankscope.factors import frobenius_bound, imbalance
from rankscope.studies.theory.flow.path import Path
from rankscope.studies.theory.problems import Problem, descend
from rankscope.studies.verdict import Case, Claim

#: ηh of the finest of three rates, h being the sharpness (each is twice the one before), and steps at that rate.
FINEST, STEPS = 0.05, 400


def paths(problems: dict[str, Problem], start: tuple[np.ndarray, np.ndarray]) -> list[list[Path]]:
    """For each problem the paths at three rates, finest first, up to the same time."""
    rates = [(FINEST * factor / problem.stiffness(*start)) for problem in problems.values() for factor in (1, 2, 4)]
    replicas = [problem for problem in problems.values() for _ in range(3)]
    a, b = descend(replicas, rates, [start] * len(rates), STEPS, every=1)
    paths = []
    for index, (rate, problem) in enumerate(zip(rates, replicas, strict=True)):
        until = STEPS // 2 ** (index % 3) + 1
        name = f"{list(problems)[index // 3]} η={rate:.3g}"
        paths.append(Path(name, problem, 1.0, rate * np.arange(until), a[:until, index], b[:until, index]))
    return [paths[index : index + 3] for index in range(0, len(paths), 3)]


def claims(triples: list[list[Path]]) -> list[Claim]:
    """Gradient descent by Keras: the exact law of a step, the rate, and what is left as η → 0."""
    steps, rates, orders = [], [], []
    for triple in triples:
        for path in triple:
            eta, q, drive = path.times[1], path.imbalance, _drive(path)
            shrink = (1 - eta * path.problem.l2) ** 2
            left = q[1:] - shrink * q[:-1] - eta**2 * drive[:-1]
            steps.append(Case(path.name, 0, np.abs(left).max(), 1e-13 * frobenius_bound(path.a, path.b).max()))
            rates += _rate(path, shrink, eta**2 * np.linalg.norm(drive, axis=(1, 2)))
        # At the times that the three have in common.
        apart = [np.linalg.norm(path.imbalance - path.law, axis=(1, 2)) for path in triple]
        fine, middle, coarse = (distance[:: 4 >> i].max() for i, distance in enumerate(apart))
        if fine > 1e-10 * frobenius_bound(triple[0].a, triple[0].b).max():
            # Of c₁η + c₂η² with |c₂/c₁| ≤ h: a higher order brings as many more derivatives.
            orders += [
                Case(f"{path.name} and η/2", 1, np.log2(more / less), np.log2(1 + FINEST * factor))
                for path, more, less, factor in ((triple[1], middle, fine, 1), (triple[2], coarse, middle, 2))
            ]
    source = "appendix A.4.1: the flow as a limit"
    return [
        Claim(
            "lemma-a.1.step",
            f"{source}; ours",
            "A step of gradient descent makes Q into (1 − ηλ)²Q + η²(BᵀGᵀGB − AᵀGGᵀA)",
            steps,
        ),
        Claim(
            "lemma-a.1.rate",
            source,
            "Gradient descent shrinks ‖Q‖ at the rate 2ηλ a step, up to what the η² of the exact law may do",
            rates,
            remark="Rates in units of 2ηλ.",
        ),
        Claim(
            "lemma-a.1.learning-rate",
            source,
            "The flow is a good approximation at small η: the distance of Q from its law is of order 1 in η",
            orders,
        ),
    ]


def _drive(path):
    """E = BᵀGᵀGB − AᵀGGᵀA along a path."""
    pairs = zip(path.a, path.b, strict=True)
    slopes = np.stack([path.problem.slope(a @ b.T) for a, b in pairs])
    return imbalance(slopes @ path.b, slopes.swapaxes(1, 2) @ path.a)


def _rate(path, shrink, forced):
    """The rate over the longest stretch at whose end η²E, and rounding, can have made up at most half of Q."""
    norms, rounding = np.linalg.norm(path.imbalance, axis=(1, 2)), 1e-12 * frobenius_bound(path.a, path.b).max()
    free, driven = norms[0] * shrink ** np.arange(len(norms)), np.zeros(len(norms))
    for step, norm in enumerate(forced[:-1]):
        driven[step + 1] = shrink * driven[step] + norm
    stretch = np.flatnonzero(driven + rounding <= 0.5 * free)
    if len(stretch) and stretch[-1]:
        count = stretch[-1]
        unit = 2 * path.times[count] * path.problem.l2
        band = -np.log1p(-(driven[count] + rounding) / free[count]) - np.log(shrink) * count - unit
        yield Case(f"{path.name} {count} steps", 1, np.log(norms[0] / norms[count]) / unit, band / unit)
