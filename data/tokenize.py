"""From files of documents to shards of tokens: a stream over all cores that a kill can break and nothing is lost."""

import csv
import errno
import fcntl
import io
import json
import os
import re
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import accumulate
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, NonNegativeInt, ValidationError

from data.cores import cores
from data.documents import BadLine, Block, Place, addresses_folder, find_files, read_blocks, texts_of
from data.shards import INDEX, VERSION, Counts, shard_path
from data.vocabulary import Vocabulary, VocabularyName, load_vocabulary

_PROGRESS = "progress.json"
_BAD_LINES = "bad_lines.csv"
_OURS = re.compile(
    r"(train|validation)-\d{5,}\.bin|bad_lines\.csv|(progress|index)\.json|\.(progress|index)\.json\.tmp"
)


def tokenize(
    source: Path | None,
    to: Path,
    vocabulary: VocabularyName = "gpt2",
    held_out_every: int = 10,
    jobs: int | None = None,
    progress: Callable[[int, int], Any] = lambda done, total: None,
    *,
    block_bytes: int = 2**20,
    shard_tokens: int = 2**27,
    checkpoint_bytes: int = 2**26,
    max_line: int = 2**25,
) -> dict[str, Any]:
    """Tokenize documents into a new directory of shards that `data.text` maps into memory.

    What is read and written streams through: memory holds a few blocks for each process. A broken call is gone on with
    by the same call; its result is that of an unbroken one, byte for byte, whatever the number of processes. Until it
    is complete, the directory has the suffix `.part`. docs/tokens.md describes it.

    Args:
        source: a file of documents, or a folder of them: `.jsonl` with a field "text" in each line, or `.txt`, one
            document each; packed by `.zst` or `.gz`, too. Files are taken in the order of their names. None: the State
            of the Union addresses.
        to: directory to be made, outside of the source.
        vocabulary: `"gpt2"` or `"characters"`.
        held_out_every: int ≥ 2; of so many documents the last one is for validation.
        jobs: int, 1 … 256, processes that tokenize; all cores by default, at most 16: one reader feeds no more. They
            are spawned: a script that asks for more than one calls this below `if __name__ == "__main__":`.
        progress: told bytes of the files that are done, and of all.
        block_bytes: int ≥ 1, text that a process gets at a time.
        shard_tokens: int ≥ 1, tokens of a shard, two bytes each; the last one may have fewer.
        checkpoint_bytes: int ≥ 1, text between two places from which a broken call can be gone on with.
        max_line: int ≥ 1, bytes; a longer line is a bad one.

    Returns:
        the index, as in `index.json`. Bad lines are counted there and named in `bad_lines.csv`.

    Raises:
        ValueError: for a source that cannot be read, too few documents to hold any out, or a directory that is there,
            in use, begun with other arguments or damaged.
        MemoryError: where a process was killed.
    """
    if held_out_every < 2:
        raise ValueError(f"held_out_every must be at least 2. Received: {held_out_every}")
    jobs = min(cores(), 16) if jobs is None else jobs
    if not 1 <= jobs <= 256:
        raise ValueError(f"jobs must be 1 to 256. Received: {jobs}")
    if os.path.lexists(to):
        raise ValueError(f"{to} is already there: name a new directory, or remove it")
    source = addresses_folder() if source is None else source
    if to.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"The new directory must lie outside of the source, {source}. Received: {to}")
    files, others = find_files(source)
    names = [_printable(path.relative_to(source) if source.is_dir() else path.name) for path in files]
    sizes = [path.stat().st_size for path in files]
    done = [0, *accumulate(sizes)]
    words = load_vocabulary(vocabulary)
    index = {
        "version": VERSION,
        "vocabulary": {"name": words.name, "size": words.size, "sha256": words.sha256},
        "shard_tokens": shard_tokens,
        "held_out_every": held_out_every,
        "source": {
            "name": _printable(source.resolve().name),
            "files": [{"name": name, "bytes": size} for name, size in zip(names, sizes, strict=True)],
            "other_files": others,
        },
    }
    asked = {"index": index, "max_line": max_line, "modified": [path.stat().st_mtime_ns for path in files]}
    part = to.with_name(f"{to.name}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{part} must be a directory that can be made. Received: {error}") from error
    with _locked(part), _full_disk_named(part), ExitStack() as stack:
        writer = _Writer(part, asked, names, held_out_every, shard_tokens)
        stack.callback(writer.close)
        blocks = read_blocks(files, writer.state.place, block_bytes, max_line)
        for block, encoded in stack.enter_context(closing(_in_order(blocks, vocabulary, max_line, jobs))):
            writer.write(block, encoded, words)
            if writer.unsaved >= checkpoint_bytes:
                writer.save()
            progress(done[block.start.file] + block.read, done[-1])
        counts = writer.finish()
        if not counts["documents"]["validation"]:
            first_bad = (part / _BAD_LINES).read_text("utf-8").splitlines()[1:2]
            shutil.rmtree(part)
            raise ValueError(
                f"Every {held_out_every}th document is held out, so there must be so many; a .txt file is one, a line "
                f"of .jsonl is one. Received: {sum(counts['documents'].values())} documents in {source}"
                + "".join(f"; {counts['bad_lines']} bad lines, the first: {line}" for line in first_bad)
            )
        index |= counts
        _replace(part / INDEX, index)
        os.replace(part, to)
        (to / _PROGRESS).unlink()
    return index


class _State(BaseModel):
    """What was written when it was last saved."""

    place: Place = Place()
    documents: NonNegativeInt = 0  # whole ones, of both parts
    tokens: Counts = {"train": 0, "validation": 0}
    unknown: NonNegativeInt = 0
    bad_lines: NonNegativeInt = 0
    bad_lines_bytes: NonNegativeInt = 0


class _Progress(BaseModel):
    asked: dict[str, Any]
    state: _State


class _Writer:
    """What is written, and how to go on with it: files only grow, and are cut back to the lengths last saved."""

    def __init__(self, part: Path, asked: dict[str, Any], names: list[str], held_out_every: int, shard_tokens: int):
        self.part, self.asked, self.names = part, asked, names
        self.held_out_every, self.shard_tokens = held_out_every, shard_tokens
        self.state = self._saved_state()
        self.unsaved = 0
        self._files = {}
        self._files[_BAD_LINES] = self._open(part / _BAD_LINES, self.state.bad_lines_bytes)
        for name, tokens in self.state.tokens.items():
            first_unsaved, rest = divmod(tokens, shard_tokens)
            for path in part.glob(f"{name}-*.bin"):
                if path.name > shard_path(part, name, first_unsaved).name:
                    path.unlink()
            self._files[name] = self._open(shard_path(part, name, first_unsaved), 2 * rest)
        if not self.state.bad_lines_bytes:
            self._name_bad_line("file", "line", "reason")

    def write(self, block: Block, encoded: tuple[list[np.ndarray], list[BadLine]], vocabulary: Vocabulary) -> None:
        """Add what a block holds."""
        documents, bad = encoded
        eos = np.array([vocabulary.size - 1], dtype=np.uint16)
        for ids in documents:
            ends = block.is_json or block.ends
            self._append(np.concatenate([ids, eos]) if ends else ids)
            self.state.documents += ends
            if vocabulary.unknown is not None:
                self.state.unknown += int(np.count_nonzero(ids == vocabulary.unknown))
        for line, reason in bad:
            self._name_bad_line(self.names[block.start.file], line, reason)
        self.state.bad_lines += len(bad)
        self.state.place = block.next
        self.unsaved += len(block.content)

    def save(self) -> None:
        """Make all that was written the place to go on from."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self.state.bad_lines_bytes = self._files[_BAD_LINES].tell()
        _replace(self.part / _PROGRESS, {"asked": self.asked, "state": self.state.model_dump()})
        self.unsaved = 0

    def close(self) -> None:
        """Close all files, saved or not."""
        for file in self._files.values():
            with suppress(OSError):  # on a full disk what was not saved cannot be
                file.close()

    def finish(self) -> dict[str, Any]:
        """Save, close, and return the counts."""
        self.save()
        self.close()
        for name, tokens in self.state.tokens.items():
            if not tokens % self.shard_tokens:  # a shard that nothing came into
                Path(self._files[name].name).unlink()
        validation = self.state.documents // self.held_out_every
        return {
            "documents": {"train": self.state.documents - validation, "validation": validation},
            "tokens": self.state.tokens,
            "unknown": self.state.unknown,
            "bad_lines": self.state.bad_lines,
        }

    def _saved_state(self):
        """The saved state of the same call, or the first one; nothing that is not ours is touched."""
        for path in self.part.iterdir():
            if not _OURS.fullmatch(path.name):
                raise ValueError(f"{self.part} must hold nothing but unfinished shards. Received: {path.name}")
        path = self.part / _PROGRESS
        if not path.exists():
            return _State()
        try:
            saved = _Progress.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"{path} is damaged: remove {self.part} and begin again") from error
        if saved.asked != json.loads(json.dumps(self.asked)):
            raise ValueError(
                f"{self.part} was begun with another vocabulary or other settings, or the source has changed since: "
                "ask for the same again, or remove it"
            )
        return saved.state

    def _open(self, path, size):
        """Open a file to grow, cut back to what was saved of it."""
        file = open(path, "ab")  # noqa: SIM115
        if file.tell() < size:
            file.close()
            self.close()
            raise ValueError(f"{path} has lost what was saved in it: remove {self.part} and begin again")
        file.truncate(size)
        return file

    def _append(self, ids):
        held_out = self.state.documents % self.held_out_every == self.held_out_every - 1
        name = "validation" if held_out else "train"
        while len(ids):
            room = self.shard_tokens - self.state.tokens[name] % self.shard_tokens
            self._files[name].write(ids[:room].astype("<u2", copy=False))
            self.state.tokens[name] += len(ids[:room])
            if len(ids) >= room:
                self._next_shard(name)
            ids = ids[room:]

    def _next_shard(self, name):
        file = self._files[name]
        file.flush()
        os.fsync(file.fileno())
        file.close()
        path = shard_path(self.part, name, self.state.tokens[name] // self.shard_tokens)
        self._files[name] = self._open(path, 0)

    def _name_bad_line(self, *row):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        self._files[_BAD_LINES].write(text.getvalue().encode())


def _encode(block: Block, vocabulary: VocabularyName, max_line: int) -> tuple[list[np.ndarray], list[BadLine]]:
    """Ids `(N,)` of each document of a block, or of its piece of text, and its bad lines."""
    encode = load_vocabulary(vocabulary).encode
    found = list(texts_of(block, max_line))
    return (
        [encode(text) for text in found if isinstance(text, str)],
        [line for line in found if isinstance(line, BadLine)],
    )


def _in_order(blocks: Iterator[Block], vocabulary: VocabularyName, max_line: int, jobs: int) -> Iterator[tuple]:
    """Blocks with what `_encode` makes of them, in order. Little is under way at a time, and of giant blocks one."""
    if jobs == 1:
        yield from ((block, _encode(block, vocabulary, max_line)) for block in blocks)
        return
    # Not threads: all but tiktoken's part would wait for Python's lock. Not forked: that is unsafe beside threads.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _end_with_parent)
    waiting: deque = deque()
    try:
        for block in blocks:
            with _interrupts_held_back():
                waiting.append((block, pool.submit(_encode, block, vocabulary, max_line)))
            while len(waiting) > 2 * jobs or sum(len(b.content) for b, _ in waiting) > 2**22 * (jobs + 1):
                done, result = waiting.popleft()
                yield done, result.result()
        while waiting:
            done, result = waiting.popleft()
            yield done, result.result()
    except BrokenProcessPool as error:
        raise MemoryError("a process was killed; the same call goes on, and one job takes the least memory") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let no process outlive a parent that was killed: it would wait for its next block for ever."""

    def watch():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A process started herein never sees Ctrl-C, which is for the parent alone; that gets it a moment later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _printable(path: Path | str) -> str:
    """A name as text, bytes that are not UTF-8 escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _replace(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextmanager
def _full_disk_named(directory: Path) -> Iterator[None]:
    """Say where there is no room; the system does not."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        hint = f"{error.strerror}; once there is room, the same command goes on"
        raise OSError(error.errno, hint, str(directory)) from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep a second process out of a directory; the lock ends with the process, however that ends."""
    lock = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ValueError(f"{directory} is being written by another process: wait for it, or stop it") from error
    finally:
        os.close(lock)
