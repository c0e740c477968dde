"""docs/quickstart.ipynb runs as it stands, and what it says of its numbers is so."""

import nbformat
import pytest

from docs.run_notebook import QUICKSTART, run_notebook
from rankscope import compare, load_run


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    return run_notebook(QUICKSTART, folder), folder


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """What a cell shows, standard error apart: there libraries greet."""
    return [
        sorted(output["data"]) if "data" in output else output["name"]
        for output in cell.outputs
        if output.get("name") != "stderr"
    ]


@pytest.mark.slow
def test_every_cell_runs_and_shows_what_the_committed_one_shows(executed):
    notebook, _ = executed
    committed = nbformat.read(QUICKSTART, as_version=4)
    shown = [kinds(cell) for cell in code_cells(notebook)]
    assert shown == [kinds(cell) for cell in code_cells(committed)]
    assert [["image/png", "text/plain"]] in shown
    assert [["text/html", "text/plain"]] in shown
    assert [cell.execution_count for cell in code_cells(committed)] == list(range(1, len(shown) + 1))


@pytest.mark.slow
def test_decay_lowers_the_rank_of_both_products_in_every_layer(executed):
    _, folder = executed
    runs = [folder / "runs" / name for name in ("no decay", "decay 3")]
    table = compare(*(run / "model.keras" for run in runs)).to_pandas()
    assert (table.groupby(["pair", "layer"])["pseudo_rank"].mean() < -0.1).all()
    last = load_run(runs[1]).ranks.to_pandas().groupby("step").size()
    assert last.to_dict() == dict.fromkeys(range(0, 201, 20), 16)


def test_what_is_committed_names_no_machine():
    text = QUICKSTART.read_text()
    assert "/root" not in text
    assert "/home" not in text
    assert "/tmp" not in text
    assert QUICKSTART.stat().st_size < 500_000
