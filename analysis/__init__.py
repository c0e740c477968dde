"""What the factor pairs of a checkpoint come to, head by head: measured on all cores, averaged, compared, printed."""

from analysis.analysis import COLUMNS, NULLED, Analysis, analyze
from analysis.compare import compare
from analysis.means import mean_over, means_of_layers
from analysis.text import as_csv, as_json

__all__ = ["COLUMNS", "NULLED", "Analysis", "analyze", "as_csv", "as_json", "compare", "mean_over", "means_of_layers"]
