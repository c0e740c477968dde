"""Files that are written whole or not at all."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO


def replace_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file whole or not at all: to a temporary name beside it, synced, then renamed.

    Args:
        path: the file to make or to replace.
        write: function that gets a binary file to write to.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk does not say where
        raise


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
