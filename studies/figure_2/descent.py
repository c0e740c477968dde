"""All of figure 2's trainings at once: every start, λ and ε as replicas of one model for each optimizer."""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from rankscope.optimizers import AdamL2, AdamW
from rankscope.studies.figure_2.rest import (
    OPTIMIZERS,
    PARAMETRISATIONS,
    Cell,
    Surface,
    gradient,
    growth,
    rest_point,
    weights_at,
)
from rankscope.studies.figure_2.settings import Figure2Settings
from rankscope.training.trajectory import Trajectory, train_replicas
from rankscope.zoo import HalfSquaredError
from rankscope.zoo.layers import FactorChain

DEFAULT_EPSILON = 1e-8  # table 2's, and that of PyTorch, optax and most recipes
MOST_STEPS = 30_000


@dataclass(frozen=True, eq=False)
class Descent:
    """What an optimizer did to a parametrisation: T readings of C cells from S starts.

    `weights` is `(T, C, S, 1, 2)`, or `(T, C, S, 2, 2)` with the factors a and b.
    """

    optimizer: str
    parametrisation: str
    steps: np.ndarray
    weights: np.ndarray

    @property
    def w(self) -> np.ndarray:
        """(w₁, w₂), `(T, C, S, 2)`."""
        return self.weights.prod(axis=-2)


def cells_of(settings: Figure2Settings) -> list[Cell]:
    """The pairs of λ and ε: first that of the trajectories, then more λ, then more ε and the usual 1e-8.

    η falls as λ grows, so that ηλ, which sets the time it all takes, is the same for all.
    """
    adam = settings.optimizer
    pairs = [(adam.weight_decay, adam.epsilon)]
    pairs += [(decay, adam.epsilon) for decay in settings.sweep.weight_decay]
    pairs += [(adam.weight_decay, epsilon) for epsilon in (*settings.sweep.epsilon, DEFAULT_EPSILON)]
    return [
        Cell(decay, epsilon, adam.learning_rate * (adam.weight_decay / decay), adam.beta_1, adam.beta_2)
        for decay, epsilon in dict.fromkeys(pairs)
    ]


def starts_of(settings: Figure2Settings, parametrisation: str) -> np.ndarray:
    """Weights to start from, `(S, 1, 2)`; for products `(S, 2, 2)`, rows a and b with ab the direct start."""
    data = settings.data
    if data.starts is not None:
        w = np.array(data.starts, dtype=np.float64)
    else:
        angles = np.array([2 * np.pi * np.random.default_rng(seed).random() for seed in settings.seeds])
        centre = Surface.of(data.normal, data.offset).l2_minimiser
        w = centre + data.radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    if parametrisation == "direct":
        return w[:, None]
    a = np.sqrt((data.imbalance + np.hypot(data.imbalance, 2 * w)) / 2)  # a² − b² = imbalance, ab = w
    return np.stack([a, w / a], axis=1)


def approach(surface: Surface, cell: Cell, optimizer: str, starts: np.ndarray) -> float:
    """Steps until steps are in proportion to the distance from rest.

    Far away Adam moves by at most about η a step: once to S, and once along it, where |g| = ελ|W| is not small beside ε
    yet. In between √B has to forget the first gradients, down to ε.
    """
    parametrisation = PARAMETRISATIONS[starts.shape[-2] - 1]
    rest = weights_at(rest_point(surface, cell, optimizer, parametrisation), parametrisation)
    # a and b may end with either sign.
    way = np.abs(np.abs(starts) + np.abs(rest)).max() if len(rest) == 2 else np.abs(starts - rest).max()
    memory = 2 * math.log1p(np.abs(gradient(surface, starts)).max() / cell.epsilon)
    return 2 * way / cell.learning_rate + (memory / -math.log(cell.beta_2) if cell.beta_2 else 0.0)


def steps_needed(surface: Surface, cell: Cell, optimizer: str, starts: np.ndarray, shrinking: float) -> float:
    """Steps until the slowest mode has shrunk by e^−shrinking over the second half; inf where there is no rest."""
    late = growth(surface, cell, optimizer, PARAMETRISATIONS[starts.shape[-2] - 1])
    return (
        max(2 * approach(surface, cell, optimizer, starts), -2 * shrinking / math.log(late)) if late < 1 else math.inf
    )


def steps_of(settings: Figure2Settings, surface: Surface) -> int:
    """`training.steps`, or as many as the trajectories need."""
    if settings.training.steps is not None:
        return settings.training.steps
    cell = cells_of(settings)[0]
    needed = [
        steps_needed(surface, cell, optimizer, starts_of(settings, parametrisation), shrinking=5.0)
        for optimizer in OPTIMIZERS
        for parametrisation in PARAMETRISATIONS
    ]
    resting = [steps for steps in needed if math.isfinite(steps)]
    return min(math.ceil(max(resting, default=10 / (cell.learning_rate * cell.weight_decay))), MOST_STEPS)


def descend(settings: Figure2Settings, surface: Surface, cells: list[Cell], steps: int, every: int) -> list[Descent]:
    """Train every cell from every start, directly and as products, with AdamW and with Adam + L2.

    One optimizer has one λ and one ε, and a replica has its own by a change of units, exactly:

    - (loss, ε) → (c·loss, c·ε) leaves AdamW's steps as they are: a loss weighted by c makes ε into ε/c.
    - With W = sV, AdamW's step of W by (η, λ) is a step of V by (η/s, λs), given the same gradients up to (loss, ε).

    So a replica works with W = sV, s being its λ by the optimizer's, on the surface at s d (s² d for products), its
    loss weighted so that V sees the loss of S and the ε of its cell. The penalty λ_L2|W|²/2 then is ελ|V|²/2 of its own
    ε and λ, too. What comes back is V.

    Args:
        settings: starts and the optimizer's λ, ε, η, β₁ and β₂.
        surface: S.
        cells: pairs of λ and ε, with η as `cells_of` has it.
        steps: of training.
        every: steps between readings.

    Returns:
        Four of them, AdamW's first.
    """
    adam = settings.optimizer
    descents = []
    for optimizer in OPTIMIZERS:
        own = {name: getattr(adam, name) for name in ("learning_rate", "epsilon", "beta_1", "beta_2")}
        if optimizer == "AdamW":
            rule = AdamW(weight_decay=adam.weight_decay, **own)
        else:
            rule = AdamL2(weight_decay=adam.weight_decay * adam.epsilon, **own)
        trajectory = _train(settings, surface, cells, rule, steps, every)
        for parametrisation in PARAMETRISATIONS:
            kernels = [kernel for path, kernel in trajectory.weights.items() if path.startswith(parametrisation)]
            weights = np.stack([kernel.reshape(len(kernel), len(cells), -1, 2) for kernel in kernels], axis=3)
            weights /= _units(settings, cells)[:, None, None, None]
            descents.append(Descent(optimizer, parametrisation, trajectory.steps, weights))
    return descents


def _units(settings, cells):
    """s of each cell, `(C,)`."""
    return np.array([cell.weight_decay for cell in cells]) / settings.optimizer.weight_decay


def _train(settings, surface, cells, rule, steps, every) -> Trajectory:
    s = _units(settings, cells)
    softer = settings.optimizer.epsilon / np.array([cell.epsilon for cell in cells])
    count = len(starts_of(settings, "direct"))
    replicas = len(cells) * count
    # === Layers ===
    direct = FactorChain([1], seed=list(range(replicas)), name="direct")  # n ↦ n·w of each replica
    products = FactorChain([1, 1], seed=list(range(2 * replicas)), name="products")  # 1 ↦ ab of each coordinate
    # === Functional model ===
    normal, one = keras.Input((2,), name="normal"), keras.Input((1,), name="one")
    w = ops.reshape(products(one), (-1, replicas, 2))
    heights = [ops.reshape(direct(normal), (-1, replicas)), ops.sum(w * normal[:, None], axis=-1)]
    targets = []
    for index, (parametrisation, order) in enumerate(zip(PARAMETRISATIONS, (1, 2), strict=True)):
        # n·w = s^order (n·v), so ∂L/∂W is s^(2·order − 1) times that of V; the weight is root².
        root = np.repeat(np.sqrt(softer / s ** (2 * order - 1)), count)[None]  # (1, R)
        heights[index] = heights[index] * root
        targets.append(root * np.repeat(s**order, count) * surface.distance)
        starts = s[:, None, None, None] * starts_of(settings, parametrisation)  # (C, S, F, 2)
        chain = (direct, products)[index]
        for kernel, start in zip(chain.kernels, np.moveaxis(starts, 2, 0), strict=True):
            kernel.assign(start.reshape(kernel.shape))
    model = keras.Model([normal, one], ops.concatenate(heights, axis=-1))
    batch = (surface.n[None], np.ones((1, 1))), np.concatenate(targets, axis=-1)
    return train_replicas(model, rule, HalfSquaredError(), batch, steps, every)
