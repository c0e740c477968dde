"""Files are replaced whole or not at all."""

import json

import pytest

from rankscope.files import replace_file, write_csv, write_json


def test_a_file_is_made_and_replaced(tmp_path):
    path = tmp_path / "file"
    for content in (b"first", b"second"):
        replace_file(path, lambda file, content=content: file.write(content))
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_writer_that_fails_changes_nothing(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half of the n")
        raise error("disk full")

    with pytest.raises(error, match="disk full"):
        replace_file(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"

    replace_file(path, write)
    assert path.read_bytes() == b"new"


def test_a_leftover_of_a_crash_is_in_nobodys_way(tmp_path):
    path = tmp_path / "file"

    def crash(file):
        file.write(b"a long half-written text")
        (tmp_path / ".file.tmp").with_suffix(".kept").write_bytes(b"")

    replace_file(path, crash)
    (tmp_path / ".file.tmp").write_bytes(b"left by a process that was killed")
    replace_file(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert not (tmp_path / ".file.tmp").exists()


def test_json_is_readable_for_people(tmp_path):
    content = {"model": "vit", "loss": 0.1, "note": "κ²", "nested": {"steps": [1, 2]}}
    write_json(tmp_path / "summary.json", content)
    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert text.splitlines()[:2] == ["{", '  "model": "vit",']
    assert text.endswith("}\n")
    assert "κ²" in text


def test_json_that_cannot_be_written_leaves_the_old(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"steps": 1})
    with pytest.raises(TypeError):
        write_json(path, {"steps": object()})
    assert json.loads(path.read_text()) == {"steps": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_csv_file_has_empty_cells_where_a_row_has_nothing(tmp_path):
    path = tmp_path / "folder" / "table.csv"
    write_csv(path, ["a", "b"], [{"a": 0.1, "b": "x,y"}, {"b": 1e-8}])
    assert path.read_text() == 'a,b\n0.1,"x,y"\n,1e-08\n'
