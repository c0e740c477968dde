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


_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_array_header(file: BinaryIO, newest: tuple[int, int] = (2, 0)) -> ArrayHeader:
    """Read the header of an array; one of more than 10,000 characters is refused.

    Args:
        file: at the beginning of an array in NumPy's format, such as a member of an `.npz`.
        newest: version of the format that is accepted; NumPy writes plain numbers in 1.0.

    Raises:
        ValueError: in one line, for a newer version of the format or anything else.

    Example:

    >>> import io
    >>> file = io.BytesIO()
    >>> np.save(file, np.zeros((2, 3)))
    >>> header = read_array_header(io.BytesIO(file.getvalue()))
    >>> header.shape, header.dtype, header.begin + header.size == len(file.getvalue())
    ((2, 3), dtype('float64'), True)
    """
    begin = file.tell()
    try:
        version = np.lib.format.read_magic(file)
        if version not in _READERS or version > newest:
            raise ValueError(f"another version of the format, {version[0]}.{version[1]}")
        shape, fortran_order, dtype = _READERS[version](file)
    except OSError:
        raise
    except Exception as error:  # NumPy evaluates a header as Python: whatever that parser and tokenizer raise
        raise ValueError(" ".join(str(error).split())) from error
    return ArrayHeader(shape, dtype, fortran_order, file.tell() - begin)
