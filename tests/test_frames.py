"""Tables as DataFrames and HTML."""

import sys

import numpy as np
import pytest

from rankscope.frames import SHOWN_COLUMNS, Frame

pytestmark = pytest.mark.once

EVIL = "<script>alert(1)</script>[bold]$x$"


def frame(rows=3):
    return Frame(
        {
            "path": np.array([f"{EVIL}{row}" for row in range(rows)]),
            "layer": np.arange(rows),
            "pseudo_rank": np.linspace(0.1, 1, rows),
        }
    )


def test_both_dataframes_hold_the_columns_as_they_are():
    pandas, polars = frame().to_pandas(), frame().to_polars()
    for found in (pandas, polars):
        assert list(found.columns) == ["path", "layer", "pseudo_rank"]
        assert found["pseudo_rank"].to_list() == [0.1, 0.55, 1.0]
        assert found["path"].to_list() == [f"{EVIL}{row}" for row in range(3)]
    assert [str(kind) for kind in polars.dtypes] == ["String", "Int64", "Float64"]
    assert [kind.kind for kind in pandas.dtypes] == ["O", "i", "f"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_what_is_missing_is_named_with_its_extra(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    expected = rf"^to_{library}\(\) needs {library}, which is not installed: pip install 'rankscope\[frames\]'$"
    with pytest.raises(ModuleNotFoundError, match=expected):
        getattr(frame(), f"to_{library}")()


def test_html_shows_both_ends_and_escapes_all_text():
    html = frame(rows=100)._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;[bold]$x$0 " in html
    rows = [line for line in html.splitlines() if "alert" in line]
    assert len(rows) == 10
    assert "[bold]$x$99 " in rows[-1]
    assert "100 rows, 3 columns\n" in html


def test_of_many_columns_the_first_are_shown():
    wide = Frame({f"column_{number}": np.arange(2) for number in range(40)})
    assert f"2 rows, 40 columns, {SHOWN_COLUMNS} of them shown" in wide._repr_html_()
    assert repr(wide).endswith(f"column_{SHOWN_COLUMNS - 1}, … (40 columns)")


def test_a_table_without_rows():
    empty = Frame({"step": np.empty(0), "loss": np.empty(0)})
    assert empty.to_pandas().shape == empty.to_polars().shape == (0, 2)
    assert "0 rows, 2 columns" in empty._repr_html_()
    assert len(Frame({}).to_pandas()) == 0


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"of one length\. Received: {'a': 1, 'b': 2}"):
        Frame({"a": np.arange(1), "b": np.arange(2)})
