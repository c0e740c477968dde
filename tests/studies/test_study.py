"""The runner: settings, directory, records, verdicts, and what is left of a study that breaks."""

import csv
import json

import pytest
import yaml
from matplotlib.figure import Figure

from studies import STUDIES
from studies.study import Study, run_study
from studies.verdict import Case, Claim
from training.settings_reader import Count, Section, Seeds, UserError, check_settings


class Sizes(Section):
    size: Count = 3
    seeds: Seeds = [0, 1]  # noqa: RUF012


def measure(settings, writer):
    writer.table("sizes", [{"size": settings.size, "double": 0.1 * settings.size}])
    figure = Figure()
    figure.subplots().plot([0, 1], [0, settings.size])
    writer.figure("toy", figure)
    return [Claim("toy.size", "nowhere", "the size is three", [Case("size", 3.0, settings.size, 0.0)])]


TOY = Study("toy", "a toy", Sizes, measure)


def test_a_study_writes_its_directory(tmp_path, capsys):
    directory, as_expected = run_study(TOY, [], tmp_path / "toy", echo=print)
    assert as_expected
    assert {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()} == {
        *("study.yaml", "environment.json", "records.csv", "records/sizes.csv", "toy.png", "toy.svg", "verdict.json"),
    }
    assert yaml.safe_load((directory / "study.yaml").read_text()) == {"study": "toy", "size": 3, "seeds": [0, 1]}
    verdict = json.loads((directory / "verdict.json").read_text())
    assert (verdict["version"], verdict["study"]) == (1, "toy")
    (entry,) = verdict["claims"]
    keys = ["id", "source", "statement", "predicted", "measured", "tolerance", "verdict", "expected"]
    assert list(entry)[:8] == keys
    assert entry["verdict"] == "holds"
    with open(directory / "records.csv") as file:
        assert [row["claim"] for row in csv.DictReader(file)] == ["toy.size"]
    with open(directory / "records" / "sizes.csv") as file:
        assert float(next(csv.DictReader(file))["double"]) == 0.1 * 3
    assert "toy.size" in capsys.readouterr().out


def test_the_same_picture_is_the_same_file(tmp_path):
    first, _ = run_study(TOY, [], tmp_path / "first")
    second, _ = run_study(TOY, [], tmp_path / "second")
    assert (first / "toy.svg").read_bytes() == (second / "toy.svg").read_bytes()


def test_another_verdict_than_the_expected_one_is_told(tmp_path):
    _, as_expected = run_study(TOY, [("size", 4)], tmp_path / "toy")
    assert not as_expected


def test_a_study_that_breaks_leaves_nothing(tmp_path):
    def diverge(settings, writer):
        writer.table("half", [{"a": 1}])
        raise FloatingPointError("kernel is not finite any more at step 2")

    with pytest.raises(UserError, match="study toy: kernel is not finite any more at step 2"):
        run_study(Study("toy", "", Sizes, diverge), [], tmp_path / "toy")
    assert not (tmp_path / "toy").exists()


def test_a_directory_that_exists_is_left_alone(tmp_path):
    (tmp_path / "toy").mkdir()
    with pytest.raises(UserError, match=r"The study directory exists already: .*toy\. Name another one"):
        run_study(TOY, [], tmp_path / "toy")


@pytest.mark.parametrize(("given", "seeds"), [(2, [0, 1]), ("4,7", [4, 7]), ("4,", [4]), ([3], [3]), ("4, 7", [4, 7])])
def test_seeds_are_a_number_or_a_list(given, seeds):
    assert check_settings(Sizes, {}, "toy", [("seeds", given)]).seeds == seeds


@pytest.mark.parametrize("given", [0, "a,b", [-1], True, None])
def test_seeds_that_make_no_sense_are_refused(given):
    with pytest.raises(UserError, match="--set or a flag: seeds"):
        check_settings(Sizes, {}, "toy", [("seeds", given)])


def test_the_registry_knows_each_study_by_its_name():
    assert all(name == study.name for name, study in STUDIES.items())
    assert "figure-1" in STUDIES
