"""Section 3.4 by Keras: training follows the flow of eqs. 12 and 13, and ends in its stable equilibrium."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.integrate import solve_ivp

from rankscope.factors import critical_singular_value, shrinkage, singular_values
from rankscope.studies.theory.equilibria.appendix_b import Point
from rankscope.studies.theory.equilibria.stability import TIE, count_above
from rankscope.studies.theory.problems import Problem, descend, random_factors, train_kernels
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import CORRECTED, Case, Claim

EPS = np.finfo(np.float64).eps
#: Training to the end: up to e^{−FOLDINGS} in the slowest mode, which momentum speeds up by 1/(1 − MOMENTUM).
MOMENTUM, MOST_STEPS, FOLDINGS = 0.9, 1500, 36
#: Training beside the flow: ηh of the finest of three rates, each twice the one before, and steps at that rate.
FINEST, FLOW_STEPS = 0.05, 160


@dataclass(frozen=True, eq=False)
class Run:
    """A run by Keras, and where it ended.

    Args:
        point: the end; before, the start.
        start: initial A and B.
        units: d_2.
        rate: η.
        slowest: the smallest rate at the stable equilibrium, of modes with s ≠ λ.
        noise: of the target, in directions that no W reaches.
        critical: at most what is left of a singular value s = λ, which decays as 1/t.
    """

    point: Point
    start: tuple[np.ndarray, np.ndarray]
    units: int
    rate: float
    slowest: float
    noise: float
    critical: float = 0.0

    @property
    def steps(self) -> float:
        """Needed to leave the start, pass saddles, and decay to e^{−FOLDINGS}."""
        growth = 4 * np.log1p(self.point.size / np.abs(self.start[0]).max())
        return (FOLDINGS + growth) * (1 - MOMENTUM) / (self.rate * self.slowest)

    @property
    def residual_error(self) -> float:
        """Of eqs. 14 and 15 at the end: rounding, most of it by the noise, and λa − (s − σ)a = σ^{3/2} for s = λ."""
        return 1e3 * EPS * self.point.size * self.noise + 2 * len(self.point.s) * self.critical**1.5

    def case(self, predicted: float, measured: float, corrected: float | None = None) -> Case:
        """Of something that adds up from singular values."""
        each = 10 * self.point.size * (2 * self.point.residual / self.slowest + 100 * EPS * self.point.size)
        return Case(self.point.name, predicted, measured, len(self.point.s) * (each + self.critical), corrected)


def train(settings: TheorySettings, s: np.ndarray) -> list[Run]:
    """Runs for each λ, seed, and d_2 = key_dim and d_{1,3}, but for those that take too long.

    X is whitened, and Y is S X and noise outside of X's rows: Σ_XX = I and Σ_YX = S.
    """
    model, size, penalties = settings.model, len(s), settings.optimizer.l2
    width, noise = max(model.key_dim, size), 2 * max(s[0], *penalties)
    rows = np.linalg.qr(np.random.default_rng(settings.seeds[0]).normal(size=(2 * size, 2 * size)))[0]
    x, target = rows[:size], s[:, np.newaxis] * rows[:size] + noise * rows[size:]
    runs = []
    for l2, seed, units in product(penalties, settings.seeds, dict.fromkeys((model.key_dim, size))):
        start = tuple(f * (np.arange(width) < units) for f in random_factors(seed, size, width, model.stddev))
        point = Point(f"trained l2={l2:g} seed={seed} d_2={units}", s, l2, *start)
        rate = 1 / Problem("squared", np.diag(s), l2).stiffness(*start)
        runs.append(Run(point, start, units, rate, _slowest(s, l2, units), noise))
    runs = [run for run in runs if run.steps < MOST_STEPS]
    if not runs:
        return []
    # Stiff modes fade as the root of the momentum does.
    steps = int(max(*(run.steps for run in runs), -2 * FOLDINGS / np.log(MOMENTUM)))
    problems = [Problem("squared", target, run.point.l2, inputs=x) for run in runs]
    a, b = descend(problems, [run.rate for run in runs], [run.start for run in runs], steps, steps, MOMENTUM)
    ended = []
    for i, run in enumerate(runs):
        at_critical = np.abs(s - run.point.l2).min() <= TIE * s[0]
        left = critical_singular_value(run.rate / (1 - MOMENTUM), steps) if at_critical else 0.0
        point = replace(run.point, a=a[-1, i, :, : run.units], b=b[-1, i, :, : run.units])
        ended.append(replace(run, point=point, critical=float(left)))
    return ended


def _slowest(s, l2, units):
    """Of the rates in `Equilibrium.spectrum`, the smallest but for those of s = λ."""
    rates = np.array([2 * l2, *np.abs(s - l2)])
    if units < count_above(s, l2):
        rates = np.append(rates, s[units - 1] - s[units])
    return rates[rates > TIE * s[0]].min()


def flow_claims(settings: TheorySettings, s: np.ndarray) -> list[Claim]:
    """Eqs. 12 and 13 against Keras, for an X that is not whitened."""
    model, size = settings.model, len(s)
    rng = np.random.default_rng(settings.seeds[0])
    x = rng.normal(size=(size, 2 * size)) / np.sqrt(2 * size)
    target = s[:, np.newaxis] * x + 0.3 * s[0] * rng.normal(size=x.shape) / np.sqrt(2 * size)
    sigma_yx, sigma_xx = target @ x.T, x @ x.T
    start = random_factors(settings.seeds[0], size, model.key_dim, model.stddev)
    problems = [Problem("squared", target, l2, inputs=x) for l2 in settings.optimizer.l2 for _ in range(3)]
    rates = [FINEST * 2 ** (i % 3) / problem.stiffness(*start) for i, problem in enumerate(problems)]
    a, b = descend(problems, rates, [start] * len(rates), FLOW_STEPS, every=1)
    steps, orders = [], []
    for first in range(0, len(problems), 3):
        l2, eta = problems[first].l2, rates[first]

        def velocity(_, state, l2=l2):
            a, b = state.reshape(2, size, -1)
            left = sigma_yx - a @ b.T @ sigma_xx
            return np.ravel([left @ b - l2 * a, (a.T @ left - l2 * b.T).T])

        moved = np.stack([a[1, first] - start[0], b[1, first] - start[1]]) / eta
        error = 1000 * EPS * np.abs(start).max() / eta
        steps.append(
            Case(f"l2={l2:g} η={eta:.3g}", 0, np.abs(moved.ravel() - velocity(0, np.ravel(start))).max(), error)
        )
        times = 4 * eta * np.arange(FLOW_STEPS // 4 + 1)
        path = solve_ivp(velocity, times[[0, -1]], np.ravel(start), "DOP853", times, rtol=1e-12, atol=1e-14).y.T
        apart = []
        for i in range(3):
            read = np.s_[: FLOW_STEPS // 2**i + 1 : 4 // 2**i, first + i]
            both = np.stack([a[read], b[read]], axis=1).reshape(len(times), -1)
            apart.append(np.linalg.norm(both - path, axis=1).max())
        for i in (0, 1):
            order, name = np.log2(apart[i + 1] / apart[i]), f"l2={l2:g} η={rates[first + i + 1]:.3g} and η/2"
            orders.append(Case(name, 1, order, np.log2(1 + FINEST * 2**i)))
    return [
        Claim(
            "eq-12-13.step",
            "section 3.4, eqs. 12 and 13",
            "Gradient descent on eq. 11 moves A and B by η/τ times the right sides of eqs. 12 and 13",
            steps,
        ),
        Claim(
            "eq-12-13.flow",
            "section 3.4, eqs. 12 and 13",
            "Gradient descent follows their flow as η → 0: its distance is of order 1 in η",
            orders,
        ),
    ]


def end_claims(runs: list[Run]) -> list[Claim]:
    """What holds where Keras ends."""
    spectra, ranks, transposed, silent = [], [], [], 0
    for run in runs:
        point, size = run.point, len(run.point.s)
        sigma = np.zeros(size)
        sigma[: min(size, run.units)] = singular_values(point.a, point.b)[:size]
        rest = shrinkage(point.s, point.l2, run.units)
        spectra.append(run.case(0, np.abs(sigma - rest).max()))
        nothing = 1e-6 * point.size + 2 * np.sqrt(run.critical)
        rank = np.linalg.matrix_rank(point.a, tol=nothing)
        ranks.append(Case(point.name, min(run.units, count_above(point.s, point.l2)), rank, 0))
        silent += np.count_nonzero(np.linalg.norm(point.a, axis=0) < nothing) if rest.any() else 0
        printed = shrinkage(np.hypot(point.s, run.noise), point.l2, run.units)
        transposed.append(run.case(printed.sum(), sigma.sum(), corrected=rest.sum()))
    source = "section 3.4"
    return [
        Claim(
            "eq-14-15",
            f"{source}, eqs. 14 and 15",
            "Training ends where eqs. 14 and 15 hold",
            [Case(run.point.name, 0, run.point.residual, run.residual_error) for run in runs],
        ),
        Claim(
            "section-3.4.low-rank",
            f"{source}, after eq. 18",
            "Where training ends, A Bᵀ has dropped all singular values below λ, and kept those above, as s − λ",
            spectra,
            remark="With d_2 < d_{1,3} it keeps the largest d_2 of them.",
        ),
        Claim(
            "section-3.4.pruning",
            f"{source}, after eq. 18",
            "Increasing λ reduces d_2 adaptively: the rank of A is the number of s > λ",
            ranks,
            remark=f"The rank, not the units: in these runs {silent} units fall silent where something is kept.",
        ),
        Claim(
            "appendix-b.target",
            "appendix B",
            "The singular values that λ is taken from are those of YᵀX",
            transposed,
            correction="of YXᵀ = Σ_YX; YᵀX has those of Y, its noise included, where X is whitened",
            expected=CORRECTED,
        ),
    ]


def single_matrix_claim(settings: TheorySettings, s: np.ndarray) -> Claim:
    """Eq. 19: one matrix W in place of A Bᵀ, by Keras."""
    problems = [Problem("squared", np.diag(s), l2) for l2 in settings.optimizer.l2]
    start = random_factors(settings.seeds[0], len(s), len(s), settings.model.stddev)[0]
    # What is left halves with each step.
    rates = [0.5 / (1 + problem.l2) for problem in problems]
    (kernel,) = train_kernels(problems, rates, [np.stack([start] * len(problems))], 60, 60)
    cases = []
    for problem, end in zip(problems, kernel[-1], strict=True):
        name = f"l2={problem.l2:g}"
        rest = problem.target / (1 + problem.l2)
        error = 2.0**-60 * np.abs(start).max() + 100 * EPS * s[0]
        cases.append(Case(name, 0, np.abs(end - rest).max(), error))
        cases.append(Case(f"{name} rank", len(s), np.linalg.matrix_rank(end, tol=1e-3 * s[-1] / (1 + problem.l2)), 0))
    return Claim(
        "eq-19",
        "section 3.4, eq. 19",
        "With a single matrix W in place of A Bᵀ, W = S/(1 + λ), whose rank does not depend on λ",
        cases,
    )
