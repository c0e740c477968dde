"""The house itself: which way imports run, that examples in docstrings run, and that nobody needs TensorFlow."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Floors from the ground up; a room imports from floors below its own. cli.py stands on top of all.
FLOORS = [
    ("factors", "optimizers", "data", "records"),
    ("zoo", "checkpoints"),
    ("callbacks", "analysis"),
    ("training", "reports"),
    ("studies",),
    ("commands",),
    ("cli",),
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(
    path.relative_to(ROOT)
    for room in FLOOR_OF
    for path in [ROOT / f"{room}.py", *(ROOT / room).rglob("*.py")]
    if path.exists()
)


def room_of(path):
    return path.parts[0].removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_run_downwards(path):
    room = room_of(path)
    for imported in imports_of(path):
        if imported in FLOOR_OF and imported != room:
            assert FLOOR_OF[imported] < FLOOR_OF[room], f"{path} imports {imported}"


#: JAX makes no float64 unless it is told to, by itself and at run time; only TensorFlow knows the name of its GPU.
MAY_IMPORT = {Path("training/precision.py"): "jax", Path("training/device.py"): "tensorflow"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nobody_imports_tensorflow_or_jax(path):
    assert not ({"tensorflow", "jax"} - {MAY_IMPORT.get(path)}) & set(imports_of(path))


@pytest.mark.parametrize("path", [path for path in FILES if ">>> " in (ROOT / path).read_text()], ids=str)
def test_examples_in_docstrings_run(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
