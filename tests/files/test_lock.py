"""A directory has one writer: another one is refused until the last that holds the lock has gone."""

import subprocess
import sys

import pytest

from rankscope.errors import UserError
from rankscope.files import directory_lock


def test_the_lock_is_free_again_after_its_block(tmp_path):
    for _ in range(2):
        with directory_lock(tmp_path, "in use"):
            pass


def test_a_process_that_inherited_the_lock_holds_it_alone(tmp_path):
    """So does a sweep's worker whose sweep was killed."""
    wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with directory_lock(tmp_path, "in use") as lock:
        child = subprocess.Popen(wait, stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(UserError, match=r"^in use$"), directory_lock(tmp_path, "in use"):
        pass
    child.communicate(timeout=60)
    with directory_lock(tmp_path, "in use"):
        pass
