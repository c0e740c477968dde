"""One file or folder a figure or question of the paper: what it trains, what it claims, what it draws.

STUDIES lists them, a row each, without importing any: a study imports Keras.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rankscope.studies.study import Study


@dataclass(frozen=True)
class ListedStudy:
    """A row of the list.

    Args:
        title: one line for people.
        load: function that imports the study.
    """

    title: str
    load: "Callable[[], Study]"


def _figure_1() -> "Study":
    from rankscope.studies.figure_1 import STUDY

    return STUDY


def _figure_2() -> "Study":
    from rankscope.studies.figure_2 import STUDY

    return STUDY


def _theory() -> "Study":
    from rankscope.studies.theory import STUDY

    return STUDY


def _figure_3() -> "Study":
    from rankscope.studies.figure_3 import STUDY

    return STUDY


def _figure_3_ablations() -> "Study":
    from rankscope.studies.figure_3.ablations import STUDY

    return STUDY


def _table_1() -> "Study":
    from rankscope.studies.language import TABLE_1

    return TABLE_1


def _figure_4_gpt() -> "Study":
    from rankscope.studies.language import FIGURE_4

    return FIGURE_4


def _figure_4_vit() -> "Study":
    from rankscope.studies.vision import STUDY

    return STUDY


def _figure_5() -> "Study":
    from rankscope.studies.figure_5 import STUDY

    return STUDY


#: Name → study.
STUDIES: dict[str, ListedStudy] = {
    "figure-1": ListedStudy("two factors under gradient descent with L2, section 3.4", _figure_1),
    "figure-2": ListedStudy("AdamW's weight decay and L2 on a line, directly and as products, section 3.5", _figure_2),
    "theory": ListedStudy("every proposition of section 3 and appendices A and B", _theory),
    "figure-3": ListedStudy("associative recall: ranks, imbalances and gaps over training, section 4.1", _figure_3),
    "figure-3-ablations": ListedStudy(
        "why AdamW's imbalance departs from gradient flow's: ε, schedule, layer norm, SGD", _figure_3_ablations
    ),
    "table-1": ListedStudy("perplexity of a language model by the decay of attention, section 4.2", _table_1),
    "figure-4-gpt": ListedStudy("ranks of a language model's attention by its decay, figure 4 left", _figure_4_gpt),
    "figure-4-vit": ListedStudy(
        "ranks of a vision transformer's attention by its decay, figure 4 right", _figure_4_vit
    ),
    "figure-5": ListedStudy("rows and norms of pretrained attention, section 4.4", _figure_5),
}
