"""What analyses of checkpoints look like: one HTML page, and figure 5 of the paper as a picture."""

from rankscope.reports.figure_5 import draw_figure_5, figure_5
from rankscope.reports.page import write_page

__all__ = ["draw_figure_5", "figure_5", "write_page"]
