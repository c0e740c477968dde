"""Prop. A.5 on chains of random matrices, as printed, without its assumption, and as it might be."""

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np

from rankscope import factors
from rankscope.factors.balance import squared_norm
from rankscope.studies.theory.balance.gap import climb
from rankscope.studies.theory.balance.pairs import EPS, nuclear
from rankscope.studies.verdict import CORRECTED, FAILS, Case, Claim

Chain = list[np.ndarray]  # A₁ … A_L, each (N, rows, columns)
DEPTHS = (2, 3, 4)
TRIALS = 150  # random chains of one depth, shape and seed


def random_chains(seed: int, depth: int, rows: int, inner: int) -> Chain:
    """Balanced chains plus noise, at all scales; some modes are missing."""
    rng = np.random.default_rng([seed, depth, rows, inner])
    widths = [rows, *[inner] * (depth - 1), rows]
    root = rng.uniform(0.1, 1, (TRIALS, 1, inner)) * (rng.random((TRIALS, 1, inner)) < 0.8)
    bases = [np.linalg.qr(rng.standard_normal((TRIALS, width, inner)))[0] for width in widths]
    noise, scale = 10 ** rng.uniform(-3, 0.5, (TRIALS, 1, 1)), 10 ** rng.uniform(-2, 2, (TRIALS, 1, 1))
    balanced = [(left * root) @ right.swapaxes(-1, -2) for left, right in pairwise(bases)]
    return [scale * (factor + noise * rng.standard_normal(factor.shape)) for factor in balanced]


def climbed(objective: Callable[[Chain], np.ndarray], depth: int, inner: int, seed: int) -> float:
    """Climb over chains of square matrices from a random one; the value reached.

    All are positive semidefinite: polar decompositions turn every square chain into such a one, by orthogonal matrices
    that no norm and no imbalance notices.
    """

    def of_points(points):
        roots = np.moveaxis(points.reshape(-1, depth, inner, inner), 1, 0)
        return objective(list(roots @ roots.swapaxes(-1, -2)))

    rng = np.random.default_rng([seed, depth, inner])
    return climb(of_points, rng.standard_normal(depth * inner * inner))[1]


# === Sides of inequalities ===


def measure(chain: Chain) -> tuple[np.ndarray, ...]:
    """P `(N,)`, ‖A_l‖² and ‖A_l‖_* `(L, N)`, ‖Q_l‖_* `(L − 1, N)`."""
    squares = np.stack([squared_norm(factor) for factor in chain])
    imbalances = np.stack([nuclear(q) for q in factors.chain_imbalances(chain)])
    return squares.mean(axis=0) - factors.chain_gap(chain), squares, np.stack([*map(nuclear, chain)]), imbalances


def _printed(chain):
    power, squares, nuclear, imbalances = measure(chain)
    depth, inner = len(chain), chain[0].shape[-1]
    last = (np.exp(2) * depth**4 * imbalances.max(axis=0)) ** (1 / depth)
    return np.abs(power - squares), inner * nuclear ** (depth - 1) * last


def _printed_average(chain):
    return factors.chain_gap(chain), factors.chain_gap_bound(chain)


def _repaired(chain):
    power, squares, _, imbalances = measure(chain)
    root = 1 / len(chain)
    steps = (len(chain) ** 2 * imbalances.max(axis=0)) ** root
    return np.abs(power - squares), (squares**root + steps) ** len(chain) - squares


def _linear(chain):
    power, squares, _, imbalances = measure(chain)
    return np.abs(power - squares), imbalances.sum(axis=0)


def _linear_average(chain):
    share = [max(index, len(chain) - index) / len(chain) for index in range(1, len(chain))]
    return factors.chain_gap(chain), np.tensordot(share, measure(chain)[-1], 1)


def _ratio(sides, chain):
    """Smaller over larger side, the largest of several; what rounding may add to the smaller is granted to the larger.

    A singular value that should be 0 is EPS by rounding, and enters by its power 2/L.
    """
    small, large = sides(chain)
    rows, inner = chain[0].shape[-2:]
    size = np.mean([squared_norm(factor) for factor in chain], axis=0)
    rounding = inner * (8 * (rows + inner) * EPS) ** (2 / len(chain)) * size
    return (small / (large + rounding)).reshape(-1, len(size)).max(axis=0)


def _under_assumption(sides, chain):
    """The ratio where ε ≤ min ‖A_l‖_*^L / L⁴, and what is left of it by how far ε is above.

    From L = 3 on the two sides of the assumption differ in units: every chain meets it if scaled, here just so, which
    is where the printed bound is tightest.
    """
    depth = len(chain)
    _, _, nuclear, imbalances = measure(chain)
    excess = depth**4 * imbalances.max(axis=0) / nuclear.min(axis=0) ** depth
    if depth == 2:
        return _ratio(sides, chain) / np.maximum(1, excess) ** 2
    scale = (1 + 1e-9) * excess ** (1 / (depth - 2))
    return _ratio(sides, [scale[:, None, None] * factor for factor in chain])


# === Claims ===


def _climbs(seeds):
    """Depth, r and seed; scalars have few ways to climb."""
    return [*product(DEPTHS, [1], seeds[:1]), *product(DEPTHS, [2], seeds)]


def shape(rows: int, inner: int) -> Claim:
    """What the product asks of A_L."""
    asked = (np.ones((rows, inner)) @ np.ones((inner, inner))).shape[1]
    cases = [Case(f"q={rows} r={inner}", rows, asked, 0.0, corrected=inner)]
    statement = "A_L has the shape (q, r): as many rows as the product of the others has columns"
    return Claim("prop-a.5.shape", "Prop. A.5", statement, cases, correction="it is (r, q)", expected=CORRECTED)


def printed_bounds(trials: dict[str, Chain], seeds: list[int]) -> list[Claim]:
    """Both displays of Prop. A.5."""
    claims = []
    for name, sides, statement in (
        ("prop-a.5.bound", _printed, "|P − ‖A_k‖²| ≤ r ‖A_k‖_*^{L−1} e^{2/L} L^{4/L} ε^{1/L} for each k"),
        ("prop-a.5.average", _printed_average, "gap ≤ (r/L) Σ‖A_l‖_*^{L−1} e^{2/L} L^{4/L} ε^{1/L}"),
    ):
        cases = [Case(trial, 1.0, _under_assumption(sides, chain).max(), 0.0) for trial, chain in trials.items()]
        for depth, inner, seed in _climbs(seeds):
            top = climbed(lambda chain, sides=sides: _under_assumption(sides, chain), depth, inner, seed)
            cases.append(Case(f"climbed, L={depth} r={inner} seed={seed}", 1.0, top, 0.0))
        remark = (
            "two steps of its proof are false; prop-a.5.linear would prove it, and a ratio < (L − 1)/(r e^{2/L} L⁴)"
        )
        statement = f"if ε ≤ min ‖A_l‖_*^L / L⁴, {statement}: largest ratio"
        claims.append(Claim(name, "Prop. A.5", statement, cases, "≤", remark=remark))
    return claims


def without_assumption(seeds: list[int]) -> Claim:
    """The displays where ε is too large for them."""
    cases = []
    for depth in DEPTHS:
        last = np.logspace(-6, 0, 601)[:, None, None]  # the chain of scalars 1, …, 1, a
        small, large = (side[-1] for side in _printed([np.ones_like(last)] * (depth - 1) + [last]))
        worst = np.argmax(small - large)
        cases.append(Case(f"L={depth} A_k = {last[worst, 0, 0]:.3g}, others 1", large[worst], small[worst], 1e-12))
        small, large = _printed_average([np.full((1, 1), 0.01)] * (depth - 1) + [np.zeros((1, 1))])
        cases.append(Case(f"L={depth} average, scalars 0.01 and a 0", large, small, 1e-18))
        for seed in seeds:
            top = climbed(_excess_of_unit, depth, 2, seed)
            cases.append(Case(f"climbed, L={depth} r=2 seed={seed}: left − right, norms ≤ 1", 0.0, top, 1e-7))
    return Claim(
        "prop-a.5.assumption",
        "Prop. A.5",
        "the bound for A_k, and the average, without the assumption on ε (the paper does not claim this)",
        cases,
        "≤",
        expected=FAILS,
        remark="from L = 3 on its sides have the units of A² and A^{L−1+2/L}: small factors break it; L = 2 holds",
    )


def _excess_of_unit(chain):
    """How far the printed bound for A_k is missed by the chain scaled so that its largest ‖A_l‖ is 1."""
    size = np.sqrt(np.max([squared_norm(factor) for factor in chain], axis=0))[:, None, None]
    small, large = _printed([factor / size for factor in chain])
    return (small - large).max(axis=0)


def better_bounds(trials: dict[str, Chain], seeds: list[int]) -> list[Claim]:
    """What holds without an assumption on ε, in consistent units."""
    conjecture = (
        "proven for L = 2; from L = 3 on a conjecture that no search has refuted; with it the gap has the rate 2λ"
    )
    claims = []
    for name, sides, statement, remark in (
        (
            "prop-a.5.repaired",
            _repaired,
            "|P − ‖A_k‖²| ≤ (‖A_k‖^{2/L} + (L²ε)^{1/L})^L − ‖A_k‖² for each k",
            "the proof of Prop. A.5 with p-th powers and ‖XY…‖_{2/L} ≤ ‖X‖‖Y‖…: no assumption on ε, consistent units",
        ),
        (
            "prop-a.5.linear",
            _linear,
            "|P − ‖A_k‖²| ≤ Σ‖Q_l‖_* for each k",
            conjecture,
        ),
        ("prop-a.5.linear-average", _linear_average, "gap ≤ Σ max(l, L − l)/L ‖Q_l‖_*", conjecture),
    ):
        cases = [Case(trial, 1.0, _ratio(sides, chain).max(), 0.0) for trial, chain in trials.items()]
        for depth, inner, seed in _climbs(seeds):
            top = climbed(lambda chain, sides=sides: _ratio(sides, chain), depth, inner, seed)
            cases.append(Case(f"climbed, L={depth} r={inner} seed={seed}", 1.0, top, 0.0))
        statement = f"{statement}, always: largest ratio"
        claims.append(Claim(name, "ours, beside Prop. A.5", statement, cases, "≤", remark=remark))
    return claims
