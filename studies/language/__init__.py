"""The language model of section 4.2 at the size of a laptop: table 1 and figure 4 left."""

from collections.abc import Sequence

from rankscope.settings import check_settings
from rankscope.studies.decay_sweep import train
from rankscope.studies.language import perplexity, ranks
from rankscope.studies.language.settings import LanguageRuns
from rankscope.studies.runs import Run, curve_rows
from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.verdict import Claim

QUICK = {"sweep.attention_weight_decay": [0.0, 1.0], "seeds": [0, 1], "training.steps": 1000}


def run_figure_4(settings: LanguageRuns, writer: StudyWriter) -> list[Claim]:
    """Train, record, draw, and judge figure 4 left."""
    return _ranks(_train(settings, writer), writer, "figure-4-gpt")


def run_table_1(settings: LanguageRuns, writer: StudyWriter) -> list[Claim]:
    """Train, record, draw, and judge table 1, and figure 4 left of the same runs."""
    runs = _train(settings, writer)
    nothing = {"optimizer.weight_decay": 0.0, "sweep.attention_weight_decay": [0.0]}
    without_decay = check_settings(LanguageRuns, settings.model_dump(mode="json"), "no decay at all", nothing.items())
    writer.echo("no decay at all:")
    without = train(without_decay, writer, "no-decay", "val_perplexity")
    rows = perplexity.table_rows(runs, without)
    writer.table("table-1", rows)
    writer.figure("table-1", perplexity.draw(rows))
    perplexity.print_rows(rows)
    return [*_ranks(runs, writer, "table-1"), *perplexity.claims_of(runs, without)]


def _train(settings: LanguageRuns, writer: StudyWriter) -> list[Run]:
    return train(settings, writer, "gpt", "val_perplexity")


def _ranks(runs: Sequence[Run], writer: StudyWriter, name: str) -> list[Claim]:
    writer.table("curves", curve_rows(runs))
    writer.figure("figure-4-gpt", ranks.draw(runs))
    return ranks.claims_of(runs, name)


TABLE_1 = Study(
    "table-1",
    LanguageRuns,
    run_table_1,
    QUICK,
)
FIGURE_4 = Study(
    "figure-4-gpt",
    LanguageRuns,
    run_figure_4,
    QUICK,
)
