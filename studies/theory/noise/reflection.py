"""Lemma A.3 by counting walks."""

import math

import numpy as np

from rankscope.studies.verdict import Case, Claim


def chance_of_reaching(steps: int, level: int) -> float:
    """P[max S ≥ level] of the walk of ±1, by counting those that have not, step by step; exact up to 52 steps.

    Example:

    >>> chance_of_reaching(steps=3, level=1)  # +++ ++− +−+ +−− −++ of 8
    0.625
    """
    below = np.zeros(steps + level + 2)  # at −steps − 1, …, level, both ends being out of reach
    below[steps + 1] = 1.0
    for _ in range(steps):
        below[1:-1] = 0.5 * (below[:-2] + below[2:])
    return 1.0 - float(below.sum())


def reflection() -> Claim:
    """Lemma A.3 on the walk of ±1, which becomes Brownian motion: by counting and by its distribution, not sampled."""
    steps, sizes, cases = 16, (100, 400, 1600, 6400), []
    ends = {end: math.comb(steps, (steps + end) // 2) for end in range(-steps, steps + 1, 2)}
    for level in (1, 4, 7):
        counted = 2 * sum(walks for end, walks in ends.items() if end > level) + ends.get(level, 0)
        reaching = chance_of_reaching(steps, level) * 2**steps
        cases.append(Case(f"{steps} steps, walks reaching {level}", counted, reaching, 0.0))
    limit, density = math.erfc(math.sqrt(0.5)), math.exp(-0.5) / math.sqrt(2 * math.pi)  # 2 P[B₁ > 1] and φ(1)
    chances = [chance_of_reaching(size, math.isqrt(size) + 1) for size in sizes]
    cases.append(Case(f"P[max > 1], {sizes[-1]} steps", limit, chances[-1], 2.1 * density / math.sqrt(sizes[-1])))
    slope = np.polyfit(np.log(sizes), np.log(np.abs(np.subtract(chances, limit))), 1)[0]
    cases.append(Case("exponent of the walk's error", -0.5, slope, 0.02))
    return Claim(
        "lemma-a.3",
        "Lemma A.3",
        "P[max B > L] = 2 P[B_t > L]; of the walk of ±1, P[max S ≥ a] = 2 P[S_n > a] + P[S_n = a]",
        cases,
        remark="the walk, whose steps are 1/√n, is off by 2φ(L)/√n",
    )
