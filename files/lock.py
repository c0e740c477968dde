"""A directory that one process at a time writes to."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankscope.errors import UserError


@contextmanager
def directory_lock(directory: Path, in_use: str) -> Iterator[int]:
    """Keep a second process out of a directory; the lock ends with the process, however that ends.

    Args:
        directory: it exists.
        in_use: message of the error, one line.

    Yields:
        A file descriptor: a child process that inherits it holds the lock, too, also after this process was killed.

    Raises:
        UserError: where another process holds the lock.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, directory_lock(Path(folder), "in use"):
    ...     with directory_lock(Path(folder), "somebody else writes here"):
    ...         pass
    Traceback (most recent call last):
    ...
    rankscope.errors.UserError: somebody else writes here
    """
    lock = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(in_use) from error
        yield lock
    finally:
        os.close(lock)
