"""What factor pairs come to, head by head: measured on all cores, averaged, compared, printed.

Of a model's pairs, of a checkpoint's, and of a run's records.
"""

from rankscope.analysis.analyses import Analyses, analyze
from rankscope.analysis.analysis import Analysis, analyze_checkpoint
from rankscope.analysis.columns import COLUMNS, NULLED, PAIR_COLUMNS
from rankscope.analysis.compare import Comparison, compare
from rankscope.analysis.means import mean_over, means_of_layers
from rankscope.analysis.measurements import Measurements, measure
from rankscope.analysis.run import Run, load_run
from rankscope.analysis.text import as_csv, as_json

__all__ = [
    "COLUMNS",
    "NULLED",
    "PAIR_COLUMNS",
    "Analyses",
    "Analysis",
    "Comparison",
    "Measurements",
    "Run",
    "analyze",
    "analyze_checkpoint",
    "as_csv",
    "as_json",
    "compare",
    "load_run",
    "mean_over",
    "means_of_layers",
    "measure",
]
