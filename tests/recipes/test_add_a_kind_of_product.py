"""ARCHITECTURE.md, "To add a kind of product": one row, and a layer's tagged kernels are measured under its name."""

import csv
import json

import pytest

ROW = """        Product("lora", "B A", "lora", "lora", "B", "A", "columns of B", "rows of A"),
"""


@pytest.mark.slow
def test_a_new_kind_of_product_appears_in_every_output(checkout):
    checkout.insert("factors/products.py", '        Product("product"', ROW)
    layer = checkout.path / "zoo" / "layers" / "factor_chain.py"
    layer.write_text(layer.read_text().replace('tag(kernel, "factor")', 'tag(kernel, "lora")'))
    run = checkout.path / "run"
    checkout.run("fit", "linear", "--steps", "20", "--run-dir", run)

    with open(run / "ranks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["pair"] for row in rows} == {"lora"}
    summary = json.loads((run / "summary.json").read_text())
    assert summary["pseudo_rank_lora"] == float(rows[-1]["pseudo_rank"])
    with open(run / "decay_groups.csv", newline="") as file:
        assert {row["group"] for row in csv.DictReader(file)} == {"lora"}
    assert "pseudo rank of B A" in checkout.run("show", run).stdout
    checkout.run("report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Pseudo rank of B\u00a0A over steps" in page or "Pseudo rank of B A over steps" in page
