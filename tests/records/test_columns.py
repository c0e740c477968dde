"""Columns of CSV files."""

import numpy as np
import pytest

from rankscope.records import StepTable, read_columns


def test_columns_come_back_as_they_were_written(tmp_path):
    table = StepTable(tmp_path / "ranks.csv", ["pair", "gap", "other"])
    table.append([{"step": 0, "pair": "qk", "gap": 0.1 + 0.2, "other": "x"}, {"step": 0, "pair": "a,b", "gap": -1e-15}])
    table.append([{"step": 7, "pair": "vo", "gap": ""}])
    found = read_columns(tmp_path / "ranks.csv", ["gap", "step"], ["pair"])
    assert list(found) == ["gap", "step", "pair"]
    assert found["gap"][:2].tolist() == [0.1 + 0.2, -1e-15]
    assert np.isnan(found["gap"][2])
    assert found["step"].tolist() == [0, 0, 7]
    assert found["pair"].tolist() == ["qk", "a,b", "vo"]


def test_a_file_without_rows_has_empty_columns(tmp_path):
    (tmp_path / "empty.csv").write_text("step,gap\n")
    assert read_columns(tmp_path / "empty.csv", ["gap"])["gap"].shape == (0,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,rank\n0,1\n", r"damaged\.csv lacks the columns gap\. Received: step, rank"),
        ("", r"damaged\.csv lacks the columns step, gap\. Received: $"),
        ("step,gap\n0,1\n1,two\n", r"damaged\.csv, line 3: could not convert string to float: 'two'\. Received: 1,two"),
        ("step,gap\n0,1\n1\n", r"damaged\.csv, line 3: list index out of range\. Received: 1"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "damaged.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_columns(tmp_path / "damaged.csv", ["step", "gap"])


def test_a_growing_file_may_end_in_the_midst_of_a_line(tmp_path):
    (tmp_path / "ranks.csv").write_text("step,gap\n0,1\n1")
    assert read_columns(tmp_path / "ranks.csv", ["gap"], growing=True)["gap"].tolist() == [1]
