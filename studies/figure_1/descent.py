"""Gradient descent on eq. 11 for every λ and seed at once, and what is measured of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from rankscope.errors import UserError
from rankscope.factors import (
    balance_discrepancy,
    frobenius_bound,
    mode_strength,
    nuclear_norm,
    shrinkage,
    singular_values,
)
from rankscope.studies.figure_1.settings import Figure1Settings
from rankscope.training.build import build_data
from rankscope.training.trajectory import train_replicas
from rankscope.zoo import HalfSquaredError, HalfSquaredNorm
from rankscope.zoo.layers import FactorChain


@dataclass(frozen=True, eq=False)
class Descent:
    """Replicas of gradient descent: one for each λ and seed, all arrays with readings and replicas first.

    `full` is 2 where the squared error has no ½: it acts as learning rate 2η with penalty λ/2.
    """

    l2: np.ndarray  # (R,)
    seeds: np.ndarray  # (R,)
    steps: np.ndarray  # (T,)
    a: np.ndarray  # (T, R, outputs, key_dim)
    b: np.ndarray  # (T, R, inputs, key_dim)
    target: np.ndarray  # (outputs, inputs)
    learning_rate: float
    full: int

    def names(self) -> list[str]:
        """What tells the replicas apart, in words."""
        return [f"l2={l2:g} seed={seed}" for l2, seed in zip(self.l2, self.seeds, strict=True)]

    def residual(self) -> np.ndarray:
        """G = −∂L/∂W at each reading."""
        return self.full * (self.target - self.a @ self.b.swapaxes(-1, -2))


def descend(settings: Figure1Settings, target: np.ndarray, loss_scale: str, steps: int, every: int) -> Descent:
    """Train A and B from every seed with every λ, by Keras, as replicas of one model.

    Args:
        settings: for sizes, λs, seeds and η.
        target: S = Σ_YX, `(outputs, inputs)`.
        loss_scale: "half" or "full".
        steps: of gradient descent.
        every: steps between readings.
    """
    l2, seeds = (grid.ravel() for grid in np.meshgrid(settings.optimizer.l2, settings.seeds, indexing="ij"))
    widths = [settings.model.key_dim, len(target)]
    trajectory = _train(settings, target, widths, l2, seeds, loss_scale, steps, every)
    b, a = trajectory.weights.values()  # x @ K_0 @ K_1: B = K_0, A = K_1ᵀ
    eta, full = settings.optimizer.learning_rate, 2 if loss_scale == "full" else 1
    return Descent(l2, seeds, trajectory.steps, a.swapaxes(-1, -2), b, target, eta, full)


def descend_single(settings: Figure1Settings, target: np.ndarray, loss_scale: str) -> np.ndarray:
    """Train a single matrix W in place of A Bᵀ; where it ends for each λ, `(len(l2), outputs, inputs)`."""
    l2, steps = np.array(settings.optimizer.l2), settings.training.steps
    seeds = np.full(len(l2), settings.seeds[0])
    trajectory = _train(settings, target, [len(target)], l2, seeds, loss_scale, steps, steps)
    (kernel,) = trajectory.weights.values()
    return kernel[-1].swapaxes(-1, -2)


def _train(settings, target, widths, l2, seeds, loss_scale, steps, every):
    inputs = keras.Input((target.shape[1],))
    chain = FactorChain(widths, settings.model.stddev, seeds.tolist(), HalfSquaredNorm(l2.tolist()))
    model = keras.Model(inputs, chain(inputs))
    # √2 X and √2 Y make ‖Y − ABᵀX‖² of ½‖Y − ABᵀX‖².
    scale = np.sqrt(2.0) if loss_scale == "full" else 1.0
    x = scale * np.eye(target.shape[1])
    y = scale * np.repeat(target.T[:, None, :], len(seeds), axis=1)  # (inputs, R, outputs)
    optimizer = keras.optimizers.SGD(settings.optimizer.learning_rate)
    return train_replicas(model, optimizer, HalfSquaredError(), (x, y), steps, every)


def target_of(settings: Figure1Settings) -> np.ndarray:
    """S = Σ_YX = Yᵀ X of the training part, `(outputs, inputs)`, after checking that Σ_XX = I.

    Raises:
        UserError: for data that cannot be had, or is not white.
    """
    data = build_data(settings)
    x, y = data.train_inputs, data.train_targets
    if not np.allclose(x.T @ x, np.eye(x.shape[1]), atol=1e-9):
        raise UserError("section 3.4 takes whitened inputs, Σ_XX = I: --set data.whiten=true. Received: other inputs")
    return y.T @ x


def curves_of(descent: Descent) -> dict[str, np.ndarray]:
    """Each measured quantity over time, `(readings, replicas)` or `(readings, replicas, key_dim)`."""
    sigma = singular_values(descent.a, descent.b)
    return {
        "nuclear_gap": frobenius_bound(descent.a, descent.b) - nuclear_norm(sigma),
        "balance_discrepancy": balance_discrepancy(descent.a, descent.b),
        "singular_values": sigma,
    }


def curve_rows(descent: Descent, curves: dict[str, np.ndarray]) -> Iterator[dict]:
    """The curves as rows of a table: one a replica and reading."""
    for replica, (l2, seed) in enumerate(zip(descent.l2, descent.seeds, strict=True)):
        for reading, step in enumerate(descent.steps):
            row = {"l2": float(l2), "seed": int(seed), "step": int(step)}
            row |= {name: float(curves[name][reading, replica]) for name in ("nuclear_gap", "balance_discrepancy")}
            sigma = curves["singular_values"][reading, replica]
            yield row | {f"singular_value_{index}": float(value) for index, value in enumerate(sigma, start=1)}


def rest_points(settings: Figure1Settings, descent: Descent) -> list[dict]:
    """One row a singular value at the last step, beside what it should be and the time it had to get there.

    `from_half_time` goes on from the value at half time along the exact flow of one mode. It is empty where there are
    fewer hidden units than values above λ: there modes compete for a unit, and none follows that law.
    """
    key_dim = settings.model.key_dim
    targets = np.linalg.svd(descent.target, compute_uv=False)
    targets = np.pad(targets, (0, max(0, key_dim - len(targets))))
    middle = len(descent.steps) // 2
    halfway, ends = (singular_values(descent.a[reading], descent.b[reading]) for reading in (middle, -1))  # (R, K)
    eta = descent.full * descent.learning_rate
    left = eta * (descent.steps[-1] - descent.steps[middle])
    rows = []
    for replica, (l2, seed) in enumerate(zip(descent.l2, descent.seeds, strict=True)):
        acting = l2 / descent.full
        expected = shrinkage(targets, acting, key_dim)
        crowded = len(targets) > key_dim and targets[key_dim] > acting
        # The smallest kept and the largest dropped value compete for the last unit at the rate of their difference.
        rivalry = targets[key_dim - 1] - targets[key_dim] if crowded else np.inf
        # With decay, all waits for balance. Without, the residual E falls as E' = −(AAᵀE + EBBᵀ).
        waits_for = acting or 0.5 * sum(_smallest(factor[middle, replica]) for factor in (descent.a, descent.b))
        for index in range(key_dim):
            slowest = min(abs(targets[index] - acting), waits_for, rivalry)
            flow = mode_strength(targets[index], acting, halfway[replica, index], left)
            rows.append(
                {
                    "l2": float(l2),
                    "seed": int(seed),
                    "index": index + 1,
                    "target": float(targets[index]),
                    "singular_value": float(ends[replica, index]),
                    "shrinkage": float(expected[index]),
                    "relaxation_times": float(2 * eta * slowest * descent.steps[-1]),
                    "from_half_time": "" if crowded else float(flow),
                }
            )
    return rows


def _smallest(factor):
    """Smallest eigenvalue of AAᵀ."""
    return np.linalg.eigvalsh(factor @ factor.T)[0]
