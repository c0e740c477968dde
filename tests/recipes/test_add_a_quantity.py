"""ARCHITECTURE.md, "To add a quantity", followed to the letter: one function, one row, and it is in every output."""

import csv
import json
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

FUNCTION = '''def spectral_share(singular_values):
    """σ₁ / Σσ, the share of the largest singular value; 0 for the zero product."""
    relative, nonzero = _relative(singular_values)
    return np.where(nonzero, 1 / np.where(nonzero, relative.sum(axis=-1), 1.0), 0.0)


'''
ROW = """    Quantity(
        "spectral_share",
        "spectral share",
        "The share of the largest singular value in the sum of all.",
        "σ₁ / Σσ",
        "in (0, 1]; 0 for the zero product",
        **_of_spectrum(spectral_share),
        shown=Shown.EVERYWHERE,
    ),
"""
WITHOUT_NULL = """    Quantity(
        "spectral_norm",
        "spectral norm",
        "The largest singular value.",
        "σ₁",
        "≥ 0, in squared units of the weights",
        measured=lambda heads: heads.singular_values[:, 0],
        shown=Shown.EVERYWHERE,
    ),
"""


@pytest.mark.slow
def test_a_new_quantity_appears_in_every_output(checkout):
    checkout.insert("factors/spectrum.py", "def nuclear_norm(", FUNCTION)
    checkout.insert("factors/quantities.py", "pseudo_rank, stable_rank\n", "spectral_share, ")
    checkout.insert("factors/quantities.py", '    Quantity(\n        "row_norm_agreement"', ROW)
    run = checkout.path / "run"
    checkout.run("fit", "linear", "--steps", "20", "--run-dir", run)

    with open(run / "ranks.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    share, null = float(row["spectral_share"]), float(row["spectral_share_null"])
    assert 0.2 <= share <= 1  # of five singular values
    assert 0.2 < null < 1
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["spectral_share_product"], summary["spectral_share_product_null"]) == (share, null)
    assert f"{share:.3f} ({null:.3f})" in checkout.run("show", run).stdout

    events = EventAccumulator(str(run)).Reload()
    assert events.Scalars("spectral_share/product/mean")[-1].value == pytest.approx(share, rel=1e-6)
    assert events.Scalars("spectral_share/product/null")[-1].value == pytest.approx(null, rel=1e-6)

    assert f"{share:.3f} ({null:.3f})" in checkout.run("analyze", run, "--html", "analysis.html").stdout
    (measured,) = csv.DictReader(checkout.run("analyze", run, "--format", "csv").stdout.splitlines())
    assert float(measured["spectral_share"]) == pytest.approx(share, rel=1e-6)
    assert {"spectral_share_null", "spectral_share_excess"} < set(measured)
    assert "spectral share" in " ".join(checkout.run("compare", run, run).stdout.split())

    checkout.run("report", run)
    for page in (run / "report.html", checkout.path / "analysis.html"):
        assert "Spectral share" in page.read_text(encoding="utf-8"), page.name

    subprocess.run([sys.executable, "docs/quantities.py"], cwd=checkout.path, check=True)
    assert "### `spectral_share`: spectral share\n" in (checkout.path / "docs" / "quantities.md").read_text()


@pytest.mark.slow
def test_a_quantity_without_a_null_stands_alone_in_every_output(checkout):
    checkout.insert("factors/quantities.py", '    Quantity(\n        "row_norm_agreement"', WITHOUT_NULL)
    run = checkout.path / "run"
    checkout.run("fit", "linear", "--steps", "20", "--run-dir", run)

    with open(run / "ranks.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    norm = float(row["spectral_norm"])
    assert norm > 0
    assert "spectral_norm_null" not in row
    summary = json.loads((run / "summary.json").read_text())
    assert [key for key in summary if key.startswith("spectral_norm")] == ["spectral_norm_product"]

    events = EventAccumulator(str(run)).Reload()
    assert events.Scalars("spectral_norm/product/mean")[-1].value == pytest.approx(norm, rel=1e-6)
    assert "spectral_norm/product/null" not in events.Tags()["scalars"]
    layout = events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]
    assert b"spectral_norm/product/mean$" in layout

    for command in (("show", run), ("analyze", run, "--html", "analysis.html"), ("compare", run, run)):
        output = checkout.run(*command).stdout
        assert "spectral norm" in " ".join(output.split()), command
        assert f"{norm:.3f} (" not in output, command
    checkout.run("report", run)
    for page in (run / "report.html", checkout.path / "analysis.html"):
        assert "Spectral norm" in page.read_text(encoding="utf-8"), page.name
