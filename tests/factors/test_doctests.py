"""The examples in the docstrings of factors/ run, and the room imports NumPy and nothing else."""

import ast
import doctest
import importlib
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).resolve().parents[2] / "factors"
MODULES = sorted(path.stem for path in ROOM.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_module(name):
    result = doctest.testmod(importlib.import_module(f"factors.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", [*MODULES, "__init__"])
def test_module_imports_numpy_and_the_standard_library_only(name):
    imported = set()
    for node in ast.walk(ast.parse((ROOM / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported <= {"factors", "numpy"} | set(sys.stdlib_module_names)
