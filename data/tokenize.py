"""From files of documents to shards of tokens: a stream over all cores that a kill can break and nothing is lost."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from rankscope.data.cores import cores
from rankscope.data.documents import BadLine, Block, addresses_folder, find_files, read_blocks, texts_of
from rankscope.data.file_names import printable
from rankscope.data.shard_writer import shard_writer
from rankscope.data.shards import VERSION
from rankscope.data.vocabulary import VocabularyName, load_vocabulary
from rankscope.errors import UserError


@dataclass(frozen=True)
class Sizes:
    """How much is read, tokenized and written at a time.

    Args:
        block_bytes: int ≥ 1, text that a process gets at a time.
        shard_tokens: int ≥ 1, tokens of a shard, two bytes each; the last one may have fewer.
        checkpoint_bytes: int ≥ 1, text between two places from which a broken call can be resumed.
        max_line: int ≥ 1, bytes; a longer line is a bad one.
    """

    block_bytes: int = 2**20
    shard_tokens: int = 2**27
    checkpoint_bytes: int = 2**26
    max_line: int = 2**25


def tokenize(
    source: Path | None,
    to: Path,
    vocabulary: VocabularyName = "gpt2",
    held_out_every: int = 10,
    jobs: int | None = None,
    progress: Callable[[int, int], Any] = lambda done, total: None,
    sizes: Sizes = Sizes(),
) -> dict[str, Any]:
    """Tokenize documents into a new directory of shards that `data.text` maps into memory.

    What is read and written streams through: memory holds a few blocks for each process. A broken call is resumed by
    the same call; its result is that of an unbroken one, byte for byte, whatever the number of processes. Until it
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
        progress: called with the bytes of the files that are done, and with those of all.
        sizes: of blocks and shards.

    Returns:
        the index, as in `index.json`. Bad lines are counted there and named in `bad_lines.csv`.

    Raises:
        UserError: for a source that cannot be read, too few documents to hold any out, or a directory that is there,
            in use, begun with other arguments or damaged.
        MemoryError: where a process was killed.
    """
    jobs = _checked_jobs(held_out_every, jobs)
    source = addresses_folder() if source is None else source
    _check_target(to, source)
    files, others = find_files(source)
    words = load_vocabulary(vocabulary)
    index = {
        "version": VERSION,
        "vocabulary": {"name": words.name, "size": words.size, "sha256": words.sha256},
        "shard_tokens": sizes.shard_tokens,
        "held_out_every": held_out_every,
        "source": _described(source, files, others),
    }
    asked = {"index": index, "max_line": sizes.max_line, "modified": [path.stat().st_mtime_ns for path in files]}
    done = [0, *accumulate(file["bytes"] for file in index["source"]["files"])]
    with shard_writer(to, asked, source) as writer:
        blocks = read_blocks(files, writer.state.place, sizes.block_bytes, sizes.max_line)
        with closing(_in_order(blocks, vocabulary, sizes.max_line, jobs)) as results:
            for block, encoded in results:
                writer.write(block, encoded, words)
                if writer.unsaved >= sizes.checkpoint_bytes:
                    writer.save()
                progress(done[block.start.file] + block.read, done[-1])
        return writer.complete()


def _checked_jobs(held_out_every, jobs):
    if held_out_every < 2:
        raise UserError(f"held_out_every must be at least 2. Received: {held_out_every}")
    jobs = min(cores(), 16) if jobs is None else jobs
    if not 1 <= jobs <= 256:
        raise UserError(f"jobs must be 1 to 256. Received: {jobs}")
    return jobs


def _check_target(to, source):
    if os.path.lexists(to):
        raise UserError(f"{to} is already there: name a new directory, or remove it")
    if to.resolve().is_relative_to(source.resolve()):
        raise UserError(f"The new directory must lie outside of the source, {source}. Received: {to}")


def _described(source, files, others):
    """What the index says of the documents' source."""
    names = [printable(path.relative_to(source) if source.is_dir() else path.name) for path in files]
    return {
        "name": printable(source.resolve().name),
        "files": [{"name": name, "bytes": path.stat().st_size} for name, path in zip(names, files, strict=True)],
        "other_files": others,
    }


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
