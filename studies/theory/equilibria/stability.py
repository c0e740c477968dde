"""Which equilibria of section 3.4 are stable: the flow linearised at every one of them.

An equilibrium keeps some modes i, with ‖a_i‖² = σ_i = s_i − λ, each in a hidden unit of its own; other units are free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from rankscope.studies.theory.problems import Problem
from rankscope.studies.verdict import Case, Claim

EPS = np.finfo(np.float64).eps
TIE = 1e-9  # relative; closer values are equal, such as 0.1 + 0.2 and 0.3
MOST = 100  # equilibria a λ, drawn by chance where there are more


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A = B with the kept modes, and the flow linearised there (its Jacobian is minus the Hessian of eq. 11).

    Args:
        s: distinct singular values, descending.
        l2: λ.
        kept: indices of the modes that are kept, each with s_i > λ.
        free: hidden units beyond one a kept mode.
    """

    s: np.ndarray
    l2: float
    kept: tuple[int, ...]
    free: int

    def __str__(self):
        return f"l2={self.l2:g} keeps {[float(f'{self.s[i]:.3g}') for i in self.kept]} free={self.free}"

    @property
    def problem(self) -> Problem:
        """Eq. 11 with Σ_XX = I and Σ_YX = S."""
        return Problem("squared", np.diag(self.s), self.l2)

    @property
    def factor(self) -> np.ndarray:
        """A = B, its hidden units mixed by a rotation: nothing depends on their basis."""
        units = len(self.kept) + self.free
        factor = np.zeros((len(self.s), units))
        factor[list(self.kept), range(len(self.kept))] = np.sqrt(self.s[list(self.kept)] - self.l2)
        return factor @ np.linalg.qr(np.random.default_rng(units).normal(size=(units, units)))[0]

    @property
    def objective(self) -> float:
        """L_L2, eq. 11 up to what no A and B can change."""
        return self.problem.objective(self.factor, self.factor)

    @cached_property
    def jacobian(self) -> np.ndarray:
        """Of (Ȧ, Ḃ) by (A, B), entries row by row."""
        return -self.problem.hessian(self.factor, self.factor)

    @cached_property
    def rates(self) -> np.ndarray:
        """Eigenvalues of the Jacobian, ascending; the last is negative, or 0 (rotations), where none grows."""
        return np.linalg.eigvalsh(self.jacobian)

    @property
    def error(self) -> float:
        """Of a rate, by rounding."""
        return 100 * EPS * max(self.s[0], self.l2) * len(self.jacobian)

    @property
    def stable(self) -> bool:
        """Whether no perturbation grows."""
        return bool(self.rates[-1] <= self.error)

    @property
    def fastest(self) -> float:
        """The largest rate, rotations of hidden units aside; negative only where the equilibrium is stable."""
        return float(self.rates[np.abs(self.rates) > self.error].max())

    def growth(self, row: int) -> float:
        """Largest growth rate of a perturbation of a_i and b_i, a block of its own where mode i is not kept."""
        units = self.factor.shape[1]
        block = np.arange(row * units, (row + 1) * units)
        block = np.r_[block, block + self.factor.size]
        return float(np.linalg.eigvalsh(self.jacobian[np.ix_(block, block)])[-1])

    def exists_with(self, units: int) -> bool:
        """Whether it stands for an equilibrium of a network with d_2 = units; more free units do not add new rates."""
        return len(self.kept) < units if self.free else len(self.kept) == units

    def spectrum(self) -> np.ndarray:
        """Eigenvalues of the Jacobian in closed form, ascending.

        A free unit: ±s_i − λ for a mode that is not kept, 0 and −2λ for one that is. The unit of a kept mode p:
        ±s_i − s_p for a mode that is not kept, −2σ_p and −2λ for itself; two kept modes share 0, −2λ, −(σ_i + σ_p)
        and −2λ − (σ_i + σ_p). The zeros are rotations of hidden units.
        """
        kept, l2 = self.s[list(self.kept)], self.l2
        dropped = np.delete(self.s, self.kept)
        own, pairs = np.array([0.0, -2 * l2]), [i + p - 2 * l2 for i, p in combinations(kept, 2)]
        eigenvalues = [*np.r_[dropped - l2, -dropped - l2, np.tile(own, len(kept))]] * self.free
        eigenvalues += [sign * i - p for p in kept for i in dropped for sign in (1, -1)]
        eigenvalues += [rate for p in kept for rate in (-2 * (p - l2), -2 * l2)]
        eigenvalues += [rate - relaxed for sigma in pairs for relaxed in (0, sigma) for rate in own]
        return np.sort(eigenvalues)


def count_above(s: np.ndarray, l2: float) -> int:
    """How many of s exceed λ.

    Example:

    >>> count_above(np.array([0.5, 0.1 + 0.2]), 0.3)
    1
    """
    return int(np.count_nonzero(s > l2 * (1 + TIE)))


def stability(s: np.ndarray, penalties: Sequence[float]) -> tuple[list[Claim], list[Equilibrium]]:
    """Claims on the stability of all equilibria for each λ, with a free unit and without; and those equilibria."""
    points = [
        Equilibrium(s, l2, kept, free)
        for l2 in dict.fromkeys(penalties)
        for kept in _subsets(count_above(s, l2))
        for free in ((0, 1) if kept else (1,))
    ]
    zeros = {free: [_zero(p, i) for p in points if p.free == free for i in _absent(p)] for free in (0, 1)}
    unnamed = sum(case.measured > case.tolerance for case in zeros[0])
    counts = {
        wide: [case for l2 in dict.fromkeys(penalties) for units in sizes for case in _stable(points, l2, units)]
        for wide, sizes in ((True, (len(s), len(s) + 1)), (False, range(1, len(s))))
    }
    source = "section 3.4, after eq. 18"
    claims = [
        Claim(
            "section-3.4.spectrum",
            f"{source}; ours",
            "At every equilibrium the linearised flow has the rates ±s_i − λ, ±s_i − s_p, −2σ_p, −2λ, …, and 0",
            [Case(str(p), 0, np.abs(p.rates - p.spectrum()).max(), p.error) for p in points],
        ),
        Claim(
            "section-3.4.unstable-zero",
            source,
            "For λ < s_i, a_i = 0 is unstable if d_2 exceeds the number of s > λ: it grows at the rate s_i − λ",
            zeros[1],
            remark="Sufficient, and so is d_2 equal to that number: without mode i a unit is free. "
            f"Not necessary: with no unit free, {unnamed} of {len(zeros[0])} such zeros are unstable.",
        ),
        Claim(
            "section-3.4.unstable-zero.exact",
            f"{source}; ours",
            "With no unit free, a_i = 0 grows at the rate s_i − s_p, s_p the smallest kept: unstable if s_i > s_p",
            zeros[0],
        ),
        Claim(
            "section-3.4.stable",
            source,
            "With d_2 ≥ d_{1,3}, the one stable equilibrium keeps all s > λ, and drops the others",
            counts[True],
        ),
        Claim(
            "section-3.4.bottleneck",
            f"{source}; ours",
            "With d_2 < d_{1,3}, the one stable equilibrium keeps the d_2 largest of the s > λ",
            counts[False],
        ),
    ]
    none = "There is no such equilibrium for these λ and singular values."
    return [c if c.cases else replace(c, remark=none) for c in claims], points


def _subsets(above):
    """Modes that may be kept: all subsets, or `MOST` of them, with those of the largest."""
    if 2**above <= MOST:
        return [kept for size in range(above + 1) for kept in combinations(range(above), size)]
    rng = np.random.default_rng(above)
    drawn = {tuple(np.flatnonzero(rng.random(above) < 0.5).tolist()) for _ in range(MOST - above - 1)}
    return sorted(drawn | {tuple(range(size)) for size in range(above + 1)})


def _absent(point):
    return sorted({*range(count_above(point.s, point.l2))} - {*point.kept})


def _zero(point, i):
    rival = point.l2 if point.free else point.s[point.kept[-1]]
    return Case(f"s={point.s[i]:g} dropped, {point}", point.s[i] - rival, point.growth(i), point.error)


def _stable(points, l2, units):
    """There is one, and it keeps the largest."""
    stable = [point for point in points if point.l2 == l2 and point.exists_with(units) and point.stable]
    name, kept = f"l2={l2:g} d_2={units}", min(units, count_above(points[0].s, l2))
    yield Case(f"{name}, stable equilibria", 1, len(stable), 0)
    yield Case(f"{name}, that of the {kept} largest", 1, sum(p.kept == tuple(range(kept)) for p in stable), 0)
