"""factors/ imports NumPy, the standard library and our blas.py only."""

import ast
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).resolve().parents[2] / "factors"


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOM.glob("*.py")))
def test_module_imports_numpy_and_the_standard_library_only(name):
    imported = set()
    for node in ast.walk(ast.parse((ROOM / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            ours = node.module.startswith("rankscope.")
            assert not ours or node.module == "rankscope.blas" or node.module.startswith("rankscope.factors")
            imported.add(node.module.split(".")[0])
    assert imported <= {"rankscope", "numpy"} | set(sys.stdlib_module_names)
