"""Deep linear networks under gradient descent with L2, and where their modes may rest.

The loss is ½‖S − A₁ … A_L‖² + (λ/2) Σ‖A_l‖², all depths and replicas are one Keras model. Chains start at the scale of
the target and not at `model.stddev`: from L = 3 on zero attracts, so that smaller ones would end there, and larger ones
would need steps so small that nothing ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce

import keras
import numpy as np
from scipy.optimize import brentq

from rankscope import factors
from rankscope.factors.balance import squared_norm
from rankscope.studies.theory.balance.pairs import nuclear
from rankscope.studies.theory.chains.bounds import DEPTHS
from rankscope.studies.theory.settings import TheorySettings
from rankscope.training.trajectory import train_replicas
from rankscope.zoo import HalfSquaredError, HalfSquaredNorm
from rankscope.zoo.layers import FactorChain

STEPS, EVERY = 1200, 5


@dataclass(frozen=True, eq=False)
class Descent:
    """Chains of one depth while they train: T readings of R replicas, one for each λ and seed."""

    l2: np.ndarray  # (R,)
    seeds: np.ndarray  # (R,)
    steps: np.ndarray  # (T,)
    chain: list[np.ndarray]  # A_l: (T, R, rows, columns)
    target: np.ndarray  # singular values s, descending; S = diag(s)
    learning_rate: float

    @property
    def depth(self) -> int:
        """L."""
        return len(self.chain)

    @cached_property
    def elapsed(self) -> np.ndarray:
        """2ληt, `(T, R)`: Lemma A.1 has Q fall as e to the minus this."""
        return 2 * self.learning_rate * self.l2 * self.steps[:, None]

    @cached_property
    def imbalances(self) -> np.ndarray:
        """‖Q_l‖_*, `(L − 1, T, R)`."""
        return np.stack([nuclear(q) for q in factors.chain_imbalances(self.chain)])

    @cached_property
    def gap(self) -> np.ndarray:
        """(1/L) Σ‖A_l‖² − P, `(T, R)`."""
        return factors.chain_gap(self.chain)

    @cached_property
    def applies(self) -> np.ndarray:
        """Whether ε meets the assumption of Prop. A.5, `(T, R)`."""
        return factors.chain_bound_applies(self.chain)

    @cached_property
    def product(self) -> np.ndarray:
        """A₁ … A_L, `(T, R, n, n)`."""
        return reduce(np.matmul, self.chain)

    @cached_property
    def loss(self) -> np.ndarray:
        """With the penalty, `(T, R)`."""
        squares = sum(squared_norm(factor) for factor in self.chain)
        return 0.5 * squared_norm(self.product - np.diag(self.target)) + 0.5 * self.l2 * squares

    def name(self, replica: int) -> str:
        """What tells a replica apart, in words."""
        return f"L={self.depth} l2={self.l2[replica]:g} seed={self.seeds[replica]}"

    def rows(self) -> Iterator[dict]:
        """Every tenth reading as rows of a table."""
        for replica in range(len(self.l2)):
            for index in range(0, len(self.steps), 10):
                yield {
                    "depth": self.depth,
                    "l2": float(self.l2[replica]),
                    "seed": int(self.seeds[replica]),
                    "step": int(self.steps[index]),
                    "elapsed": float(self.elapsed[index, replica]),
                    "imbalance": float(self.imbalances[:, index, replica].max()),
                    "gap": float(self.gap[index, replica]),
                    "assumption_holds": bool(self.applies[index, replica]),
                }


def descend(settings: TheorySettings) -> list[Descent]:
    """Train chains of every depth with every λ from every seed."""
    l2, seeds = (grid.ravel() for grid in np.meshgrid(settings.optimizer.l2, settings.seeds, indexing="ij"))
    target = np.sort(settings.data.singular_values)[::-1]
    size, key_dim = len(target), settings.model.key_dim
    # A Gaussian matrix has a norm of about stddev (√rows + √columns): all start near the s^{1/L} of the largest s.
    spread = np.sqrt(key_dim) + np.sqrt(max(size, key_dim))
    inputs = keras.Input((size,))
    chains = [
        FactorChain(
            [key_dim] * (depth - 1) + [size],
            float(target[0] ** (1 / depth) / spread),
            seeds.tolist(),
            HalfSquaredNorm(l2.tolist()),
            name=f"depth_{depth}",
        )
        for depth in DEPTHS
    ]
    model = keras.Model(inputs, keras.layers.Concatenate(axis=1)([chain(inputs) for chain in chains]))  # (n, 3R, n)
    # The loss bends by up to (2L − 1) s^{2−2/L} + λ; a fifth of that, and 2ηλ well below 1.
    bend = max((2 * depth - 1) * target[0] ** (2 - 2 / depth) for depth in DEPTHS) + 4 * l2.max()
    y = np.repeat(np.diag(target)[:, None, :], len(DEPTHS) * len(l2), axis=1)  # (n, 3R, n)
    optimizer = keras.optimizers.SGD(0.2 / bend)
    trajectory = train_replicas(model, optimizer, HalfSquaredError(), (np.eye(size), y), STEPS, EVERY)
    return [
        Descent(
            l2,
            seeds,
            trajectory.steps,
            [trajectory.weights[f"depth_{depth}/kernel_{index}"] for index in range(depth)],
            target,
            0.2 / bend,
        )
        for depth in DEPTHS
    ]


def rest_point(singular_value: float, l2: float, depth: int) -> float:
    """The stable σ > 0 with σ − s + λσ^{2/L−1} = 0, or 0 where there is none.

    For L = 2 that is max(s − λ, 0), for L ≥ 3 it jumps to 0 at a finite σ, and 0 is stable for every s.

    Example:
        √σ = 2 solves 4 + 3/√4 − 5.5 = 0 for L = 4.

    >>> round(rest_point(5.5, 3.0, depth=4), 12), rest_point(2.0, 3.0, depth=4), rest_point(5.5, 3.0, depth=2)
    (4.0, 0.0, 2.5)
    """
    exponent = 1 - 2 / depth

    def slope(sigma):
        return sigma - singular_value + l2 * sigma**-exponent

    # It is convex, falls up to here and then rises: beyond lies the larger root, if there is one.
    lowest = (l2 * exponent) ** (1 / (1 + exponent))
    if lowest >= singular_value or slope(lowest) > 0:
        return 0.0
    return float(brentq(slope, lowest, singular_value, xtol=1e-300, rtol=1e-15))
