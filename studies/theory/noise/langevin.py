"""Prop. A.2 simulated: factors whose momenta are stirred by noise, many replicas at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rankscope.factors import gram
from rankscope.studies.theory.settings import TheorySettings

LEARNING_RATE = 1e-4
PULL = 3.0  # of the loss on the largest singular value of its target, in units of λ
SHARES = (1e-5, 1e-3, 1e-1)  # of noise in ‖A‖² at rest, to first order: the σ of the panel


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Replicas of Prop. A.2 on the loss (c/2)‖A Bᵀ − S‖² of section 3.4 with Σ_XX = c, which keeps A and B bounded."""

    target: np.ndarray  # the diagonal of S, (hidden_dim, 1)
    curvature: np.ndarray  # c; like all that follow (replicas, 1, 1)
    noise: np.ndarray  # σ
    learning_rate: np.ndarray  # η
    decay: np.ndarray  # λ
    momentum: np.ndarray  # μ

    @property
    def noise_scale(self) -> np.ndarray:
        """σ√μ, the unit of H's noise."""
        return self.noise * np.sqrt(self.momentum)

    def slope(self, factors: np.ndarray) -> np.ndarray:
        """G = ∂L/∂W = c(A Bᵀ − S), of A and B stacked, `(2, replicas, hidden_dim, key_dim)`."""
        return self.curvature * (factors[0] @ np.swapaxes(factors[1], -1, -2) - np.diagflat(self.target))

    def gradients(self, factors: np.ndarray) -> np.ndarray:
        """G B and Gᵀ A, by way of the Grams: c(A(BᵀB) − S B) and c(B(AᵀA) − S A)."""
        return self.curvature * (factors @ gram(factors)[::-1] - self.target * factors[::-1])

    def paths(
        self, rng: np.random.Generator, factors: np.ndarray, step: np.ndarray, count: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Factors (A, B) and momenta (H^A, H^B) after each of `count` steps from H = 0.

        The velocity v = −η(H + λx) of x = (A, B) obeys dv = −(μ + ηλ)v dt − ημ∇L_L2 dt − ημσ dW: Langevin dynamics.
        Half a kick, half a drift, friction and its noise exactly, and back: of second order, and for a quadratic loss
        exact in the stationary state, whatever the step (BAOAB, Leimkuhler & Matthews 2013).
        """
        rate = self.learning_rate * self.decay
        friction = self.momentum + rate
        kept = np.exp(-friction * step)
        stirred = self.learning_rate * self.momentum * self.noise * np.sqrt((1 - kept**2) / (2 * friction))
        kick = 0.5 * step * self.learning_rate * self.momentum
        velocity, force = -rate * factors, self.gradients(factors) + self.decay * factors
        for _ in range(count):
            velocity = velocity - kick * force
            factors = factors + 0.5 * step * velocity
            velocity = kept * velocity + stirred * rng.standard_normal(factors.shape)
            factors = factors + 0.5 * step * velocity
            force = self.gradients(factors) + self.decay * factors
            velocity = velocity - kick * force
            yield factors, -velocity / self.learning_rate - self.decay * factors


def ensemble(settings: TheorySettings, decay: ArrayLike, share: ArrayLike, speed: ArrayLike) -> Ensemble:
    """Replicas with these λ, shares of noise in ‖A‖² at rest (to first order) and speeds μ/(ηλ) of momentum.

    The target is as large as the product of Gaussian factors of the settings' standard deviation, and the curvature
    such that loss and decay are about equally fast: one step size serves all settings.
    """
    hidden_dim, key_dim = settings.model.hidden_dim, settings.model.key_dim
    largest = settings.model.stddev**2 * (math.sqrt(hidden_dim) + math.sqrt(key_dim)) ** 2
    spectrum = np.sort(settings.data.singular_values)[::-1][:hidden_dim]
    target = largest / spectrum[0] * np.pad(spectrum, (0, hidden_dim - len(spectrum)))
    decay, share, speed = (np.reshape(x, (-1, 1, 1)) for x in np.broadcast_arrays(decay, share, speed))
    at_rest = np.maximum(target[:key_dim] - largest / PULL, 0).sum()  # ‖A‖²
    return Ensemble(
        target=target[:, np.newaxis],
        curvature=PULL * decay / largest,
        # Where the loss is flat, an entry of A has the variance ησ²/(2λ).
        noise=np.sqrt(2 * decay / LEARNING_RATE * share * at_rest / (hidden_dim * key_dim)),
        learning_rate=np.full(decay.shape, LEARNING_RATE),
        decay=decay,
        momentum=speed * LEARNING_RATE * decay,
    )


def start(rng: np.random.Generator, settings: TheorySettings, replicas: int) -> np.ndarray:
    """Gaussian A, and B of half its size, so that Q₀ is far from 0 whatever the shape; stacked."""
    shape = (2, replicas, settings.model.hidden_dim, settings.model.key_dim)
    return rng.normal(0.0, settings.model.stddev, shape) * np.reshape([1.0, 0.5], (2, 1, 1, 1))
