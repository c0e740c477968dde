"""Headers of arrays: what is accepted, and one line for anything else before memory is taken."""

import io

import numpy as np
import pytest

from rankscope.files import read_array_header


def stored(array, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3, dtype="f4")), np.array("é")]
)
def test_a_header_says_where_the_numbers_begin_and_how_many_bytes_they_take(array, version):
    content = b"before" + stored(array, version)
    file = io.BytesIO(content)
    file.seek(len(b"before"))
    header = read_array_header(file)
    assert (header.shape, header.dtype) == (array.shape, array.dtype)
    assert header.fortran_order == (array.flags.fnc)
    numbers = content[len(b"before") + header.begin :]
    assert numbers == array.tobytes("A")
    assert header.size == len(numbers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "EOF: reading magic string"),
        (b"PK\x03\x04" + bytes(100), "magic string is not correct"),
        (stored(np.eye(2), (3, 0)), r"another version of the format, 3\.0"),
        (stored(np.eye(2)).replace(b"'shape'", b"'shapf'"), "Header does not contain the correct keys"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "."),
        (b"\x93NUMPY\x01\x00\x00\x10" + b"(" * 4096, "."),
    ],
    ids=["empty", "an archive", "version 3", "other keys", "a long header", "brackets"],
)
def test_anything_else_is_refused_in_one_line(content, message):
    with pytest.raises(ValueError, match=message) as refusal:
        read_array_header(io.BytesIO(content))
    assert "\n" not in str(refusal.value)


def test_a_newer_version_than_asked_for_is_refused():
    with pytest.raises(ValueError, match=r"another version of the format, 2\.0"):
        read_array_header(io.BytesIO(stored(np.eye(2), (2, 0))), newest=(1, 0))
