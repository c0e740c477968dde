"""Headers of NumPy's arrays, read before any memory is taken for the numbers that they promise."""

import math
from typing import BinaryIO, NamedTuple

import numpy as np


class ArrayHeader(NamedTuple):
    """What an array in NumPy's format says of itself.

    `shape` and `dtype` are the array's, `fortran_order` is whether its first index changes fastest, and `begin` is the
    header's own size in bytes, after which its numbers begin.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    begin: int

    @property
    def size(self) -> int:
        """Bytes of its numbers; whoever reads on compares them with what the file has."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_array_header(file: BinaryIO) -> ArrayHeader:
    """Read the header of an array, at most 10,000 characters, from the beginning of a file.

    Args:
        file: at the beginning of an array in NumPy's format 1 or 2, such as a member of an `.npz`.

    Raises:
        ValueError: in one line, for another version of the format or anything else.

    Example:

    >>> import io
    >>> file = io.BytesIO()
    >>> np.save(file, np.zeros((2, 3)))
    >>> header = read_array_header(io.BytesIO(file.getvalue()))
    >>> header.shape, header.dtype, header.begin + header.size == len(file.getvalue())
    ((2, 3), dtype('float64'), True)
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    begin = file.tell()
    try:
        version = np.lib.format.read_magic(file)
        if version in readers:
            shape, fortran_order, dtype = readers[version](file)
    except OSError:
        raise
    except Exception as error:  # NumPy evaluates a header as Python: whatever that parser and tokenizer raise
        raise ValueError(f"no header of an array: {' '.join(str(error).split()):.200}") from error
    if version not in readers:
        raise ValueError(f"an array must be of NumPy's format 1 or 2. Received: version {version}")
    return ArrayHeader(shape, dtype, fortran_order, file.tell() - begin)
