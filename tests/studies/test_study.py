"""The runner: settings, directory, records, verdicts, and what is left of a study that breaks."""

import csv
import json

import pytest
import yaml
from matplotlib.figure import Figure

from rankscope.errors import UserError
from rankscope.settings import Count, Section, Seeds, check_settings
from rankscope.studies import STUDIES, ListedStudy
from rankscope.studies.study import Penalties, Study, resume_study, run_study
from rankscope.studies.verdict import Case, Claim
from rankscope.sweeps.run_queue import InterruptedSweepError


class Sizes(Section):
    size: Count = 3
    seeds: Seeds = [0, 1]  # noqa: RUF012


def measure(settings, writer):
    writer.table("sizes", [{"size": settings.size, "double": 0.1 * settings.size}])
    figure = Figure()
    figure.subplots().plot([0, 1], [0, settings.size])
    writer.figure("toy", figure)
    return [Claim("toy.size", "nowhere", "the size is three", [Case("size", 3.0, settings.size, 0.0)])]


TOY = Study("toy", Sizes, measure)


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
        run_study(Study("toy", Sizes, diverge), [], tmp_path / "toy")
    assert not (tmp_path / "toy").exists()


def test_a_directory_that_exists_is_left_alone(tmp_path):
    (tmp_path / "toy").mkdir()
    with pytest.raises(
        UserError,
        match=r"The study directory exists already: .*toy\. Go on with it by study --resume .*toy, or name another one",
    ):
        run_study(TOY, [], tmp_path / "toy")


@pytest.mark.parametrize(("given", "seeds"), [(2, [0, 1]), ("4,7", [4, 7]), ("4,", [4]), ([3], [3]), ("4, 7", [4, 7])])
def test_seeds_are_a_number_or_a_list(given, seeds):
    assert check_settings(Sizes, {}, "toy", [("seeds", given)]).seeds == seeds


class Decays(Section):
    l2: Penalties = [0.0]  # noqa: RUF012


@pytest.mark.parametrize(
    ("given", "decays"), [(0.3, [0.3]), ("0,0.3", [0.0, 0.3]), ("1e-3", [1e-3]), ([0, 1], [0.0, 1.0])]
)
def test_decays_are_a_number_or_a_list(given, decays):
    assert check_settings(Decays, {}, "toy", [("l2", given)]).l2 == decays


@pytest.mark.parametrize("given", ["", "0,,1", "0,x", -1, True, None, "nan"])
def test_decays_that_make_no_sense_are_refused(given):
    with pytest.raises(UserError, match="--set or a flag: l2"):
        check_settings(Decays, {}, "toy", [("l2", given)])


@pytest.mark.parametrize("given", [0, "a,b", [-1], True, None])
def test_seeds_that_make_no_sense_are_refused(given):
    with pytest.raises(UserError, match="--set or a flag: seeds"):
        check_settings(Sizes, {}, "toy", [("seeds", given)])


def test_the_registry_knows_each_study_by_its_name():
    assert all(name == listed.load().name for name, listed in STUDIES.items())
    assert "figure-1" in STUDIES


def interrupted(settings, writer):
    """Stops the first time, as a sweep does when it is told to, and goes on from there the second time."""
    runs = writer.directory / "runs"
    if not runs.exists():
        runs.mkdir()
        raise InterruptedSweepError(15, runs / "sweep")
    return measure(settings, writer)


LONG = Study("long", Sizes, interrupted, quick={"size": 2, "seeds": [7]})


def test_a_broken_study_is_gone_on_with(tmp_path):
    directory = tmp_path / "long"
    with pytest.raises(InterruptedSweepError) as stop:
        run_study(LONG, [("size", 5)], directory)
    assert (stop.value.signal_number, stop.value.directory) == (15, directory)
    found, as_expected = resume_study({"long": ListedStudy("", lambda: LONG)}, directory)
    assert found == directory
    assert not as_expected  # with the size it was begun with
    with pytest.raises(UserError, match=r"long is complete, there is nothing to go on with"):
        resume_study({"long": ListedStudy("", lambda: LONG)}, directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study.yaml": None}, r"long is not the directory of a study: it has no study\.yaml"),
        ({"study.yaml": "study: lnog\nsize: 3\n"}, r"study\.yaml: there is no study lnog \(did you mean long\?\)"),
        ({"study.yaml": "study: long\nsizes: 3\n"}, r"study\.yaml: unknown key sizes \(did you mean size\?\)"),
        ({"environment.json": '{"backend": "theano"}'}, r"was begun on theano and can only go on there"),
    ],
)
def test_a_directory_that_cannot_be_gone_on_with_is_refused(tmp_path, change, message):
    directory = tmp_path / "long"
    with pytest.raises(InterruptedSweepError):
        run_study(LONG, [], directory)
    for name, text in change.items():
        (directory / name).unlink()
        if text is not None:
            (directory / name).write_text(text)
    with pytest.raises(UserError, match=message):
        resume_study({"long": ListedStudy("", lambda: LONG)}, directory)


def test_the_quick_form_goes_under_what_is_asked_for(tmp_path):
    with pytest.raises(InterruptedSweepError):
        run_study(LONG, [("seeds", [1])], tmp_path / "long", quick=True)
    assert yaml.safe_load((tmp_path / "long" / "study.yaml").read_text()) == {"study": "long", "size": 2, "seeds": [1]}


def test_a_study_without_a_quick_form_says_so(tmp_path):
    with pytest.raises(UserError, match="study toy has no quick form: it takes a minute or two as it is"):
        run_study(TOY, [], tmp_path / "toy", quick=True)
    assert not (tmp_path / "toy").exists()
