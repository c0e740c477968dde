"""Figure 1: two factors under gradient descent on eq. 11, and what λ leaves of the target's singular values."""

from rankscope.studies.figure_1 import claims
from rankscope.studies.figure_1.descent import curve_rows, curves_of, descend, descend_single, rest_points, target_of
from rankscope.studies.figure_1.picture import draw
from rankscope.studies.figure_1.settings import Figure1Settings
from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.verdict import Claim
from rankscope.training.precision import float64


def run(settings: Figure1Settings, writer: StudyWriter) -> list[Claim]:
    """Train, record, draw, and judge figure 1."""
    length, every, scale = settings.training.steps, settings.monitor.every, settings.loss_scale
    with float64():
        target = target_of(settings)
        descent = descend(settings, target, scale, length, every)
        first_steps = descend(settings, target, scale, min(length, 20), 1)
        other_scale = descend(settings, target, "full" if scale == "half" else "half", length, max(1, length // 2))
        single = descend_single(settings, target, scale)
    curves = curves_of(descent)
    ends, other_ends = rest_points(settings, descent), rest_points(settings, other_scale)
    writer.table("curves", curve_rows(descent, curves))
    writer.table("rest_points", ends)
    writer.figure("figure-1", draw(settings, descent, curves, ends))
    half, full = (ends, other_ends) if scale == "half" else (other_ends, ends)
    return [
        claims.gap(descent, curves),
        claims.gap_without_decay(descent, curves),
        claims.imbalance(descent, curves),
        claims.one_step(first_steps),
        claims.rest_points(half),
        claims.relaxation(ends),
        claims.caption(full),
        claims.single_matrix(settings, target, single, descent.full),
        claims.single_matrix_rank(settings, target, single, descent.full),
    ]


STUDY = Study("figure-1", Figure1Settings, run)
