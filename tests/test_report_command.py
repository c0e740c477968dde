"""`report`: one page about runs, in the folder or where it was asked for; one line for what cannot be written."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from rankscope.commands import cli as front_door

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was stopped before its first reading: the least that a report can be about."""
    from rankscope.records import create_run_directory
    from rankscope.training.settings import config_path, load_settings

    directory = tmp_path_factory.mktemp("runs") / "vit"
    return create_run_directory("vit", load_settings(config_path("vit")).to_yaml(), 0, "torch", "cpu", directory)


def report(*arguments):
    return CliRunner().invoke(front_door.cli, ["report", *map(str, arguments)])


def refused(*arguments):
    result = report(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def test_the_page_is_in_the_folder_or_where_it_was_asked_for(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    result = report(folder)
    assert (result.exit_code, result.stderr) == (0, f"written: {folder / 'report.html'}\n")
    assert "rankscope fit settings.yaml" in (folder / "report.html").read_text()
    shutil.copytree(run, tmp_path / "other")
    page = tmp_path / "both.html"
    assert report(folder, tmp_path / "other", "--html", page).exit_code == 0
    assert "unfinished" in page.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"run", "other", "both.html"}  # nothing half-written


def test_a_study_without_runs(tmp_path):
    claim = {
        **{"id": "a", "source": "eq. 3", "statement": "it falls", "predicted": "1", "measured": "0.9"},
        **{"tolerance": "0.1", "verdict": "holds", "expected": "holds"},
    }
    content = {"version": 1, "study": "figure-1", "backend": "jax", "claims": [claim]}
    (tmp_path / "verdict.json").write_text(json.dumps(content))
    assert report(tmp_path).exit_code == 0
    assert "it falls" in (tmp_path / "report.html").read_text()


def test_one_line_for_each_mistake(run, tmp_path):
    assert refused(tmp_path).startswith(f"Error: There is no run directory at or below {tmp_path}.")
    assert refused(run, run) == "Error: Of several RUNs the page needs a name: --html report.html"
    assert refused(run, "--html", tmp_path / "page.pdf").startswith("Error: --html must name a .html or .htm file.")
    assert refused(run, "--html", tmp_path / "no" / "page.html").startswith(
        "Error: --html must name a file in a folder"
    )
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    (damaged / "summary.json").write_text("{")
    assert str(damaged / "summary.json") in refused(damaged)
    assert not list(Path(damaged).glob("*.html"))
