"""Figure 2: AdamW(λ, ε) and Adam with L2 of strength ελ, on a line: where do they end, directly and as products?"""

from collections.abc import Iterator

import numpy as np

from rankscope.studies.figure_2 import claims
from rankscope.studies.figure_2.descent import cells_of, descend, steps_of
from rankscope.studies.figure_2.ends import Ends, end_of
from rankscope.studies.figure_2.picture import draw
from rankscope.studies.figure_2.rest import PARAMETRISATIONS, Surface, circling_mean, first_order_error, largest_share
from rankscope.studies.figure_2.settings import Figure2Settings
from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.verdict import Claim
from rankscope.training.precision import float64

LARGEST_TABLE = 150  # readings of a trajectory that its table holds


def run(settings: Figure2Settings, writer: StudyWriter) -> list[Claim]:
    """Train, record, draw, and judge figure 2."""
    surface, cells = Surface.of(settings.data.normal, settings.data.offset), cells_of(settings)
    steps = steps_of(settings, surface)
    every = max(1, min(settings.monitor.every, steps // 4))
    writer.echo(f"{steps:,} steps of AdamW and of Adam with L2, {len(cells)} pairs of λ and ε side by side")
    with float64():
        descents = descend(settings, surface, cells, steps, every)
    of = {
        (descent.optimizer, descent.parametrisation): [
            end_of(descent, index, cell, surface) for index, cell in enumerate(cells)
        ]
        for descent in descents
    }
    ends = Ends(surface, cells, of)
    errors = list(_errors(ends))
    writer.table("trajectories", _trajectories(descents))
    writer.table("end_points", _end_points(ends))
    writer.table("errors", errors)
    writer.figure("figure-2", draw(surface, descents, ends, errors))
    return [
        *(claims.rest_points(ends, parametrisation) for parametrisation in PARAMETRISATIONS),
        *(claims.equivalence(ends, parametrisation) for parametrisation in PARAMETRISATIONS),
        claims.strength(ends),
        claims.bounded(ends),
        claims.first_order(ends),
        *(claims.minimiser(ends, parametrisation) for parametrisation in PARAMETRISATIONS),
        claims.nearest(ends),
        claims.balance(ends),
        claims.stability(ends),
        claims.default_epsilon(ends),
    ]


def _trajectories(descents) -> Iterator[dict]:
    """Of the first cell: early readings all, late ones thinned out."""
    for descent in descents:
        kept = np.unique(np.geomspace(1, len(descent.steps), LARGEST_TABLE).astype(int) - 1)
        for start in range(descent.w.shape[2]):
            for step, (w_1, w_2) in zip(descent.steps[kept], descent.w[kept, 0, start], strict=True):
                yield {
                    "optimizer": descent.optimizer,
                    "parametrisation": descent.parametrisation,
                    "start": start,
                    "step": int(step),
                    "w_1": w_1,
                    "w_2": w_2,
                }


def _end_points(ends) -> Iterator[dict]:
    for (optimizer, parametrisation), all_ends in ends.of.items():
        for end in all_ends:
            for start, (w, mean) in enumerate(zip(end.w, end.mean, strict=True)):
                yield {
                    "optimizer": optimizer,
                    "parametrisation": parametrisation,
                    "weight_decay": end.cell.weight_decay,
                    "epsilon": end.cell.epsilon,
                    "learning_rate": end.cell.learning_rate,
                    "start": start,
                    "w_1": w[0],
                    "w_2": w[1],
                    "mean_w_1": mean[0],
                    "mean_w_2": mean[1],
                    "rest_w_1": end.rest[0],
                    "rest_w_2": end.rest[1],
                    "distance": np.linalg.norm(w - end.rest),
                    "tolerance": end.tolerance[start],
                    "growth": end.growth,
                    "finished": end.finished,
                    "rests": bool(end.rests[start]),
                }


def _errors(ends) -> Iterator[dict]:
    """How far AdamW is from the solution of L2: the mean of a w that circles, its end else; worst start."""
    for parametrisation in PARAMETRISATIONS:
        for adamw, adam_l2 in zip(ends.of["AdamW", parametrisation], ends.of["AdamL2", parametrisation], strict=True):
            cell = adamw.cell
            measured = adamw.w if adamw.stable else adamw.mean
            theory = adamw.rest if adamw.stable else circling_mean(ends.surface, cell, parametrisation)
            yield {
                "parametrisation": parametrisation,
                "weight_decay": cell.weight_decay,
                "epsilon": cell.epsilon,
                "share": largest_share(ends.surface, cell, parametrisation),
                "error": np.linalg.norm(measured - adam_l2.rest, axis=-1).max(),
                "error_in_theory": np.linalg.norm(theory - adam_l2.rest),
                "error_to_first_order": first_order_error(ends.surface, cell, parametrisation),
                "stable": adamw.stable,
                "finished": adamw.finished,
            }


STUDY = Study("figure-2", Figure2Settings, run)
