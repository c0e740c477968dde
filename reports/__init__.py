"""What people look at: HTML pages of checkpoints and of runs, and TensorBoard's server."""

from rankscope.reports.page import write_page

__all__ = ["write_page"]
