"""How files are written whole or not at all, kept from a second writer, and read no further than they go."""

from rankscope.files.arrays import ArrayHeader, read_array_header
from rankscope.files.atomic import draft_of, rename_to_new, replace_file, write_csv, write_json
from rankscope.files.lock import directory_lock

__all__ = [
    "ArrayHeader",
    "directory_lock",
    "draft_of",
    "read_array_header",
    "rename_to_new",
    "replace_file",
    "write_csv",
    "write_json",
]
