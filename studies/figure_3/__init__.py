"""Figure 3: rank, imbalance and nuclear gap of attention while it learns to recall, under AdamW's decay."""

from rankscope.studies.decay_sweep import train
from rankscope.studies.figure_3.claims import FIGURE, claims_of
from rankscope.studies.figure_3.picture import draw
from rankscope.studies.figure_3.runs import end_rows
from rankscope.studies.figure_3.settings import Figure3Settings
from rankscope.studies.runs import curve_rows, products
from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.verdict import Claim


def run(settings: Figure3Settings, writer: StudyWriter) -> list[Claim]:
    """Train, record, draw, and judge figure 3."""
    runs = train(settings, writer, "recall", "val_accuracy")
    writer.table("runs", end_rows(runs))
    writer.table("curves", curve_rows(runs))
    shown = products(runs)
    others = [product for product in shown if product != FIGURE]
    for name, chosen in (("figure-3", [FIGURE]), ("figure-3-others", others)):
        if shown and chosen:
            writer.figure(name, draw(runs, chosen))
    return claims_of(runs)


STUDY = Study(
    "figure-3",
    Figure3Settings,
    run,
    quick={"sweep.attention_weight_decay": [0.0, 0.1, 0.3], "seeds": [0, 1], "training.steps": 2500},
)
