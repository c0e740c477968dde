"""A and B over time, and the gradient flow of eqs. 24 and 25."""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from rankscope.factors import frobenius_bound, imbalance, predicted_imbalance
from rankscope.studies.theory.problems import Problem

READINGS = 33
RTOL = 1e-13


@dataclass(frozen=True, eq=False)
class Path:
    """A and B over time, `(readings, rows, K)`.

    Args:
        name: for people.
        problem: what is minimised.
        tau: τ of the flow; 1 for gradient descent, whose time is the steps times η.
        times: t of the readings.
        a: A there.
        b: B there.
        error: that integration leaves in an entry of Q.
    """

    name: str
    problem: Problem
    tau: float
    times: np.ndarray
    a: np.ndarray
    b: np.ndarray
    error: float = 0.0

    @property
    def imbalance(self) -> np.ndarray:
        """Q = AᵀA − BᵀB, `(readings, K, K)`."""
        return imbalance(self.a, self.b)

    @property
    def law(self) -> np.ndarray:
        """Q₀ e^{−2λt/τ}: Lemma A.1 with its t."""
        return predicted_imbalance(
            self.imbalance[0], self.problem.l2, (self.times / self.tau)[:, np.newaxis, np.newaxis]
        )


def integrate(problem: Problem, start: tuple[np.ndarray, np.ndarray], tau: float, name: str) -> Path:
    """Solve eqs. 24 and 25, τȧ = G b − λa and τḃ = Gᵀa − λb, down to Q₀ e^{−8}, or as far as that is cheap.

    Example:
        No loss: a = e^{−λt/τ}, and t ends at 4τ/λ.

    >>> path = integrate(Problem("squared", np.zeros((1, 1)), 2.0, weights=0.0), (np.ones((1, 1)),) * 2, 0.5, "")
    >>> float(path.times[-1]), float((path.a[-1, 0, 0] * np.exp(4)).round(9))
    (1.0, 1.0)
    """
    shape, state = start[0].shape, np.ravel(start)

    def velocity(_, state):
        return -np.ravel(problem.gradients(*state.reshape(2, *shape))) / tau

    times = np.linspace(0, tau * min(4 / problem.l2, 400 / problem.stiffness(*start)), READINGS)
    atol = RTOL * np.abs(state).max()
    solution = solve_ivp(velocity, times[[0, -1]], state, "DOP853", times, rtol=RTOL, atol=atol)
    a, b = solution.y.T.reshape(READINGS, 2, *shape).swapaxes(0, 1)
    # A step errs by RTOL of an entry in root mean square, which moves Q by up to twice that times the factors' norm;
    # then the law forgets it with Q, so that errors can only add up. A step takes 12 evaluations at least.
    local = np.sqrt(len(state)) * (atol + RTOL * np.abs(solution.y).max())
    error = solution.nfev / 12 * 2 * np.sqrt(2 * frobenius_bound(a, b).max()) * local
    return Path(name, problem, tau, times, a, b, error)
