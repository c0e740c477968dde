"""What `import rankscope` gives: names that cost nothing until they are used, in any working directory."""

import ast
import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rankscope

ROOT = Path(__file__).parent.parent


def python(code_or_file, cwd):
    """Run Python as a user does who has Rankscope on the path, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *(["-c", code_or_file] if isinstance(code_or_file, str) else [code_or_file.name])]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def crowded(tmp_path):
    """A working directory in which the names of our packages are the user's own."""
    for name in ("data", "training", "records", "callbacks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the package of a user')\n")
    (tmp_path / "records" / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "zoo.py").write_text("raise ImportError('the module of a user')\n")
    return tmp_path


@pytest.mark.once
def test_importing_it_imports_the_standard_library_alone(tmp_path):
    code = "import sys; before = set(sys.modules); import rankscope; print(*sorted(set(sys.modules) - before))"
    imported = python(code, tmp_path).split()
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {"rankscope"}
    assert [name for name in imported if name.startswith("rankscope")] == ["rankscope"]


@pytest.mark.once
def test_results_need_no_backend(tmp_path):
    code = (
        "import rankscope as r, sys; r.measure, r.analyze, r.compare, r.load_run, r.FactorPair; "
        "print({'keras', 'tensorflow', 'jax', 'torch', 'matplotlib', 'pandas', 'polars'} & set(sys.modules))"
    )
    assert python(code, tmp_path) == "set()\n"


@pytest.mark.once
def test_it_names_what_a_user_needs_and_nothing_else():
    named = {name for name in dir(rankscope) if not name.startswith("_")}
    assert named == set(rankscope.__all__) - {"__version__"}
    assert named == {
        *("RankMonitor", "AdamW", "AdamL2", "SGD", "tag", "factor_pairs", "FactorPair"),
        *("measure", "analyze", "compare", "load_run"),
    }
    for name in named:
        assert getattr(rankscope, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'rankscope' has no attribute 'anlyze'"):
        rankscope.anlyze  # noqa: B018


@pytest.mark.once
def test_type_checkers_see_the_same_names_at_the_same_places():
    tree = ast.parse((ROOT / "rankscope" / "__init__.py").read_text())
    seen = {
        alias.name: node.module.removeprefix("rankscope.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("rankscope.")
        for alias in node.names
    }
    assert seen == rankscope._HOMES


def test_its_example_runs():
    result = doctest.testmod(rankscope, optionflags=doctest.ELLIPSIS)
    assert (result.attempted > 0, result.failed) == (True, 0)


@pytest.mark.slow
def test_the_code_in_readme_runs_as_it_stands(crowded):
    section = (ROOT / "README.md").read_text().split("\n## In your own code\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    script = crowded / "mine.py"
    script.write_text(code)
    printed = python(script, crowded)
    assert printed.splitlines()[-1].startswith("Measurements of factor pairs: 1 layer, 1 product of heads; mean pseudo")
    assert (crowded / "ranks.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (crowded / "saved_models" / "mine").iterdir())[-2:] == [
        "ranks.csv",
        "spectra.npz",
    ]


@pytest.mark.once
def test_results_in_a_crowded_directory(crowded):
    code = """
import numpy as np, rankscope
kernel = np.random.default_rng(0).standard_normal((3, 16, 8))
pair = rankscope.FactorPair("qk", 0, "layer", a=kernel, b=kernel)
print(rankscope.measure(pair).to_pandas()["head"].tolist())
"""
    assert python(code, crowded) == "[0, 1, 2]\n"
