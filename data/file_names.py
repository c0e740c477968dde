"""Names of files, which need not be text."""

import os
from pathlib import Path


def printable(name: Path | str | bytes) -> str:
    r"""A name as text, bytes that are not UTF-8 escaped.

    Example:

    >>> printable(b"caf\xe9.txt")
    'caf\\xe9.txt'
    """
    return os.fsencode(name).decode(errors="backslashreplace")
