"""What the factor pairs of a checkpoint come to, head by head: measured on all cores, averaged, compared, printed."""

from rankscope.analysis.analysis import COLUMNS, NULLED, Analysis, analyze
from rankscope.analysis.compare import compare
from rankscope.analysis.means import mean_over, means_of_layers
from rankscope.analysis.text import as_csv, as_json

__all__ = ["COLUMNS", "NULLED", "Analysis", "analyze", "as_csv", "as_json", "compare", "mean_over", "means_of_layers"]
