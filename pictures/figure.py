"""A figure that a notebook shows, whatever its kernel has been told about matplotlib."""

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure that no window of pyplot owns; as a cell's result it is a PNG.

    Example:
        >>> NotebookFigure(figsize=(1, 1))._repr_png_()[:4]
        b'\\x89PNG'
    """

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()
