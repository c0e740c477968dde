"""Files that are written whole or not at all."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def draft_of(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """A temporary name beside a file, for whoever writes to a name; it is synced and renamed when the block ends well.

    Args:
        path: the file to make or to replace.
        suffix: of the temporary name, where the writer wants a certain one.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with draft_of(Path(folder) / "numbers.txt") as draft:
    ...         size = draft.write_text("1 2 3")
    ...     draft.name, [path.name for path in Path(folder).iterdir()]
    ('.numbers.txt.tmp', ['numbers.txt'])
    """
    draft = path.with_name(f".{path.name}{suffix}")
    try:
        yield draft
        written = os.open(draft, os.O_RDONLY)
        try:
            os.fsync(written)
        finally:
            os.close(written)
        os.replace(draft, path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk does not say where
        raise


def replace_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file whole or not at all.

    Args:
        path: the file to make or to replace.
        write: function that gets a binary file to write to.
    """
    with draft_of(path) as draft, open(draft, "wb") as file:
        write(file)


def rename_to_new(draft: Path, path: Path) -> bool:
    """Give a folder that is complete its name, unless something has that name; whether it did.

    A folder is never renamed onto one that holds something; an empty one is somebody's, too.
    """
    if path.exists():
        return False
    try:
        os.rename(draft, path)
    except OSError:
        if path.exists():  # made by another process since we looked
            return False
        raise
    return True


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, readable for people."""
    replace_file(path, lambda file: file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"))


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(exist_ok=True)
    replace_file(path, lambda file: file.write(text.getvalue().encode()))
