"""Singular values over time: the growing file, its end as npz, and what a crash in between leaves."""

import numpy as np
import pytest

from rankscope.records import SpectraFile

NAMES = {"qk/0": (2, 4), "vo/0": (2, 4), "product/1": (1, 3)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spectra.npz"


def reading(step):
    """Numbers that differ by step, pair and place, and that float32 could not hold."""
    rng = np.random.default_rng(step)
    return {name: np.sort(rng.uniform(size=shape))[:, ::-1] for name, shape in NAMES.items()}


def fill(path, steps, close=True, **kwargs):
    file = SpectraFile(path, **kwargs)
    for step in steps:
        file.append(step, reading(step))
    if close:
        file.close()


def check(path, steps):
    """The file holds exactly these readings, to the bit, and nothing lies beside it."""
    with np.load(path) as file:
        assert file.files == ["steps", *NAMES]
        assert file["steps"].dtype == "int64"
        np.testing.assert_array_equal(file["steps"], steps)
        for name, shape in NAMES.items():
            assert file[name].shape == (len(steps), *shape)
            np.testing.assert_array_equal(file[name], [reading(step)[name] for step in steps])
    assert list(path.parent.iterdir()) == [path]


def test_it_holds_every_reading(path):
    fill(path, [0, 10, 20])
    check(path, [0, 10, 20])


def test_nothing_is_called_npz_before_the_end(path):
    fill(path, [0, 10], close=False)
    assert [file.name for file in path.parent.iterdir()] == ["spectra.part"]
    assert (path.parent / "spectra.part").stat().st_size == 2 * 8 * (1 + 8 + 8 + 3)


@pytest.mark.parametrize(("keep_until", "kept"), [(0, [0]), (10, [0, 10]), (15, [0, 10]), (99, [0, 10, 20])])
def test_a_resume_drops_later_readings(path, keep_until, kept):
    fill(path, [0, 10, 20], close=False)
    fill(path, [100, 110], keep_until=keep_until)
    check(path, [*kept, 100, 110])


@pytest.mark.parametrize("torn", [1, 8, 100, 159])
def test_a_torn_tail_is_dropped(path, torn):
    fill(path, [0, 10, 20], close=False)
    growing = path.with_suffix(".part")
    growing.write_bytes(growing.read_bytes()[:-torn])
    fill(path, [20, 30], keep_until=15)
    check(path, [0, 10, 20, 30])


def test_a_torn_tail_is_dropped_though_its_step_would_be_kept(path):
    fill(path, [0, 10, 20], close=False)
    growing = path.with_suffix(".part")
    growing.write_bytes(growing.read_bytes()[:-3])
    fill(path, [30], keep_until=20)
    check(path, [0, 10, 30])


def test_a_resume_may_find_no_file(path):
    fill(path, [10], keep_until=5)
    check(path, [10])


def test_a_resume_after_the_end_goes_on_from_the_finished_file(path):
    fill(path, [0, 10, 20])
    fill(path, [20, 30], keep_until=10)
    check(path, [0, 10, 20, 30])


@pytest.mark.parametrize("finished", [False, True])
def test_a_resume_without_a_new_reading_loses_nothing(path, finished):
    fill(path, [0, 10, 20], close=finished)
    SpectraFile(path, keep_until=20).close()
    if not finished:
        fill(path, [30], keep_until=20)
    check(path, [0, 10, 20] if finished else [0, 10, 20, 30])


def test_a_file_may_go_on_after_it_was_closed(path):
    """As when `fit` is called twice with one monitor."""
    file = SpectraFile(path)
    for steps in ([0, 10], [20]):
        for step in steps:
            file.append(step, reading(step))
        file.close()
    file.close()
    check(path, [0, 10, 20])


@pytest.mark.parametrize("finished", [False, True])
def test_an_existing_file_is_refused(path, finished):
    fill(path, [0], close=finished)
    (existing,) = path.parent.iterdir()
    before = existing.read_bytes()
    with pytest.raises(FileExistsError, match=f"{existing.name} exists already$"):
        SpectraFile(path)
    assert existing.read_bytes() == before


def test_a_closed_file_is_whole_or_absent(path, monkeypatch):
    """Where writing the npz fails, the readings are still in the growing file."""
    file = SpectraFile(path)
    file.append(0, reading(0))

    def fail(*args, **kwargs):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", fail)
        with pytest.raises(OSError, match="disk full"):
            file.close()
    assert [file.name for file in path.parent.iterdir()] == ["spectra.part"]
    file.close()
    check(path, [0])
