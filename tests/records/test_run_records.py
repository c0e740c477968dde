"""What a run's records say, however far it got."""

import numpy as np
import pytest

from rankscope.files import write_json
from rankscope.records import SpectraFile, StepTable, read_run_records


def start_run(path, readings=2):
    """Two heads of one layer, read every ten steps."""
    (path / "settings.yaml").write_text("seed: 7\nmodel: {name: vit}\n")
    table = StepTable(path / "ranks.csv", ["cumulative_learning_rate", "pair", "layer", "path", "head", "pseudo_rank"])
    for step in range(0, 10 * readings, 10):
        row = {"step": step, "cumulative_learning_rate": "", "pair": "vo", "layer": 0, "path": "block"}
        table.append([row | {"head": head, "pseudo_rank": step + head} for head in range(2)])


def test_a_run_that_has_ended(tmp_path):
    start_run(tmp_path)
    spectra = SpectraFile(tmp_path / "spectra.npz")
    for step in (0, 10):
        spectra.append(step, {"vo/3": np.full((2, 4), step + 1.0)})
    spectra.close()
    write_json(tmp_path / "summary.json", {"status": "complete"})
    run = read_run_records(tmp_path)
    assert (run.status, run.learned, run.seed, run.history, run.decay_groups) == ("complete", True, 7, {}, [])
    table = run.ranks(["pseudo_rank", "column of a later version"])
    assert table["pseudo_rank"].tolist() == [[0, 1], [10, 11]]
    assert [table[name].tolist() for name in ("step", "pair", "layer", "path", "head")] == [
        [0, 10],
        ["vo", "vo"],
        [0, 0],
        ["block", "block"],
        [0, 1],
    ]
    assert np.isnan(table["cumulative_learning_rate"]).all()
    ((pair, layer, steps, sigma),) = run.spectra()
    assert (pair, layer, steps.tolist(), sigma.shape, sigma[1, 1, 3]) == ("vo", 3, [0, 10], (2, 2, 4), 11)


@pytest.mark.parametrize(("torn", "readings"), [("", 2), ("20,,vo,0,block,0,20\n", 2), ("20,,vo,0", 2)])
def test_an_unfinished_run_has_its_whole_readings(tmp_path, torn, readings):
    start_run(tmp_path)
    with open(tmp_path / "ranks.csv", "a") as file:
        file.write(torn)
    run = read_run_records(tmp_path)
    assert run.status == "unfinished"
    assert run.ranks(["pseudo_rank"])["pseudo_rank"].shape == (readings, 2)
    assert list(run.spectra()) == []


@pytest.mark.parametrize("content", ["", "step,pair", "step,cumulative_learning_rate,pair,layer,path,head\n"])
def test_a_run_without_a_reading(tmp_path, content):
    (tmp_path / "settings.yaml").write_text("seed: 0\n")
    (tmp_path / "ranks.csv").write_text(content)
    assert read_run_records(tmp_path).ranks(["pseudo_rank"]) == {}


def test_no_run(tmp_path):
    with pytest.raises(ValueError, match=r"settings\.yaml"):
        read_run_records(tmp_path)
