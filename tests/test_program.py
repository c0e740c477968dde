"""How the program was started, and its quiet start."""

import os
import subprocess
import sys

import pytest

from rankscope.program import own_process, quiet_start_up

LOG = b"I0000 00:00:1796126537.029617 4568 cudart_stub.cc:31] Could not find cuda drivers on your machine\n"
WORDS = b"a line of somebody else\n"


def test_log_lines_of_a_start_stay_back_and_others_come_out(capfd):
    with quiet_start_up():
        os.write(2, LOG + WORDS + b"WARNING: All log messages before absl::InitializeLog() is called are written\n")
        print("of Python", file=sys.__stderr__)
    assert capfd.readouterr().err.splitlines() == ["a line of somebody else", "of Python"]


def test_a_start_that_fails_says_all(capfd):
    def fail():
        os.write(2, LOG)
        raise OSError("no device")

    with pytest.raises(OSError, match="no device"), quiet_start_up():
        fail()
    assert capfd.readouterr().err.encode() == LOG


def test_a_process_of_our_own_finds_this_package_and_no_module_of_the_working_directory(tmp_path):
    (tmp_path / "zoo.py").write_text("raise RuntimeError\n")
    (tmp_path / "click.py").write_text("raise RuntimeError\n")
    command, variables = own_process("--help")
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.stdout.startswith("Usage: python -m rankscope"), done.stderr
