"""Shards of tokens while they grow: saved now and then, gone on with after a kill, whole at the end."""

import csv
import errno
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, NonNegativeInt, ValidationError

from rankscope.data.documents import BadLine, Block, Place
from rankscope.data.shards import INDEX, Counts, shard_path
from rankscope.data.vocabulary import Vocabulary
from rankscope.errors import UserError
from rankscope.files import directory_lock, write_json

_PROGRESS = "progress.json"
_BAD_LINES = "bad_lines.csv"
_OURS = re.compile(
    r"(train|validation)-\d{5,}\.bin|bad_lines\.csv|(progress|index)\.json|\.(progress|index)\.json\.tmp"
)


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


@contextmanager
def shard_writer(to: Path, asked: dict[str, Any], source: Path) -> Iterator["ShardWriter"]:
    """What writes a directory of shards, which has the suffix `.part` until it is complete.

    Args:
        to: the directory to be made.
        asked: all that the shards depend on, as JSON. A broken call is gone on with where it asked for the same.
            `asked["index"]` is what `index.json` will hold, but for the counts.
        source: of the documents, for messages.

    Raises:
        UserError: where the directory cannot be made, is in use, is damaged, or was begun with other arguments.
        OSError: where there is no room, naming the directory.
    """
    part = to.with_name(f"{to.name}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{part} must be a directory that can be made. Received: {error}") from error
    in_use = f"{part} is being written by another process: wait for it, or stop it"
    with directory_lock(part, in_use), _full_disk_named(part), closing(ShardWriter(part, to, asked, source)) as writer:
        yield writer


class ShardWriter:
    """What is written, and how to go on with it: files only grow, and are cut back to the lengths last saved.

    Attributes:
        state: what is written, and the place in the documents to go on from.
        unsaved: bytes of text written since the last `save`.
    """

    def __init__(self, part: Path, to: Path, asked: dict[str, Any], source: Path):
        self.part, self.to, self.asked, self.source = part, to, asked, source
        self.index = asked["index"]
        self.names = [file["name"] for file in self.index["source"]["files"]]
        self.held_out_every, self.shard_tokens = self.index["held_out_every"], self.index["shard_tokens"]
        self.state = self._saved_state()
        self.unsaved = 0
        self._files = {}
        self._files[_BAD_LINES] = self._open(part / _BAD_LINES, self.state.bad_lines_bytes)
        for name, tokens in self.state.tokens.items():
            first_unsaved, rest = divmod(tokens, self.shard_tokens)
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
        write_json(self.part / _PROGRESS, {"asked": self.asked, "state": self.state.model_dump()})
        self.unsaved = 0

    def close(self) -> None:
        """Close all files, saved or not."""
        for file in self._files.values():
            with suppress(OSError):  # on a full disk what was not saved cannot be
                file.close()

    def complete(self) -> dict[str, Any]:
        """Save, write the index and give the directory its name; returns the index.

        Raises:
            UserError: where no document was held out; nothing is left then.
        """
        self.save()
        self.close()
        for name, tokens in self.state.tokens.items():
            if not tokens % self.shard_tokens:  # a shard that nothing came into
                Path(self._files[name].name).unlink()
        validation = self.state.documents // self.held_out_every
        if not validation:
            self._discard()
        index = self.index | {
            "documents": {"train": self.state.documents - validation, "validation": validation},
            "tokens": self.state.tokens,
            "unknown": self.state.unknown,
            "bad_lines": self.state.bad_lines,
        }
        write_json(self.part / INDEX, index)
        os.replace(self.part, self.to)
        (self.to / _PROGRESS).unlink()
        return index

    def _discard(self):
        first_bad = (self.part / _BAD_LINES).read_text("utf-8").splitlines()[1:2]
        shutil.rmtree(self.part)
        raise UserError(
            f"Every {self.held_out_every}th document is held out, so there must be so many; a .txt file is one, a line "
            f"of .jsonl is one. Received: {self.state.documents} documents in {self.source}"
            + "".join(f"; {self.state.bad_lines} bad lines, the first: {line}" for line in first_bad)
        )

    def _saved_state(self):
        """The saved state of the same call, or the first one; nothing that is not ours is touched."""
        for path in self.part.iterdir():
            if not _OURS.fullmatch(path.name):
                raise UserError(f"{self.part} must hold nothing but unfinished shards. Received: {path.name}")
        path = self.part / _PROGRESS
        if not path.exists():
            return _State()
        try:
            saved = _Progress.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise UserError(f"{path} is damaged: remove {self.part} and begin again") from error
        if saved.asked != json.loads(json.dumps(self.asked)):
            raise UserError(
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
            raise UserError(f"{path} has lost what was saved in it: remove {self.part} and begin again")
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
