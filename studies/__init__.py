"""One file or folder a figure or question of the paper: what it trains, what it claims, what it draws."""

from rankscope.studies import figure_1, figure_2, figure_3, figure_5, language, theory, vision
from rankscope.studies.figure_3 import ablations
from rankscope.studies.study import Study, resume_study, run_study
from rankscope.studies.verdict import Case, Claim

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        *(figure_1.STUDY, figure_2.STUDY, theory.STUDY, figure_3.STUDY, ablations.STUDY),
        *(language.TABLE_1, language.FIGURE_4, vision.STUDY, figure_5.STUDY),
    )
}

__all__ = ["STUDIES", "Case", "Claim", "Study", "resume_study", "run_study"]
