"""Documents out of files: however they are cut into blocks, and wherever reading begins again, they are the same."""

import gzip
import json
import re
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rankscope.data import documents
from rankscope.data.documents import BadLine, Place, addresses_folder, find_files, read_blocks, texts_of
from rankscope.data.vocabulary import load_vocabulary

pytestmark = pytest.mark.once


def pieces(content):
    return [content[start : start + 100] for start in range(0, len(content), 100)]


PACKERS = {
    "": lambda content: content,
    ".gz": lambda content: b"".join(map(gzip.compress, pieces(content))),  # members and frames, one after the other
    ".zst": lambda content: b"".join(map(zstandard.compress, pieces(content))),
}
LINES = b"".join(json.dumps({"text": f"document {number} " * number}).encode() + b"\n" for number in range(50))


def read(files, start=None, block_bytes=64, max_line=10_000):
    return list(read_blocks(files, start or Place(), block_bytes, max_line))


def read_all(files, start=None, **sizes):
    """Texts and bad lines of files; the pieces of a plain text joined."""
    return join(read(files, start, **sizes), sizes.get("max_line", 10_000))


def join(blocks, max_line=10_000):
    found, piece = [], ""
    for block in blocks:
        for text in texts_of(block, max_line):
            if block.is_json or isinstance(text, BadLine):
                found.append(text)
            else:
                piece += text
        if block.ends:
            found.append(piece)
            piece = ""
    return found


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("block_bytes", [1, 64, 10**6])
def test_lines_of_json_are_documents(tmp_path, packed, block_bytes):
    path = tmp_path / f"a.jsonl{packed}"
    path.write_bytes(PACKERS[packed](LINES))
    assert read_all([path], block_bytes=block_bytes) == [f"document {number} " * number for number in range(50)]


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_reading_goes_on_after_any_block(tmp_path, monkeypatch, packed, name):
    monkeypatch.setattr(documents, "_OUTPUT", 50)
    path, other = tmp_path / f"{name}{packed}", tmp_path / f"b{name}"
    path.write_bytes(PACKERS[packed](LINES))
    other.write_bytes(b'{"text": "the last one"}')
    whole = read([path, other])
    assert len(whole) > 10
    for done, block in enumerate(whole, 1):
        assert join([*whole[:done], *read([path, other], block.next)]) == join(whole)


def test_each_bad_line_is_named_with_its_reason(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        (b'{"text": "good"}', "good"),
        (b'{"text": "unfinish', "not JSON"),
        (b"", None),  # nothing is lost with an empty line
        (b"[1]", "no JSON object"),
        (b'{"texts": "x"}', 'without "text"'),
        (b'{"text": null}', '"text" is no string'),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b"[" * 5000, "not JSON"),  # brackets nested deeper than Python's stack
        (b'{"text": "' + b"x" * 10_001 + b'"}', "longer than 10000 bytes"),
        (b'{"text": "", "n": ' + b"9" * 5000 + b"}", "not JSON"),  # more digits than Python converts
        (b'{"text": "<|endoftext|>\\u2028 a", "meta": {}}\r', "<|endoftext|>\u2028 a"),
        (b'{"text": ""}', ""),
    ]
    path.write_bytes(b"\n".join(line for line, _ in lines))
    for block_bytes in (1, 64, 10**6):
        found = read_all([path], block_bytes=block_bytes)
        assert found == [
            BadLine(number, result) if result not in ("good", "", "<|endoftext|>\u2028 a") else result
            for number, (_, result) in enumerate(lines, 1)
            if result is not None
        ]


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_a_giant_line_is_passed_over_in_little_memory(tmp_path, packed):
    """20 MB in one line, of which at most 1 MB may be kept; a packed kilobyte is unpacked as a whole."""
    path = tmp_path / f"a.jsonl{packed}"
    giant = b'{"text": "' + b"x" * 20_000_000 + b'"}\n'
    path.write_bytes({"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packed](giant + LINES))
    del giant
    tracemalloc.start()
    try:
        found = read_all([path], max_line=1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found[0] == BadLine(1, "longer than 1000000 bytes")
    assert found[1:] == [f"document {number} " * number for number in range(50)]
    assert peak < (50_000_000 if packed == ".zst" else 4_000_000)


# === Plain text ===


@given(text=st.text(alphabet="aé中 \n\t\u3000\x1c'.", max_size=300), block_bytes=st.integers(1, 50))
def test_a_text_is_cut_where_its_tokens_part(tmp_path_factory, text, block_bytes):
    """Pieces have the tokens of the whole: GPT-2's pattern never reaches over the seams."""
    encode = load_vocabulary("gpt2").encode
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(text.encode())
    old, documents._OUTPUT = documents._OUTPUT, 7
    try:
        blocks = read([path], block_bytes=block_bytes)
    finally:
        documents._OUTPUT = old
    pieces = [piece for block in blocks for piece in texts_of(block, 10_000)]
    assert "".join(pieces) == text
    assert [int(i) for piece in pieces for i in encode(piece)] == encode(text).tolist()
    assert [block.ends for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_bad_lines_of_a_text_are_named_and_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "_OUTPUT", 10)
    path = tmp_path / "a.txt"
    path.write_bytes(b"one two three\nfour\xff five\nsix seven\n\xfe\neight nine\n")
    for block_bytes in (1, 20, 1000):
        found = read_all([path], block_bytes=block_bytes)
        assert sorted(line for line in found if isinstance(line, BadLine)) == [(2, "not UTF-8"), (4, "not UTF-8")]
        assert found[-1].replace(" five", "") == "one two three\nsix seven\neight nine\n"


def test_a_file_without_white_space_is_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 1_000_000)
    with pytest.raises(ValueError, match=r"a\.txt cannot be read .*: it is no text, without white space in 1000 bytes"):
        read_all([path], max_line=1000)


# === Files ===


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_a_file_that_was_cut_off_is_an_error(tmp_path, packed):
    """Readers of Zstandard take it for the end, and half of a download would be missing in silence."""
    path = tmp_path / f"a.jsonl{packed}"
    whole = {".gz": gzip.compress, ".zst": zstandard.compress}[packed](LINES)
    for content in (whole[: len(whole) // 2], whole[:-1], whole[:20] + bytes(20) + whole[40:], b"no archive"):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"a\.jsonl{packed} cannot be read to its end, replace it or leave it out"
        ):
            read_all([path])


def test_files_of_a_folder_come_in_the_order_of_their_names(tmp_path):
    (tmp_path / "deeper").mkdir()
    for name in ("b.txt", "a.jsonl.zst", "deeper/c.jsonl.gz", "README.md", "d.json", "e.txt.zst"):
        (tmp_path / name).write_bytes(b"")
    files, others = find_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in files] == [
        *("a.jsonl.zst", "b.txt", "deeper/c.jsonl.gz", "e.txt.zst")
    ]
    assert others == 2


def test_what_is_left_out_of_a_folder_is_counted(tmp_path):
    """Of four links the one to a file is followed; those to folders may run in circles."""
    (tmp_path / "text.txt").write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, target in [("a.txt", "../text.txt"), ("b.txt", "nowhere"), ("circle", "."), ("up", "..")]:
        (folder / name).symlink_to(target)
    files, others = find_files(folder)
    assert ([path.name for path in files], others) == (["a.txt"], 3)


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("x")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(documents.os, "scandir", refuse)
    with pytest.raises(PermissionError, match=re.escape(str(tmp_path))):
        find_files(tmp_path)


def test_a_folder_without_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    for source in (tmp_path, tmp_path / "a.csv", tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"^There is no text to read: \.jsonl, .* Received: .*"):
            find_files(source)


def test_there_are_249_addresses():
    files, others = find_files(addresses_folder())
    assert (len(files), others, files[0].name) == (249, 0, "1790-Washington-1.txt")
