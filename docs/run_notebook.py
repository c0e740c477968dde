"""Runs docs/quickstart.ipynb and keeps its outputs: python docs/run_notebook.py [NOTEBOOK]."""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).parent
QUICKSTART = DOCS / "quickstart.ipynb"


def run_notebook(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run all cells in a process of their own, on this process's backend, with this checkout on the path.

    Args:
        path: of the notebook, which is left as it is.
        folder: its working directory.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: with the traceback of the cell that failed.
    """
    notebook = nbformat.read(path, as_version=4)
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent.absolute())}
    client = NotebookClient(notebook, timeout=300, record_timing=False)
    client.execute(env=environment, cwd=str(folder))
    notebook.metadata["language_info"] = {"name": "python"}  # and not the version that happened to run it
    return notebook


def without_start_up_lines(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out standard error: what TensorFlow, XLA and absl say of the machine when they are loaded."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else QUICKSTART
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(without_start_up_lines(run_notebook(path, Path(folder))), path)
