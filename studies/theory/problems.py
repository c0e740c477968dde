"""Losses of a product A Bᵀ, quadratic and not, convex and not, and gradient descent on many of them side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from rankscope.training.trajectory import train_replicas
from rankscope.zoo import HalfSquaredNorm
from rankscope.zoo.layers import FactorChain


@dataclass(frozen=True)
class EntryLoss:
    """f(w, y) of one output and its target.

    Args:
        value: function of a namespace (NumPy or `keras.ops`), w and y: one formula for the reference and for training.
        slope: ∂f/∂w, of w and y.
        bend: ∂²f/∂w².
        steepest: the largest |∂²f/∂w²|.
    """

    value: Callable[[Any, Any, Any], Any]
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray]
    bend: Callable[[np.ndarray, np.ndarray], np.ndarray]
    steepest: float = 1.0


ENTRY_LOSSES = {
    "squared": EntryLoss(lambda xp, w, y: 0.5 * (w - y) ** 2, lambda w, y: w - y, lambda w, y: np.ones_like(w)),
    "log-cosh": EntryLoss(
        lambda xp, w, y: xp.logaddexp(w - y, y - w) - np.log(2),
        lambda w, y: np.tanh(w - y),
        lambda w, y: 1 - np.tanh(w - y) ** 2,
    ),
    "logistic": EntryLoss(  # of labels y = ±1
        lambda xp, w, y: xp.logaddexp(xp.zeros_like(w), -y * w),
        lambda w, y: -0.5 * y * (1 - np.tanh(0.5 * y * w)),
        lambda w, y: 0.25 * y**2 * (1 - np.tanh(0.5 * y * w) ** 2),
        steepest=0.25,
    ),
    "Cauchy": EntryLoss(
        lambda xp, w, y: 0.5 * xp.log1p((w - y) ** 2),
        lambda w, y: (w - y) / (1 + (w - y) ** 2),
        lambda w, y: (1 - (w - y) ** 2) / (1 + (w - y) ** 2) ** 2,
    ),
}


@dataclass(frozen=True, eq=False)
class Problem:
    """L(W) = Σ m f(W X, Y) over the entries of W X, to be minimised over W = A Bᵀ with (λ/2)(‖A‖² + ‖B‖²).

    Args:
        loss: name in ENTRY_LOSSES.
        target: Y, `(outputs, samples)`.
        l2: λ > 0.
        weights: m ≥ 0, a number or one an entry; 0 for an entry that was not observed (matrix completion).
        inputs: X, `(inputs, samples)`; None for X = I, where W X is W itself.

    Example:

    >>> half = Problem("squared", np.eye(1), l2=0.5)  # ½(ab − 1)² + ¼(a² + b²)
    >>> half.objective(np.array([[1.0]]), np.array([[1.0]])), half.nuclear_objective(np.array([[1.0]]))
    (0.5, 0.5)
    >>> half.gradients(np.array([[1.0]]), np.array([[0.0]]))
    (array([[0.5]]), array([[-1.]]))
    """

    loss: str
    target: np.ndarray
    l2: float
    weights: float | np.ndarray = 1.0
    inputs: np.ndarray | None = None

    @property
    def x(self) -> np.ndarray:
        """X, the identity where none was given."""
        return np.eye(self.target.shape[1]) if self.inputs is None else self.inputs

    @property
    def entry(self) -> EntryLoss:
        """f and its derivatives."""
        return ENTRY_LOSSES[self.loss]

    @property
    def steepest(self) -> float:
        """Lipschitz constant of ∂L/∂W."""
        return float(np.max(self.weights)) * self.entry.steepest * np.linalg.norm(self.x, 2) ** 2

    def value(self, w: np.ndarray) -> float:
        """L(W)."""
        return float(np.sum(self.weights * self.entry.value(np, w @ self.x, self.target)))

    def slope(self, w: np.ndarray) -> np.ndarray:
        """∂L/∂W, which is −G of eqs. 22 to 25."""
        return (self.weights * self.entry.slope(w @ self.x, self.target)) @ self.x.T

    def objective(self, a: np.ndarray, b: np.ndarray) -> float:
        """L_L2(A, B), eq. 2."""
        return self.value(a @ b.T) + 0.5 * self.l2 * float(np.sum(a**2) + np.sum(b**2))

    def nuclear_objective(self, w: np.ndarray) -> float:
        """L_*(W), eq. 9."""
        return self.value(w) + self.l2 * float(np.linalg.norm(w, "nuc"))

    def gradients(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of L_L2 by A and by B: eqs. 20 and 21 and the penalty's λA, λB."""
        slope = self.slope(a @ b.T)
        return slope @ b + self.l2 * a, slope.T @ a + self.l2 * b

    def hessian(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Second derivatives of L_L2 by the entries of A, row by row, then those of B."""
        w, x = a @ b.T, self.x
        by_a = np.kron(np.eye(len(a)), x.T @ b)  # (outputs · samples, entries of A)
        by_b = np.einsum("ic,qn->inqc", a, x).reshape(len(by_a), -1)  # (outputs · samples, entries of B)
        jacobian = np.hstack([by_a, by_b])
        bend = np.ravel(self.weights * self.entry.bend(w @ x, self.target))
        hessian = jacobian.T @ (bend[:, np.newaxis] * jacobian) + self.l2 * np.eye(jacobian.shape[1])
        mixed = np.kron(self.slope(w), np.eye(a.shape[1]))  # ∂L/∂W · ∂²W/∂A∂B
        hessian[: a.size, a.size :] += mixed
        hessian[a.size :, : a.size] += mixed.T
        return hessian

    def sharpness(self, a: np.ndarray, b: np.ndarray) -> float:
        """A bound of the Hessian's largest eigenvalue: gradient descent is stable at rates below 2 / sharpness."""
        norms = np.linalg.norm(a, 2) ** 2 + np.linalg.norm(b, 2) ** 2
        return float(self.steepest * norms + np.linalg.norm(self.slope(a @ b.T), 2) + self.l2)

    def stiffness(self, a: np.ndarray, b: np.ndarray) -> float:
        """About the largest sharpness on the way from A, B to rest, where ‖A‖² is about the norm of the target."""
        grown = self.sharpness(0 * a, 0 * b) + 2 * self.steepest * np.linalg.norm(self.target, 2)
        return max(self.sharpness(a, b), grown)


#: Losses of `random_problem`: each of ENTRY_LOSSES, and matrix completion; the last is not convex.
CONVEX = ("squared", "completion", "log-cosh", "logistic")
LOSSES = (*CONVEX, "Cauchy")


def random_problem(loss: str, hidden_dim: int, l2: float, seed: int) -> Problem:
    """A Gaussian target, with a weight of the loss such that λ leaves some of its singular values, and not all.

    Example:

    >>> problem = random_problem("completion", hidden_dim=4, l2=10.0, seed=0)
    >>> pull = np.linalg.norm(problem.slope(np.zeros((4, 4))), 2)  # λ of this size or more leaves nothing
    >>> float((10.0 / pull).round(12)), int((problem.weights > 0).sum())
    (0.6, 7)
    """
    rng = np.random.default_rng((seed, hidden_dim))
    target = rng.normal(size=(hidden_dim, hidden_dim))
    observed = rng.random(target.shape) < (0.6 if loss == "completion" else 1.0)
    observed[0, 0] = True
    target = np.sign(target) if loss == "logistic" else target
    entry = "squared" if loss == "completion" else loss
    problem = Problem(entry, target, l2, observed / np.sqrt(hidden_dim))
    largest = np.linalg.norm(problem.slope(np.zeros_like(target)), 2)
    return replace(problem, weights=problem.weights * np.clip(1.0, l2 / (0.6 * largest), l2 / (0.05 * largest)))


def random_factors(seed: int, rows: int, key_dim: int, stddev: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian A and B of shape `(rows, key_dim)`.

    Example:

    >>> [factor.shape for factor in random_factors(seed=0, rows=3, key_dim=2, stddev=0.1)]
    [(3, 2), (3, 2)]
    """
    a, b = np.random.default_rng(seed).normal(0.0, stddev, (2, rows, key_dim))
    return a, b


def descend(
    problems: Sequence[Problem],
    learning_rates: Sequence[float],
    starts: Sequence[tuple[np.ndarray, np.ndarray]],
    steps: int,
    every: int,
    momentum: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Train A and B of many problems by Keras' SGD, as replicas of one model, each at its own learning rate.

    Args:
        problems: of one shape, with the same X.
        learning_rates: η, one a problem.
        starts: initial A and B, one pair a problem. Columns that are zero in both stay exactly zero, since each is the
            other's gradient: so problems with fewer columns take part.
        steps: updates to make.
        every: steps between two readings.
        momentum: of Keras' SGD.

    Returns:
        A and B at steps 0, `every`, … and `steps`, each `(readings, problems, rows, columns)`.

    Raises:
        FloatingPointError: where a weight is not finite any more.
    """
    a, b = (np.stack(factors) for factors in zip(*starts, strict=True))
    first, second = train_kernels(problems, learning_rates, [b, a.swapaxes(-1, -2)], steps, every, momentum)
    return second.swapaxes(-1, -2), first  # B = K_0 and A = K_1ᵀ


def train_kernels(
    problems: Sequence[Problem],
    learning_rates: Sequence[float],
    kernels: Sequence[np.ndarray],
    steps: int,
    every: int,
    momentum: float = 0.0,
) -> list[np.ndarray]:
    """As `descend`, for any number of kernels K_0 … of the product Wᵀ = K_0 K_1 …, each `(problems, rows, columns)`.

    SGD has one learning rate for all: a replica's own is the weight of its whole objective.
    """
    rates = np.asarray(learning_rates, dtype=np.float64)
    penalty = HalfSquaredNorm((rates * [problem.l2 for problem in problems]).tolist())
    widths = [kernel.shape[-1] for kernel in kernels]
    chain = FactorChain(widths, seed=[0] * len(problems), kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((kernels[0].shape[1],)), chain])
    for variable, kernel in zip(chain.kernels, kernels, strict=True):
        variable.assign(kernel)
    batch = problems[0].x.T, np.stack([problem.target.T for problem in problems], axis=1)  # (samples, R, outputs)
    optimizer = keras.optimizers.SGD(1.0, momentum=momentum)
    path = train_replicas(model, optimizer, _SideBySide(problems, rates), batch, steps, every)
    return [path.weights[variable.path] for variable in chain.kernels]


class _SideBySide(keras.losses.Loss):
    """Σ η_r L_r over replicas r."""

    def __init__(self, problems, rates):
        super().__init__(reduction="sum", name="side_by_side")
        shape = problems[0].target.shape
        self.weights = {}  # of each loss, 0 for replicas that have another: (samples, R, outputs)
        for replica, (problem, rate) in enumerate(zip(problems, rates, strict=True)):
            weights = self.weights.setdefault(problem.loss, np.zeros((shape[1], len(problems), shape[0])))
            weights[:, replica] = (rate * np.broadcast_to(problem.weights, shape)).T

    def call(self, y_true, y_pred):
        """`(samples, R, outputs)` to `(samples,)`."""
        return sum(
            ops.sum(ops.convert_to_tensor(weights) * ENTRY_LOSSES[loss].value(ops, y_pred, y_true), axis=(1, 2))
            for loss, weights in self.weights.items()
        )
