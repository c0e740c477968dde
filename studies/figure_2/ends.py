"""Where each training ended, beside where theory has it end, and how much time it had."""

import math
from dataclasses import dataclass

import numpy as np

from rankscope.studies.figure_2.descent import DEFAULT_EPSILON, Descent, steps_needed
from rankscope.studies.figure_2.rest import Cell, Surface, growth, rest_point, stability_limit


@dataclass(frozen=True, eq=False)
class End:
    """The end of one cell's trainings from S starts.

    `finished` says whether theory has it at rest by then: it is stable, and the second half of the run is long enough.
    Then `tolerance` bounds what is left of the way. From a reading at t to the end, at T, a mode of the slowest rate k
    covers all of it but the share 1/(e^{k(T − t)} − 1) of what it covers. We take the largest of that over the third
    quarter of the run (modes may swing), eight times (up to three modes of nearly one rate, such as decay and the
    memory of √B, fall as t² e^{−kt}: over half a run that is 4 times less), and rounding. A start for which that comes
    to more than a hundredth of the distance to S still moves (from a saddle, say), and is not judged.
    """

    optimizer: str
    parametrisation: str
    cell: Cell
    rest: np.ndarray  # (2,), predicted
    growth: float
    steps: int
    steps_needed: float
    finished: bool
    weights: np.ndarray  # (S, 1 or 2, 2), at the last step
    mean: np.ndarray  # (S, 2), w over the last tenth of the readings
    circling: np.ndarray  # (S,), largest distance from that mean there
    tolerance: np.ndarray  # (S,)
    imbalance_tolerance: np.ndarray  # (S,)
    rests: np.ndarray  # (S,), whether w stays with the rest point over the last quarter

    @property
    def w(self) -> np.ndarray:
        """(w₁, w₂) at the last step, `(S, 2)`."""
        return self.weights.prod(axis=-2)

    @property
    def stable(self) -> bool:
        """Whether theory has it come to rest, ever."""
        return self.growth < 1

    @property
    def judged(self) -> np.ndarray:
        """Which starts are at rest by the measure of `tolerance`, `(S,)`."""
        return np.isfinite(self.tolerance)

    @property
    def name(self) -> str:
        """What tells it apart, in words."""
        return f"{self.parametrisation} λ={self.cell.weight_decay:g} ε={self.cell.epsilon:g}"

    def distance(self, point: np.ndarray) -> np.ndarray:
        """‖w − point‖ of each start, `(S,)`."""
        return np.linalg.norm(self.w - point, axis=-1)


def imbalance(weights: np.ndarray) -> np.ndarray:
    """Largest |a² − b²| of both products, `(..., 2, 2)` to `(...)`."""
    return np.abs(weights[..., 0, :] ** 2 - weights[..., 1, :] ** 2).max(axis=-1)


def end_of(descent: Descent, index: int, cell: Cell, surface: Surface) -> End:
    """The end of the cell with this index."""
    kind = descent.optimizer, descent.parametrisation
    rest, late = rest_point(surface, cell, *kind), growth(surface, cell, *kind)
    weights, w, steps = descent.weights[:, index], descent.w[:, index], descent.steps
    needed = steps_needed(surface, cell, descent.optimizer, weights[0], shrinking=3.0)
    half = min(int(np.searchsorted(steps, steps[-1] / 2)), len(steps) - 2)
    to_go = -math.log(late) * (steps[-1] - steps)  # e-folds from each reading to the end
    finished = needed <= steps[-1] and to_go[half] > 0

    def left(quantity):
        if not finished:
            return np.full(quantity.shape[1], np.inf)
        third = slice(half, max(half + 1, int(np.searchsorted(steps, 0.75 * steps[-1]))))
        moved = (quantity[-1] - quantity[third]).reshape(*quantity[third].shape[:2], -1)  # (t, S, 1 or 2)
        share = 8 / np.expm1(np.minimum(to_go[third], 700))[:, None]
        rounding = 2.0**-50 * surface.distance / -math.log(late)
        return (share * np.linalg.norm(moved, axis=-1)).max(axis=0) + rounding

    tolerance = left(w)
    tolerance = np.where(tolerance <= 0.01 * surface.distance, tolerance, np.inf)
    tail, quarter = w[-max(1, len(steps) // 10) :], steps >= 0.75 * steps[-1]
    allowed = np.full((quarter.sum(), 1), 1e-6 * surface.distance)
    if finished:
        allowed = np.maximum(allowed, tolerance * np.exp(np.minimum(to_go[quarter], 700))[:, None])
    return End(
        *kind,
        cell=cell,
        rest=rest,
        growth=late,
        steps=int(steps[-1]),
        steps_needed=needed,
        finished=finished,
        weights=weights[-1],
        mean=tail.mean(axis=0),
        circling=np.linalg.norm(tail - tail.mean(axis=0), axis=-1).max(axis=0),
        tolerance=tolerance,
        imbalance_tolerance=left(imbalance(weights)) if weights.shape[-2] == 2 else np.zeros(len(tolerance)),
        rests=(np.linalg.norm(w[quarter] - rest, axis=-1) <= allowed).all(axis=0),
    )


@dataclass(frozen=True, eq=False)
class Ends:
    """All ends, by optimizer and parametrisation, in the order of the cells; the trajectories' cell is the first."""

    surface: Surface
    cells: list[Cell]
    of: dict[tuple[str, str], list[End]]

    @property
    def usual(self) -> Cell:
        """Place of the cell with the trajectories' λ and the usual ε."""
        return next(
            place
            for place, cell in enumerate(self.cells)
            if (cell.weight_decay, cell.epsilon) == (self.cells[0].weight_decay, DEFAULT_EPSILON)
        )

    def main(self, optimizer: str, parametrisation: str) -> End:
        """The end that the figure's trajectories lead to."""
        return self.of[optimizer, parametrisation][0]

    def remark(self, *kinds: tuple[str, str]) -> str:
        """Why there is no verdict: a sentence for the first of these kinds whose main end is not at rest, or none."""
        for kind in kinds:
            end = self.main(*kind)
            if not end.stable:
                limit = stability_limit(self.surface, end.cell, end.parametrisation)
                return (
                    f"{end.optimizer} ({end.parametrisation}) does not come to rest: that needs an ε above about "
                    f"{limit:.2g}, η · curvature (1 − β₁)/(2(1 + β₁))"
                )
            if not end.finished:
                return (
                    f"{end.optimizer} ({end.parametrisation}) is not at rest yet: that needs training.steps of about "
                    f"{math.ceil(end.steps_needed):,}, some multiple of 1/(ηλ)"
                )
            if not end.judged.any():
                return f"{end.optimizer} ({end.parametrisation}) still moves at the last step: more training.steps"
        return ""
