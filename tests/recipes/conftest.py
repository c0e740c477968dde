"""A copy of the checkout for tests that follow ARCHITECTURE.md's recipes in it, as a developer would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Checkout:
    """A copy of the files that git knows, without tests and pictures.

    Args:
        path: of the new folder.
    """

    def __init__(self, path: Path):
        self.path = path
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
            source, target = ROOT / name, path / name
            if name.startswith("tests/") or source.suffix == ".png" or not source.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)

    def insert(self, name: str, before: str, text: str) -> None:
        """Put text into a file, before the one place where another text stands."""
        file = self.path / name
        content = file.read_text(encoding="utf-8")
        assert content.count(before) == 1, f"{before!r} must stand once in {name}"
        file.write_text(content.replace(before, text + before), encoding="utf-8")

    def run(self, *arguments, check: bool = True) -> subprocess.CompletedProcess:
        """Run the copy's `python cli.py`, in the copy."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [sys.executable, "cli.py", *map(str, arguments)],
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """A fresh copy of the checkout."""
    return Checkout(tmp_path / "checkout")
