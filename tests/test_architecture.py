"""The structure of the code: which way imports run, that docstrings' examples run, and that nobody needs TensorFlow."""

import ast
import doctest
import importlib
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Floors from the ground up; a room imports from floors below its own. cli.py stands on top of all.
FLOORS = [
    ("errors", "program", "frames", "blas"),
    ("files",),
    ("factors", "data", "records", "settings"),
    ("optimizers",),
    ("zoo", "checkpoints", "pictures"),
    ("callbacks", "analysis"),
    ("training", "reports"),
    ("sweeps",),
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


def python_files():
    """All Python files of the checkout that git knows or would take."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split():
        if (ROOT / name).exists():
            yield ROOT / name


def room_of(path):
    return path.parts[0].removesuffix(".py")


def imports_of(path):
    """Names of imported packages; those of our own, as `rankscope.zoo`."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
            if node.module == "rankscope":
                names = [f"rankscope.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield ".".join(parts[: 2 if parts[0] == "rankscope" else 1])


@pytest.mark.once
@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_run_downwards(path):
    room = room_of(path)
    for imported in imports_of(path):
        ours = imported.removeprefix("rankscope.")
        if imported.startswith("rankscope.") and ours != room:
            assert FLOOR_OF[ours] < FLOOR_OF[room], f"{path} imports {imported}"


@pytest.mark.once
@pytest.mark.parametrize("path", sorted(path.relative_to(ROOT) for path in python_files()), ids=str)
def test_our_own_packages_have_one_name(path):
    """`import zoo` works within a checkout, and would register the same Keras classes a second time."""
    assert not set(imports_of(path)) & set(FLOOR_OF)


@pytest.mark.once
def test_the_package_links_to_every_package_and_holds_no_copy():
    links = {path.name: path for path in (ROOT / "rankscope").iterdir() if path.is_symlink()}
    expected = {room if (ROOT / room).is_dir() else f"{room}.py" for room in FLOOR_OF} - {"cli.py"}
    assert set(links) == {*expected, "configs"}
    assert all(os.readlink(path) == f"../{name}" for name, path in links.items())


MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS = 300, 60, 9
#: Packages whose constructors are Keras': a model, a layer or an optimizer has as many parameters as it has settings.
OF_KERAS = {"zoo", "optimizers"}


def too_much(path):
    """What in a file is over the limits: itself, or `file:function`, with the number."""
    source = (ROOT / path).read_text()
    lines = len(source.splitlines())
    if lines > MOST_LINES:
        yield str(path), f"{lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                yield f"{path}:{node.name}", f"{lines} lines"
            given = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len(given) - (given[:1] in (["self"], ["cls"]))
            if count > MOST_PARAMETERS and not (node.name == "__init__" and room_of(path) in OF_KERAS):
                yield f"{path}:{node.name}", f"{count} parameters"


@pytest.mark.once
def test_files_functions_and_lists_of_parameters_are_short():
    paths = sorted(path.relative_to(ROOT) for path in python_files())
    assert dict(known for path in paths if path.parts[0] != "tests" for known in too_much(path)) == {}


def public_functions(body, owner=""):
    """Functions and methods whose names do not begin with an underscore, and constructors, of public classes only."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
            yield f"{owner}{node.name}", node


@pytest.mark.once
@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] != "commands"], ids=str)
def test_what_is_public_is_annotated(path):
    """rankscope/py.typed promises it; the commands are functions of click's."""
    for name, node in public_functions(ast.parse((ROOT / path).read_text()).body):
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [argument.arg for argument in given if argument.arg not in ("self", "cls") and not argument.annotation]
        assert not bare, f"{name}: {bare}"
        assert node.returns is not None or node.name == "__init__", f"{name} does not say what it returns"


#: JAX makes no float64 unless it is told to, by itself and at run time; only TensorFlow knows the name of its GPU.
MAY_IMPORT = {Path("training/precision.py"): "jax", Path("training/device.py"): "tensorflow"}


@pytest.mark.once
@pytest.mark.parametrize("path", FILES, ids=str)
def test_nobody_imports_tensorflow_or_jax(path):
    assert not ({"tensorflow", "jax"} - {MAY_IMPORT.get(path)}) & set(imports_of(path))


@pytest.mark.parametrize("path", [path for path in FILES if ">>> " in (ROOT / path).read_text()], ids=str)
def test_examples_in_docstrings_run(path):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(f"rankscope.{name}")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
