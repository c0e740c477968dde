"""Stationary points of L_L2 and what is read of them; minima of L_* that know nothing of factors."""

from dataclasses import dataclass

import numpy as np

from rankscope.factors import frobenius_bound, singular_values
from rankscope.studies.theory.problems import Problem

#: A run is at rest when its gradient is below this share of its penalty's. Some never are: a singular value of G is λ.
AT_REST = 1e-7
EPS = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Rest:
    """Where a run ended, or the minimum of L_* in factors.

    Args:
        loss: name of its random problem.
        seed: of the problem and of the start.
        problem: what was minimised.
        a: A, `(hidden_dim, columns)`.
        b: B.
    """

    loss: str
    seed: int
    problem: Problem
    a: np.ndarray
    b: np.ndarray

    def __str__(self):
        return f"{self.loss} l2={self.problem.l2:g} seed={self.seed} inner={self.a.shape[1]}"

    @property
    def product(self) -> np.ndarray:
        """W = A Bᵀ."""
        return self.a @ self.b.T

    @property
    def gradient(self) -> float:
        """Norm of the gradient of L_L2 by A and B."""
        return float(np.linalg.norm(np.concatenate(self.problem.gradients(self.a, self.b))))

    @property
    def size(self) -> float:
        """√(‖A‖_F² + ‖B‖_F²)."""
        return float(np.sqrt(2 * frobenius_bound(self.a, self.b)))

    @property
    def at_rest(self) -> bool:
        """Whether the gradient is at its floor; A = B = 0 is."""
        return self.gradient <= AT_REST * self.problem.l2 * self.size

    @property
    def rank(self) -> int:
        """Rank of W: a value that decays to 0 does so with the square of its columns."""
        return int(np.count_nonzero(singular_values(self.a, self.b) > 1e-8 * np.linalg.norm(self.problem.target, 2)))

    @property
    def pull(self) -> float:
        """σ₁(G)/λ: at a balanced rest point ≤ 1 only where W minimises a convex L_* among matrices of any rank."""
        return float(np.linalg.norm(self.problem.slope(self.product), 2) / self.problem.l2)

    @property
    def margin(self) -> float:
        """1 − σ_{r+1}(G)/λ, r the rank of W: how far G is from raising one more singular value."""
        pulls = np.linalg.svd(self.problem.slope(self.product), compute_uv=False) / self.problem.l2
        return float(1 - np.append(pulls, 0)[self.rank])

    def imbalance_bound(self) -> float:
        """λQ = Aᵀ∇_A − ∇_Bᵀ B at every point, which is the proof of Lemma 3.2 where ∇ is not quite 0; and rounding."""
        by_a, by_b = (np.linalg.norm(gradient) for gradient in self.problem.gradients(self.a, self.b))
        left = np.linalg.norm(self.a, 2) * by_a + np.linalg.norm(self.b, 2) * by_b
        return float(left / self.problem.l2 + 16 * EPS * max(self.size**2, EPS))

    def curvatures(self) -> np.ndarray:
        """Eigenvalues of the Hessian but for those that (A O, B O), a valley floor, keeps at 0; ascending by size."""
        eigenvalues = np.linalg.eigvalsh(self.problem.hessian(self.a, self.b))
        columns, idle = self.a.shape[1], self.a.shape[1] - self.rank
        floor = (columns * (columns - 1) - idle * (idle - 1)) // 2
        return eigenvalues[np.argsort(np.abs(eigenvalues))[floor:]]

    def curvature_error(self) -> float:
        """What rounding, and a gradient that is not quite 0, may do to eigenvalues of the Hessian."""
        shortest = np.sqrt(singular_values(self.a, self.b)[self.rank - 1]) if self.rank else np.inf
        return float(2 * self.gradient / shortest + 100 * EPS * self.a.size * self.problem.sharpness(self.a, self.b))

    def perturbed(self, count: int = 100) -> tuple[float, float]:
        """The smallest L_*(W') − L_*(W) over random W' of no higher rank near W, and its error."""
        rng = np.random.default_rng(self.seed)
        here = self.problem.nuclear_objective(self.product)
        changes = []
        for scale in 10 ** rng.uniform(-4, -2, count):
            a, b = (f + scale * self.size * rng.normal(size=f.shape) / np.sqrt(f.size) for f in (self.a, self.b))
            changes.append(self.problem.nuclear_objective(a @ b.T) - here)
        return min(changes), 1e-2 * self.gradient * self.size + 100 * EPS * here


def thresholded_minimum(problem: Problem, iterations: int = 5000) -> np.ndarray:
    """The minimum of a convex L_* (eq. 9) by proximal gradient: singular value thresholding, and no factors anywhere.

    Accelerated, and restarted where momentum points uphill (O'Donoghue & Candès 2015).

    Example:
        ½‖W − Y‖² + ½‖W‖_*: each singular value of Y less ½.

    >>> thresholded_minimum(Problem("squared", np.diag([2.0, 0.25]), l2=0.5)).round(12).tolist()
    [[1.5, 0.0], [0.0, 0.0]]
    """
    step, time = 1 / problem.steepest, 1.0
    w = ahead = np.zeros_like(problem.target)
    for _ in range(iterations):
        u, sigma, v = np.linalg.svd(ahead - step * problem.slope(ahead))
        new = u * np.maximum(sigma - step * problem.l2, 0) @ v
        time = 1.0 if np.sum((ahead - new) * (new - w)) > 0 else time
        later = 0.5 + np.sqrt(0.25 + time**2)
        change = np.linalg.norm(new - w)
        w, ahead, time = new, new + (time - 1) / later * (new - w), later
        if change <= 50 * EPS * np.linalg.norm(w):
            break
    return w


def balanced_factors(w: np.ndarray, key_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """A = U√S and B = V√S of W = U S Vᵀ (Prop. 3.1), with key_dim columns, at least as many as its rank.

    Example:

    >>> [factor.tolist() for factor in balanced_factors(np.array([[4.0]]), key_dim=2)]
    [[[2.0, 0.0]], [[2.0, 0.0]]]
    """
    u, sigma, v = np.linalg.svd(w)
    both = [np.zeros((len(w), max(key_dim, len(w)))) for _ in "ab"]
    for factor, vectors in zip(both, (u, v.T), strict=True):
        factor[:, : len(w)] = vectors * np.sqrt(sigma)
    return both[0][:, :key_dim], both[1][:, :key_dim]
