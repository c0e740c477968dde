"""ARCHITECTURE.md, "To add a study", followed to the letter: one file, one row, and it is run, drawn and judged."""

import csv
import json

import pytest
import yaml

STUDY = '''"""How near tall Gaussian factors come to their Frobenius bound: ‖A Bᵀ‖_* / ½(‖A‖² + ‖B‖²) of many rows."""

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field

from rankscope import factors
from rankscope.settings import Count, Section, Seeds
from rankscope.studies.study import Study
from rankscope.studies.verdict import Case, Claim


class TallSettings(Section):
    """Which shapes."""

    rows: list[Count] = Field([16, 64, 256, 1024], description="Rows of A and of B.")
    key_dim: Count = Field(8, description="Columns of A and of B.")
    seeds: Seeds = Field([0, 1], description="Of the factors.")


def run(settings, writer):
    """Draw factors, measure, draw the figure, and judge."""
    found = [
        {"rows": rows, "seed": seed, "ratio": ratio_of(rows, settings.key_dim, seed)}
        for rows in settings.rows
        for seed in settings.seeds
    ]
    writer.table("ratios", found)
    figure = Figure()
    figure.subplots().semilogx([row["rows"] for row in found], [row["ratio"] for row in found], "o")
    writer.figure("tall", figure)
    tallest = [row for row in found if row["rows"] == max(settings.rows)]
    cases = [Case(f"rows={row['rows']} seed={row['seed']}", 0.99, row["ratio"], 0.0) for row in tallest]
    return [Claim("tall.ratio", "a question of our own", "tall Gaussian factors are nearly tight", cases, "≥")]


def ratio_of(rows, key_dim, seed):
    """Nuclear norm over Frobenius bound of one Gaussian pair."""
    a, b = np.random.default_rng(seed).standard_normal((2, rows, key_dim))
    return float(factors.nuclear_norm(factors.singular_values(a, b)) / factors.frobenius_bound(a, b))


STUDY = Study("tall", TallSettings, run)
'''
LOADER = """def _tall() -> "Study":
    from rankscope.studies.tall import STUDY

    return STUDY


"""
ROW = """    "tall": ListedStudy("how near tall Gaussian factors come to their bound", _tall),
"""


@pytest.mark.slow
def test_a_new_study_is_listed_run_drawn_and_judged(checkout):
    (checkout.path / "studies" / "tall.py").write_text(STUDY, encoding="utf-8")
    checkout.insert("studies/__init__.py", "#: Name → study.", LOADER)
    checkout.insert("studies/__init__.py", '    "figure-5": ListedStudy(', ROW)

    assert "how near tall Gaussian factors come to their bound" in checkout.run("study").stdout

    directory = checkout.path / "result"
    printed = checkout.run("study", "tall", "--set", "rows=[16, 2048]", "--seeds", "3", "--run-dir", directory).stdout
    assert "tall.ratio" in printed
    (claim,) = json.loads((directory / "verdict.json").read_text())["claims"]
    assert (claim["verdict"], claim["cases"], claim["predicted"]) == ("holds", 3, 0.99)
    with open(directory / "records" / "ratios.csv", newline="") as file:
        assert [(row["rows"], row["seed"]) for row in csv.DictReader(file)] == [
            (rows, seed) for rows in ("16", "2048") for seed in "012"
        ]
    assert (directory / "tall.png").stat().st_size > 1000
    settings = yaml.safe_load((directory / "study.yaml").read_text())
    assert settings == {"study": "tall", "rows": [16, 2048], "key_dim": 8, "seeds": [0, 1, 2]}

    short = checkout.run("study", "tall", "--set", "rows=[16]", "--run-dir", checkout.path / "short", check=False)
    assert short.returncode == 1  # the verdict is not the expected one
    assert "fails (expected: holds)" in " ".join(short.stdout.split())
    wrong = checkout.run("study", "tall", "--set", "row=16", check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "row" in wrong.stderr
