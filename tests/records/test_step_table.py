"""CSV files that grow by steps, and are cut back by a resume."""

import csv
import math
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankscope.records import StepTable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.csv"


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def filled(path, steps=(0, 5, 5, 10)):
    table = StepTable(path, ["loss"])
    for step in steps:
        table.append([{"step": step, "loss": step / 4}])
    return path.read_text()


def test_it_grows_row_by_row(path):
    table = StepTable(path, ["loss", "val_loss"])
    assert not path.exists()
    table.append([{"step": 0, "loss": 1.5}, {"step": 1, "val_loss": 2.5}])
    assert path.read_text() == "step,loss,val_loss\n0,1.5,\n1,,2.5\n"
    table.append([{"step": 2, "loss": 0.5, "val_loss": 0.25}])
    assert path.read_text() == "step,loss,val_loss\n0,1.5,\n1,,2.5\n2,0.5,0.25\n"


def test_text_with_commas_is_quoted(path):
    StepTable(path, ["path"]).append([{"step": 0, "path": 'a,"b"/κ'}])
    assert rows(path) == [{"step": "0", "path": 'a,"b"/κ'}]


def test_an_unknown_column_is_refused(path):
    with pytest.raises(ValueError, match="accuracy"):
        StepTable(path, ["loss"]).append([{"step": 0, "accuracy": 1.0}])


@given(st.floats(allow_nan=False))
def test_floats_come_back_bit_for_bit(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("table") / "ranks.csv"
    StepTable(path, ["value"]).append([{"step": 0, "value": value}])
    assert struct.pack("d", float(rows(path)[0]["value"])) == struct.pack("d", value)


def test_numpy_numbers_and_nan_are_written_as_numbers(path):
    values = {"a": np.float64(0.1), "b": np.float32(0.1), "c": np.int64(3), "d": math.nan}
    StepTable(path, values).append([{"step": np.int64(7), **values}])
    (row,) = rows(path)
    assert (row["step"], row["a"], row["c"]) == ("7", "0.1", "3")
    assert np.float32(row["b"]) == np.float32(0.1)
    assert math.isnan(float(row["d"]))


def test_an_existing_file_is_refused(path):
    before = filled(path)
    with pytest.raises(FileExistsError, match=f"^{re.escape(str(path))} exists already$"):
        StepTable(path, ["loss"])
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("keep_until", "kept"), [(0, [0]), (4, [0]), (5, [0, 5, 5]), (9, [0, 5, 5]), (99, [0, 5, 5, 10])]
)
def test_a_resume_drops_later_rows(path, keep_until, kept):
    filled(path)
    table = StepTable(path, ["loss"], keep_until=keep_until)
    assert [int(row["step"]) for row in rows(path)] == kept
    table.append([{"step": 100, "loss": 0.0}])
    assert [int(row["step"]) for row in rows(path)] == [*kept, 100]
    assert path.read_text().count("step,loss\n") == 1
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("cut", range(1, len("10,2.5\n") + 1))
def test_a_torn_last_line_is_dropped(path, cut):
    whole = filled(path)
    path.write_text(whole[:-cut])
    StepTable(path, ["loss"], keep_until=99)
    assert path.read_text() == whole.removesuffix("10,2.5\n")


@pytest.mark.parametrize("torn", ["", "st", "step,loss"])
def test_a_torn_header_is_written_anew(path, torn):
    path.write_text(torn)
    StepTable(path, ["loss"], keep_until=0).append([{"step": 1, "loss": 0.5}])
    assert path.read_text() == "step,loss\n1,0.5\n"


def test_a_table_that_an_earlier_version_began_keeps_its_columns(path):
    """A version in between has added `accuracy`: a file of two widths could not be read back."""
    path.write_text("step,loss\n0,0.5\n")
    StepTable(path, ["loss", "accuracy"], keep_until=0).append([{"step": 1, "loss": 0.25, "accuracy": 0.9}])
    assert path.read_text() == "step,loss\n0,0.5\n1,0.25\n"


def test_a_resume_may_find_no_file(path):
    StepTable(path, ["loss"], keep_until=3).append([{"step": 4, "loss": 0.5}])
    assert path.read_text() == "step,loss\n4,0.5\n"


def test_a_resumed_table_equals_the_unbroken_one(tmp_path):
    unbroken, broken = tmp_path / "unbroken.csv", tmp_path / "broken.csv"
    expected = filled(unbroken, range(10))
    filled(broken, range(7))  # the state to resume from was of step 4
    table = StepTable(broken, ["loss"], keep_until=4)
    for step in range(5, 10):
        table.append([{"step": step, "loss": step / 4}])
    assert broken.read_text() == expected
