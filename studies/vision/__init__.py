"""The vision transformer of section 4.3 at the size of a laptop: figure 4 right."""

from collections.abc import Sequence
from dataclasses import asdict

from matplotlib.figure import Figure

from rankscope.pictures.curves import draw_legend
from rankscope.studies.curves import draw_mean_ranks
from rankscope.studies.decay_sweep import train
from rankscope.studies.runs import PAIRS, Run, curve_rows
from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.verdict import Claim
from rankscope.studies.vision import accuracy, ranks
from rankscope.studies.vision.settings import VisionRuns


def run(settings: VisionRuns, writer: StudyWriter) -> list[Claim]:
    """Train, record, draw, and judge figure 4 right."""
    runs = train(settings, writer, "vit", "val_accuracy")
    correlations = ranks.correlations_of(runs)
    rows = accuracy.table_rows(runs)
    writer.table("runs", accuracy.run_rows(runs))
    writer.table("curves", curve_rows(runs))
    writer.table("accuracy", rows)
    writer.table("correlations", [{"pair": pair, **asdict(found)} for pair, found in correlations.items()])
    writer.figure("figure-4-vit", draw(runs))
    accuracy.print_rows(rows)
    return ranks.claims_of(runs, correlations)


def draw(runs: Sequence[Run]) -> Figure:
    """Mean pseudo rank of both products over training, and accuracy by decay beside them."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    drawn = [run for run in runs if run.learned]
    for pair, axis in zip(PAIRS, axes, strict=False):
        draw_mean_ranks(axis, drawn, pair)
    accuracy.draw_accuracy(axes[-1], drawn)
    if drawn:
        draw_legend(figure, axes[:-1])
    return figure


STUDY = Study(
    "figure-4-vit",
    VisionRuns,
    run,
    quick={"sweep.attention_weight_decay": [0.0, 0.3, 1.0], "seeds": [0, 1], "training.steps": 800},
)
