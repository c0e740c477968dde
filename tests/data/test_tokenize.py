"""Tokenizing: the ids of tiktoken, and after a kill the same bytes as without one."""

import csv
import fcntl
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
from itertools import chain
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import zstandard

from rankscope.data.shards import Tokens, open_tokens, read_index
from rankscope.data.tokenize import Sizes, tokenize
from rankscope.data.vocabulary import load_vocabulary

pytestmark = pytest.mark.once

GPT2 = load_vocabulary("gpt2")
TEXTS = [f"Document {number}, a wörd “twice”: {'word ' * (number % 7)}\n" * (1 + number % 5) for number in range(40)]
EOS = 50256
# Small, so that a small text makes many blocks, shards and places to go on from.
SMALL = {"sizes": Sizes(block_bytes=100, shard_tokens=97, checkpoint_bytes=300), "jobs": 1}


@pytest.fixture
def source(tmp_path):
    """40 documents: 20 and 10 in packed lines of JSON between two bad ones, then 10 plain texts."""
    folder = tmp_path / "source"
    folder.mkdir()
    lines = [json.dumps({"text": text, "meta": {"pile_set_name": "Test"}}).encode() for text in TEXTS[:30]]
    bad = [b'{"text": 1}', *lines[:20], b"{"]
    (folder / "a.jsonl.zst").write_bytes(zstandard.compress(b"\n".join(bad) + b"\n"))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[20:])))
    for number, text in enumerate(TEXTS[30:]):
        (folder / f"c{number}.txt").write_bytes(text.encode())
    (folder / "README.md").write_text("no text")
    return folder


def tokens_of(directory, part):
    tokens = open_tokens(directory, read_index(directory), part)
    return tokens.windows(np.array([0]), len(tokens))[0].tolist()


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(
    "arguments", [{"jobs": 1}, SMALL, SMALL | {"jobs": 3}], ids=["one shard", "many shards", "three processes"]
)
def test_tokens_are_tiktokens_with_eos_behind_each_document(source, tmp_path, arguments):
    """Of 40 documents the 10th, 20th, 30th and 40th are held out."""
    index = tokenize(source, tmp_path / "out", **arguments)
    ids = [[*GPT2._encoding.encode_ordinary(text), EOS] for text in TEXTS]
    kept = [document for number, document in enumerate(ids, 1) if number % 10]
    assert tokens_of(tmp_path / "out", "train") == list(chain(*kept))
    assert tokens_of(tmp_path / "out", "validation") == list(chain(*ids[9::10]))
    assert index["documents"] == {"train": 36, "validation": 4}
    assert index["tokens"] == {"train": sum(map(len, kept)), "validation": sum(map(len, ids[9::10]))}
    shards = sorted((tmp_path / "out").glob("train-*.bin"))
    assert len(shards) == -(-index["tokens"]["train"] // arguments.get("sizes", Sizes()).shard_tokens)
    assert not (tmp_path / "out.part").exists()


def test_the_index_tells_where_tokens_come_from(source, tmp_path):
    index = tokenize(source, tmp_path / "out", "characters", held_out_every=4, jobs=1)
    assert index == json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["vocabulary"] == {"name": "characters", "size": 99, "sha256": load_vocabulary("characters").sha256}
    assert index["documents"] == {"train": 30, "validation": 10}
    assert index["unknown"] == sum(text.count(c) for text in TEXTS for c in "ö“”") == 3 * 120
    assert [file["name"] for file in index["source"]["files"]][:3] == ["a.jsonl.zst", "b.jsonl.gz", "c0.txt"]
    assert index["source"]["files"][3] == {"name": "c1.txt", "bytes": len(TEXTS[31].encode())}
    assert index["source"]["other_files"] == 1


def test_bad_lines_are_counted_and_named(source, tmp_path):
    assert tokenize(source, tmp_path / "out", **SMALL)["bad_lines"] == 2
    with open(tmp_path / "out" / "bad_lines.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["file", "line", "reason"],
            ["a.jsonl.zst", "1", '"text" is no string'],
            ["a.jsonl.zst", "22", "not JSON"],
        ]


# === Broken off ===

KILLED = """
import os, signal, sys
from pathlib import Path
from rankscope.data.tokenize import Sizes, tokenize
blocks = 0
def progress(done, total):
    global blocks
    blocks += 1
    if blocks == {blocks}:
        os.kill(os.getpid(), signal.SIGKILL)
tokenize(Path(sys.argv[1]), Path(sys.argv[2]), progress=progress, **{arguments})
"""


def killed(source, to, blocks, jobs):
    """Tokenize in a process of its own and kill it after so many blocks.

    Its workers have its output open: there is an end to that only when all of them have ended, too.
    """
    script = KILLED.format(blocks=blocks, arguments=SMALL | {"jobs": jobs})
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", script, source, to], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == -signal.SIGKILL, result.stderr


@pytest.mark.parametrize("blocks", [{1: 1}, {12: 2, 2: 1, 9: 1}])
def test_after_a_kill_the_output_is_that_of_an_unbroken_call(source, tmp_path, blocks):
    tokenize(source, tmp_path / "whole", **SMALL)
    for count, jobs in blocks.items():
        killed(source, tmp_path / "out", count, jobs)
    assert not (tmp_path / "out").exists()
    first = []
    tokenize(source, tmp_path / "out", progress=lambda done, total: first.append(done), **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    if sum(blocks) > 1:  # it did not begin again
        every = []
        tokenize(source, tmp_path / "again", progress=lambda done, total: every.append(done), **SMALL)
        assert len(first) < len(every)


@pytest.mark.parametrize("stops", range(1, 60, 4))
def test_it_goes_on_from_wherever_it_was_interrupted(source, tmp_path, stops):
    """Within the process, so at many places: after every fourth block."""
    tokenize(source, tmp_path / "whole", **SMALL)
    blocks = iter(range(1, 1000))

    def stop(done, total):
        if next(blocks) == stops:
            raise KeyboardInterrupt

    try:
        tokenize(source, tmp_path / "out", progress=stop, **SMALL)
    except KeyboardInterrupt:
        assert (tmp_path / "out.part").is_dir()
        tokenize(source, tmp_path / "out", **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def interrupted(source, to):
    def stop(done, total):
        if (to.with_name("out.part") / "progress.json").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize(source, to, progress=stop, **SMALL)


def test_what_was_begun_otherwise_is_not_gone_on_with(source, tmp_path):
    interrupted(source, tmp_path / "out")
    message = r"out\.part was begun with another vocabulary or other settings, or the source has changed since"
    with pytest.raises(ValueError, match=message):
        tokenize(source, tmp_path / "out", "characters", **SMALL)
    with pytest.raises(ValueError, match=message):
        tokenize(source, tmp_path / "out", held_out_every=5, **SMALL)
    os.utime(source / "c0.txt", (0, 0))
    with pytest.raises(ValueError, match=message):
        tokenize(source, tmp_path / "out", **SMALL)


def test_a_shard_that_lost_what_was_saved_is_no_ground_to_go_on(source, tmp_path):
    interrupted(source, tmp_path / "out")
    for path in (tmp_path / "out.part").glob("*.bin"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"\.bin has lost what was saved in it: remove .*out\.part and begin again"):
        tokenize(source, tmp_path / "out", **SMALL)


def test_two_processes_do_not_write_into_one_directory(source, tmp_path):
    (tmp_path / "out.part").mkdir()
    other = os.open(tmp_path / "out.part", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match=r"out\.part is being written by another process"):
        tokenize(source, tmp_path / "out")
    os.close(other)
    tokenize(source, tmp_path / "out", jobs=1)


def test_a_worker_that_is_killed_ends_the_call_and_the_next_goes_on(source, tmp_path):
    def kill(done, total):
        for worker in active_children():
            worker.kill()

    with pytest.raises(MemoryError, match=r"^a process was killed; the same call goes on"):
        tokenize(source, tmp_path / "out", progress=kill, **SMALL | {"jobs": 2})
    tokenize(source, tmp_path / "out", **SMALL)
    tokenize(source, tmp_path / "whole", **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_on_a_full_disk_it_says_where_and_goes_on_when_there_is_room(source, tmp_path):
    """A limit of 150 bytes a file stands for the full disk: a shard of 97 tokens needs 194."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))
    try:
        with pytest.raises(OSError, match=r"once there is room, the same command goes on: '.*out\.part'$"):
            tokenize(source, tmp_path / "out", **SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out").exists()
    tokenize(source, tmp_path / "out", **SMALL)
    tokenize(source, tmp_path / "whole", **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damaged", [b"", b"{}", b'{"asked": {}, "state": {"documents": -1}}', b"[" * 9999])
def test_progress_that_cannot_be_read_is_no_ground_to_go_on(source, tmp_path, damaged):
    interrupted(source, tmp_path / "out")
    (tmp_path / "out.part" / "progress.json").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"progress\.json is damaged: remove .*out\.part and begin again$"):
        tokenize(source, tmp_path / "out", **SMALL)


# === Mistakes ===


def test_a_directory_that_is_there_is_left_alone(source, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=r"out is already there: name a new directory, or remove it$"):
        tokenize(source, tmp_path / "out")


@pytest.mark.parametrize("name", ["out", "dangling"])
def test_what_is_not_ours_is_left_alone(source, tmp_path, name):
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match=r"nothing but unfinished shards\. Received: thesis\.txt$|is already there"):
        tokenize(source, tmp_path / name)
    assert contents(tmp_path / "out.part") == {"thesis.txt": b"x"}


def test_a_directory_that_cannot_be_made_is_named(source, tmp_path):
    (tmp_path / "out.part").write_text("x")
    with pytest.raises(ValueError, match=r"out\.part must be a directory that can be made\. Received: .*File exists"):
        tokenize(source, tmp_path / "out")


def test_shards_do_not_come_to_lie_among_their_source(source):
    with pytest.raises(ValueError, match=r"^The new directory must lie outside of the source, .*Received: .*out$"):
        tokenize(source, source / "out")


def test_names_that_are_no_text_are_escaped(tmp_path):
    folder = tmp_path / "odd\udcff"
    folder.mkdir()
    (folder / "a\n\udcfe.jsonl").write_text('{"text": "x"}\n' * 20 + "{")
    index = tokenize(folder, tmp_path / "out", jobs=1)
    assert (index["source"]["name"], index["source"]["files"][0]["name"]) == ("odd\\xff", "a\n\\xfe.jsonl")
    with open(tmp_path / "out" / "bad_lines.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1:] == [["a\n\\xfe.jsonl", "21", "not JSON"]]


def test_lines_that_are_all_bad_have_their_reason_told(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content": "x"}\n' * 20)
    with pytest.raises(ValueError, match=r'0 documents in .*; 20 bad lines, the first: a\.jsonl,1,"without ""text"""$'):
        tokenize(tmp_path / "a.jsonl", tmp_path / "out", jobs=1)


def test_too_few_documents_to_hold_any_out(tmp_path):
    (tmp_path / "a.txt").write_text("one document")
    with pytest.raises(ValueError, match=r"^Every 10th document is held out.* Received: 1 documents in .*a\.txt$"):
        tokenize(tmp_path / "a.txt", tmp_path / "out", jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"jobs": 257}, {"held_out_every": 1}, {"vocabulary": "gpt3"}])
def test_what_cannot_be_is_refused_before_anything_is_written(source, tmp_path, wrong):
    with pytest.raises(ValueError, match=r"Received: (0|1|257|gpt3)$"):
        tokenize(source, tmp_path / "out", **wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


# === Shards ===


@pytest.mark.parametrize("length", [1, 3, 4, 10])
def test_windows_reach_over_the_seams_of_shards(length):
    whole = np.arange(11, dtype="u2")
    tokens = Tokens([whole[:4], whole[4:8], whole[8:]])
    starts = np.arange(11 - length + 1)
    np.testing.assert_array_equal(tokens.windows(starts, length), starts[:, None] + np.arange(length))


def test_an_index_is_checked(source, tmp_path):
    to = tmp_path / "out"
    with pytest.raises(ValueError, match=r"^data\.path must be a directory made by: rankscope data tokenize"):
        read_index(to)
    tokenize(source, to, **SMALL)
    index, whole = read_index(to), json.loads((to / "index.json").read_text())
    (to / "train-00001.bin").unlink()
    with pytest.raises(ValueError, match=r"train-00001\.bin must hold 194 bytes, as index\.json says\. Received: 0$"):
        open_tokens(to, index, "train")
    for wrong, what in [
        ({"version": 2}, r"version: Input should be 1\. Received: 2"),
        ({"tokens": {"train": -1, "validation": 0}}, r"tokens\.train: .* greater than or equal to 0\. Received: -1"),
        ({"tokens": {"train": 1}}, r"tokens: Dictionary should have at least 2 items .*\. Received: \{'train': 1\}"),
        ({"documents": {"train": True, "validation": 0}}, r"documents\.train: .* valid integer\. Received: True"),
        ({"shard_tokens": 0}, r"shard_tokens: Input should be greater than 0\. Received: 0"),
        ({"shard_tokens": "9" * 9999}, r"shard_tokens: Input should be a valid integer\. Received: '9{59}"),
        ({"vocabulary": {"name": "gpt2", "sha256": "12"}}, r"vocabulary\.sha256: String should match .*: '12'"),
    ]:
        (to / "index.json").write_text(json.dumps(whole | wrong))
        with pytest.raises(ValueError, match=rf"index\.json is no index of version 1: {what}$"):
            read_index(to)
    for wrong in (b"", b"[]", b"{}", b"[" * 9999, b"\xff"):
        (to / "index.json").write_bytes(wrong)
        with pytest.raises(ValueError, match=r"index\.json is no index of version 1: "):
            read_index(to)


def test_an_index_that_claims_more_than_there_is_costs_nothing(source, tmp_path):
    """10¹⁸ shards are not looked for: the first that is missing ends it."""
    tokenize(source, tmp_path / "out", **SMALL)
    index = read_index(tmp_path / "out").model_copy(update={"tokens": {"train": 10**18}, "shard_tokens": 1})
    with pytest.raises(ValueError, match=r"train-00000\.bin must hold 2 bytes, as index\.json says\. Received: 194$"):
        open_tokens(tmp_path / "out", index, "train")


def test_a_giant_index_is_not_read(tmp_path):
    with open(tmp_path / "index.json", "wb") as file:
        file.truncate(2**26 + 1)  # takes no room
    with pytest.raises(ValueError, match=r"must be at most 67108864 bytes long\. Received: 67108865$"):
        read_index(tmp_path)
