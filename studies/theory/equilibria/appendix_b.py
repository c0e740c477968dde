"""Appendix B: each of its equations at equilibria of section 3.4, stable or not, and what its assumptions are for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.optimize import least_squares

from rankscope.studies.theory.equilibria.stability import count_above
from rankscope.studies.theory.problems import Problem, random_factors
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import CORRECTED, HOLDS, Case, Claim

EPS = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Point:
    """An equilibrium that was found: A, B, and how far from the exact one it may be."""

    name: str
    s: np.ndarray
    l2: float
    a: np.ndarray
    b: np.ndarray

    @property
    def size(self) -> float:
        """Largest possible norm of a row, in whose powers errors are measured."""
        return float(np.sqrt(max(self.s[0], self.l2)))

    @property
    def residual(self) -> float:
        """Norm of the right sides of eqs. 12 and 13."""
        by_a, by_b = Problem("squared", np.diag(self.s), self.l2).gradients(self.a, self.b)
        return float(np.hypot(np.linalg.norm(by_a), np.linalg.norm(by_b)))

    @property
    def distance(self) -> float:
        """To the exact one: Newton's step against the smallest rate of the linearised flow that is not 0.

        Where s_i is λ, that rate is 0, too, and what remains of eq. 18, a_i³, vanishes as the residual does.
        """
        newton = 2 * self.residual / min(2 * self.l2, *np.abs(np.diff(self.s)), self.l2 + self.s[0])
        nearest = np.abs(self.s - self.l2).min()
        cubic = 2 * np.cbrt(2 * self.residual)
        critical = min(2 * self.residual / nearest, cubic) if nearest else cubic
        return max(newton, critical) + 100 * EPS * self.size

    def case(self, left_over: np.ndarray, degree: int) -> Case:
        """That something which vanishes at the exact one does, in units of the degree-th power of A."""
        return Case(self.name, 0, np.abs(left_over).max(), 10 * self.size ** (degree - 1) * self.distance)


def _squares(factor):
    return np.sum(factor**2, axis=1)  # ‖a_i‖²


def _off_diagonal(matrix):
    return matrix - np.diag(np.diag(matrix))


def _product_from_rows(a, s, l2):
    """(λI + D)⁻¹ D S with D = diag(‖a_i‖²)."""
    return np.diag(_squares(a) / (l2 + _squares(a)) * np.diag(s))


#: Claim, equation, its units as a power of A's, and left side less right side as a function of A, B, S and λ.
EQUATIONS = (
    ("eq-16", "a_i = b_i", 1, lambda a, b, s, l2: a - b),
    ("eq-18", "λ‖a_i‖² = (s_i − ‖a_i‖²)‖a_i‖²", 4, lambda a, b, s, l2: (np.diag(s) - _squares(a) - l2) * _squares(a)),
    ("appendix-b.eq-35", "λBᵀ = Aᵀ(S − ABᵀ)", 3, lambda a, b, s, l2: l2 * b.T - a.T @ (s - a @ b.T)),
    ("appendix-b.eq-36", "λA = (S − ABᵀ)B", 3, lambda a, b, s, l2: l2 * a - (s - a @ b.T) @ b),
    ("appendix-b.eq-37", "λBᵀB = Aᵀ(S − ABᵀ)B", 4, lambda a, b, s, l2: l2 * b.T @ b - a.T @ (s - a @ b.T) @ b),
    ("appendix-b.eq-38", "λAᵀA = Aᵀ(S − ABᵀ)B", 4, lambda a, b, s, l2: l2 * a.T @ a - a.T @ (s - a @ b.T) @ b),
    ("appendix-b.balance", "BᵀB = AᵀA", 2, lambda a, b, s, l2: b.T @ b - a.T @ a),
    (
        "appendix-b.eq-39",
        "λABᵀ = AAᵀ(S − ABᵀ) = AAᵀS − AAᵀABᵀ",
        4,
        lambda a, b, s, l2: l2 * a @ b.T - (a @ a.T @ s - a @ a.T @ a @ b.T),
    ),
    (
        "appendix-b.eq-40",
        "λABᵀ = (S − ABᵀ)BBᵀ = SBBᵀ − ABᵀBBᵀ",
        4,
        lambda a, b, s, l2: l2 * a @ b.T - (s @ b @ b.T - a @ b.T @ b @ b.T),
    ),
    ("appendix-b.products", "AAᵀS = SBBᵀ, s_i a_iᵀa_j = s_j b_iᵀb_j", 4, lambda a, b, s, l2: a @ a.T @ s - s @ b @ b.T),
    (
        "appendix-b.diagonal",
        "‖a_i‖ = ‖b_i‖, and AAᵀ and BBᵀ are diagonal",
        2,
        lambda a, b, s, l2: np.stack([_off_diagonal(a @ a.T), _off_diagonal(b @ b.T), a @ a.T - b @ b.T]),
    ),
    ("appendix-b.product", "ABᵀ = (λI + D)⁻¹DS", 2, lambda a, b, s, l2: a @ b.T - _product_from_rows(a, s, l2)),
    (
        "appendix-b.eq-41",
        "λa_iᵀb_i = ‖a_i‖²(s_i − a_iᵀb_i)",
        4,
        lambda a, b, s, l2: l2 * np.sum(a * b, 1) - _squares(a) * (np.diag(s) - np.sum(a * b, 1)),
    ),
    (
        "appendix-b.eq-42",
        "λ‖a_i‖² = (s_i − a_iᵀb_i)a_iᵀb_i",
        4,
        lambda a, b, s, l2: l2 * _squares(a) - (np.diag(s) - np.sum(a * b, 1)) * np.sum(a * b, 1),
    ),
)


def solve(target: np.ndarray, l2: float, start: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A zero of the right sides of eqs. 12 and 13 near the start, stable or not, by Levenberg and Marquardt's method.

    Example:
        λa = (1 − ab)b and λb = (1 − ab)a: a = b = ±√(1 − λ), or 0.

    >>> a, b = solve(np.eye(1), 0.75, (np.array([[0.9]]), np.array([[0.8]])))
    >>> float(a[0, 0].round(12)), float(b[0, 0].round(12))
    (0.5, 0.5)
    """
    problem, cut, units = Problem("squared", target, l2), start[0].size, start[0].shape[1]

    def factors(state):
        return state[:cut].reshape(-1, units), state[cut:].reshape(-1, units)

    found = least_squares(
        lambda state: np.concatenate([gradient.ravel() for gradient in problem.gradients(*factors(state))]),
        np.concatenate([factor.ravel() for factor in start]),
        lambda state: problem.hessian(*factors(state)),
        method="lm",
        xtol=EPS,
        ftol=EPS,
        gtol=EPS,
        max_nfev=100,
    )
    return factors(found.x)


def find_equilibria(settings: TheorySettings, s: np.ndarray, seeds: Sequence[int], more_inputs: int = 0) -> list[Point]:
    """Equilibria from random starts, most of them saddles.

    With d_1 > d_3, S has columns of zeros; rows of zeros in A and in S make it square, and change nothing.
    """
    points, size, wide = [], len(s), len(s) + more_inputs
    target, key_dim = np.eye(size, wide) * s[:, np.newaxis], settings.model.key_dim
    for l2 in settings.optimizer.l2:
        for seed in seeds:
            for index, scale in enumerate(np.geomspace(0.1, 1.5, max(2, 24 // max(size, 4)))):
                units = min((key_dim, size)[index % 2], size + 1)  # more free units are copies of one
                a, b = random_factors(seed, wide, units, scale * np.sqrt(s[0] / size))
                a, b = solve(target, l2, (a[:size], b))
                a = np.pad(a, ((0, more_inputs), (0, 0)))
                point = Point(f"solved l2={l2:g} seed={seed} start={index}", np.pad(s, (0, more_inputs)), l2, a, b)
                if point.residual < 1e-11 * point.size**3:
                    points.append(point)
    return points


def equation_claims(points: Sequence[Point]) -> list[Claim]:
    """Eqs. 16 to 18 and 35 to 42, one claim each."""
    claims = []
    for name, statement, degree, left_over in EQUATIONS:
        room, _, number = name.partition("eq-")
        source = f"{'appendix B' if room else 'section 3.4'}{', eq. ' * bool(number)}{number}"
        cases = [point.case(left_over(point.a, point.b, np.diag(point.s), point.l2), degree) for point in points]
        claims.append(Claim(name, source, statement, cases))
    saddles = sum(_kept(point).sum() < min(point.a.shape[1], count_above(point.s, point.l2)) for point in points)
    products = [case for point in points for case in _orthogonality(point)]
    claims[0] = replace(claims[0], remark=f"At {len(points)} equilibria, {saddles} of them saddles with fewer modes.")
    return [
        *claims,
        Claim(
            "eq-17",
            "section 3.4, eq. 17",
            "a_iᵀb_i = 0 for all i ≠ j",
            products,
            correction="a_iᵀb_j = 0; a_iᵀb_i is s_i − λ where mode i is kept",
            expected=HOLDS if all(abs(case.measured) <= case.tolerance for case in products) else CORRECTED,
        ),
        Claim(
            "section-3.4.cases",
            "section 3.4, after eq. 18",
            "For λ ≥ s_i, a_i = 0; for λ < s_i, a_i = 0 or ‖a_i‖² = s_i − λ",
            [point.case(_off_both(point), 2) for point in points],
        ),
    ]


def _kept(point):
    """Modes whose ‖a_i‖² is nearer to s_i − λ than to 0."""
    return (point.s > point.l2) & (2 * _squares(point.a) > point.s - point.l2)


def _off_both(point):
    """How far ‖a_i‖² is from 0 and from s_i − λ, whichever is nearer."""
    kept = np.maximum(point.s - point.l2, 0)
    return np.minimum(_squares(point.a), np.abs(_squares(point.a) - kept))


def _orthogonality(point):
    """The largest a_iᵀb_i, and the largest a_iᵀb_j."""
    products = point.a @ point.b.T
    off = point.case(_off_diagonal(products), 2)
    i = int(np.argmax(np.diag(products)))
    shared = (point.s[i] - point.l2) * _kept(point)[i]
    yield replace(off, name=f"{off.name}: a_iᵀb_j", corrected=0)
    yield replace(off, name=f"{off.name}: a_iᵀb_i", measured=products[i, i], corrected=shared)


def assumption_claims(settings: TheorySettings, s: np.ndarray) -> list[Claim]:
    """What goes wrong where two singular values are equal, and that one may be 0, or d_1 differ from d_3."""
    equal, rest = [], []
    for l2 in settings.optimizer.l2:
        problem = Problem("squared", 2 * l2 * np.eye(2), l2)  # s = 2λ, twice
        both = np.full((2, 1), np.sqrt(l2 / 2))  # σ = λ, shared by the two rows
        point = Point(f"l2={l2:g} s=2λ, 2λ", np.full(2, 2 * l2), l2, both, both)
        equal.append(Case(f"{point.name}: eqs. 14 and 15", 0, point.residual, 100 * EPS * point.size**3))
        rate = -np.linalg.eigvalsh(problem.hessian(both, both))[0]
        equal.append(Case(f"{point.name}: growth", 0, rate, 100 * EPS * l2))
        equal.append(Case(f"{point.name}: a_1ᵀb_2", l2 / 2, both[0, 0] * both[1, 0], 100 * EPS * l2))
        for seed, units in product(settings.seeds, (1, 2)):
            a, b = solve(problem.target, l2, random_factors(seed, 2, units, np.sqrt(l2)))
            end = replace(point, name=f"{point.name} seed={seed} d_2={units}", a=a, b=b)
            if end.residual < 1e-13 * point.size**3:  # rates there are λ, or 0 of rotations
                sigma = np.linalg.svd(a @ b.T, compute_uv=False)
                rest.append(Case(f"{end.name}: a_i − b_i", 0, np.abs(a - b).max(), 1e-12 * np.sqrt(l2)))
                rest.append(Case(f"{end.name}: σ", 0, np.minimum(sigma, np.abs(sigma - l2)).max(), 1e-12 * l2))
    first = settings.seeds[:1]
    zero = find_equilibria(settings, np.append(s, 0.0), first)
    wide = find_equilibria(settings, s, first, more_inputs=1)
    return [
        Claim(
            "appendix-b.distinct",
            "appendix B, its assumption",
            "Eq. 17 needs distinct s: for s_1 = s_2 and d_2 = 1, a = b = (1, 1)√((s − λ)/2) is stable, a_1ᵀb_2 > 0",
            equal,
        ),
        Claim(
            "appendix-b.distinct.rest",
            "appendix B, its assumption; ours",
            "With s_1 = s_2, too, a_i = b_i and a singular value of A Bᵀ is 0 or s − λ",
            rest,
        ),
        Claim(
            "appendix-b.nonzero",
            "appendix B, its assumption; ours",
            "Eqs. 16 and 17 (a_iᵀb_j = 0) need no nonzero s: one may be 0, and then a_i = b_i = 0",
            [case for point in zero for case in _sixteen_and_seventeen(point)],
        ),
        Claim(
            "section-3.4.general-case",
            "section 3.4, before eq. 11",
            "For d_3 ≠ d_1 the result is the same: eqs. 16 and 17 (a_iᵀb_j = 0), and rows of 0 beyond",
            [case for point in wide for case in _sixteen_and_seventeen(point)],
        ),
    ]


def _sixteen_and_seventeen(point) -> Iterator[Case]:
    yield replace(point.case(point.a - point.b, 1), name=f"{point.name}: eq. 16")
    yield replace(point.case(_off_diagonal(point.a @ point.b.T), 2), name=f"{point.name}: eq. 17")
    beyond = np.r_[point.a[point.s == 0], point.b[point.s == 0]]
    yield replace(point.case(beyond, 1), name=f"{point.name}: s = 0")
