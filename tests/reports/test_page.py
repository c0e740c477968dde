"""The HTML page: what is in it, that nothing in a name becomes markup, that it asks nobody for anything."""

import json
import re

import numpy as np
import pytest
from page_elements import EVIL, Elements, data_of, without_scripts
from plotly.offline import get_plotlyjs
from random_analysis import random_analysis

from rankscope.reports import write_page
from rankscope.reports.rendering import to_json

COMMAND = "python cli.py analyze model --html report.html"


def page_of(tmp_path, *analyses, **options):
    path = tmp_path / "report.html"
    write_page(analyses, path, options.pop("command", COMMAND), **options)
    return path.read_text()


def test_one_checkpoint(tmp_path):
    analysis = random_analysis()
    elements = Elements(page := page_of(tmp_path, analysis))
    for word in (analysis.name, analysis.path, analysis.family, COMMAND, *analysis.notes):
        assert word in elements.text
    ids = elements.ids()
    assert len(ids) == len(set(ids))
    charts = [f"{kind}-{pair}-0" for kind in ("heatmap", "spectra", "norms", "tightness") for pair in ("qk", "vo")]
    assert set(charts) < set(ids)
    assert not {"checkpoints", "differences"} & set(ids)
    figures = [attributes for tag, attributes in elements.tags if attributes.get("class") == "chart"]
    assert all(len(attributes["aria-label"]) > 40 for attributes in figures)
    assert "initialisation" not in without_scripts(page)
    data = data_of(page)
    assert data["table"]["rows"] == 32
    np.testing.assert_allclose(data["table"]["numbers"]["pseudo_rank"], analysis.columns["pseudo_rank"], rtol=1e-5)


def test_heads_of_grouped_and_missing_layers_stay_in_their_cells(tmp_path):
    analysis = random_analysis(layers=3)
    kept = ~((analysis.columns["layer"] == 1) & (analysis.columns["head"] > 1))
    analysis.columns = {name: values[kept] for name, values in analysis.columns.items()}
    for chart in data_of(page_of(tmp_path, analysis))["heatmaps"]:
        for layer, line in zip(chart["layers"], chart["cells"], strict=True):
            assert [row is None for row in line] == [layer == 1 and head > 1 for head in range(4)]
            for head, row in enumerate(line):
                assert row is None or (analysis.columns["layer"][row], analysis.columns["head"][row]) == (layer, head)


def test_towers_have_charts_of_their_own(tmp_path):
    analysis = random_analysis()
    analysis.columns["tower"] = np.where(analysis.columns["layer"] < 2, "text.*", "vision.*")
    page = page_of(tmp_path, analysis)
    assert [chart["layers"] for chart in data_of(page)["heatmaps"]] == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert "vision.*" in without_scripts(page)


def test_several_checkpoints(tmp_path):
    analyses = [random_analysis(f"step{step}", seed=step, looks_initialised=step == 0) for step in range(3)]
    page = page_of(tmp_path, *analyses)
    curve = data_of(page)["progress"][0]["curves"][0]
    assert curve["measured"] == pytest.approx(
        [a.columns["pseudo_rank"][a.columns["pair"] == "qk"].mean() for a in analyses], rel=1e-5
    )
    assert "looks untrained" in page
    assert "Still looks like" not in page  # of the last, whose details follow


def test_differences_pair_heads_by_place_and_not_by_row(tmp_path):
    before, after = random_analysis("before"), random_analysis("after", seed=1)
    turned = {name: values[::-1] for name, values in before.columns.items()}
    turned = {name: values[4:] for name, values in turned.items()}  # the last layer's vo is in one only
    before.columns, whole = turned, before.columns
    page = page_of(tmp_path, before, after, compare=True)
    charts = {chart["id"]: chart for chart in data_of(page)["differences"]}
    expected = (after.columns["pseudo_rank"] - whole["pseudo_rank"]).reshape(4, 2, 4)
    np.testing.assert_allclose(charts["qk-0"]["values"]["pseudo_rank"], expected[:, 0], atol=1e-6)
    assert charts["vo-0"]["values"]["pseudo_rank"][3] == [None] * 4


def test_checkpoints_without_a_common_head(tmp_path):
    before, after = random_analysis(layers=1), random_analysis(layers=1)
    after.columns["layer"] = after.columns["layer"] + 7
    after.spectra = {(pair, 7): value for (pair, _), value in after.spectra.items()}
    after.row_norms = {(pair, 7): value for (pair, _), value in after.row_norms.items()}
    assert "no head in common" in page_of(tmp_path, before, after, compare=True)


def test_names_are_text_and_nothing_else(tmp_path):
    analysis = random_analysis(EVIL, path=EVIL, family=EVIL, notes=(EVIL,), looks_initialised=True)
    for name in ("tower", "path"):
        analysis.columns[name] = np.where(analysis.columns["layer"] < 2, EVIL, "plain")
    benign = random_analysis("plain")
    page = page_of(tmp_path, benign, analysis, command=EVIL, compare=True)
    elements = Elements(page)
    assert len(re.findall(r"<script\b", page[: page.index("/**\n* plotly.js")])) == 3  # data, page.js, plotly's
    assert "<img" not in page.replace(get_plotlyjs(), "")
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    assert "49%{x}" not in page
    assert EVIL in data_of(page)["table"]["texts"]["path"]["values"]
    assert all("<" not in name for name in data_of(page)["names"])  # plotly reads labels as HTML
    labels = [chart["label"] for kind in ("heatmaps", "differences") for chart in data_of(page)[kind]]
    assert not any("<script" in label or "<img" in label for label in labels)


def test_policy_allows_the_page_s_own_scripts_only(tmp_path):
    elements = Elements(page_of(tmp_path, random_analysis()))
    policy = next(a["content"] for tag, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    script = policy.split(";")[1]
    assert "unsafe" not in script
    assert script.count("sha256-") == 2


def test_nothing_comes_from_elsewhere(tmp_path):
    page = page_of(tmp_path, random_analysis())
    assert page.count(get_plotlyjs()) == 1
    for tag, attributes in Elements(page).tags:
        for name in ("src", "href", "action", "srcset", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, name)
    rest = page.replace(get_plotlyjs(), "")
    assert not re.search(r"https?://|@import|url\(|//cdn", rest)


def test_numbers_without_end_are_gaps(tmp_path):
    analysis = random_analysis()
    for name in ("pseudo_rank", "nuclear_norm", "nuclear_ratio_null", "balance_relative"):
        analysis.columns[name] = np.full(32, np.nan)
    analysis.columns["frobenius_bound"][:3] = [np.inf, 1e300, -1e-300]
    analysis.spectra["qk", 0][:] = 0.0
    page = page_of(tmp_path, analysis)
    assert data_of(page)["table"]["numbers"]["frobenius_bound"][:3] == [None, 1e300, -1e-300]
    assert "NaN" not in without_scripts(page)
    assert ">nan" not in page


def test_old_analyses_without_a_quantity(tmp_path):
    analysis = random_analysis()
    del analysis.columns["stable_rank"], analysis.columns["stable_rank_null"]
    assert "Stable rank" not in without_scripts(page_of(tmp_path, analysis)).split("</html>")[0].split("<main>")[1]


def test_a_page_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_page([random_analysis()], path, COMMAND)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_size_of_a_large_model(tmp_path):
    page = page_of(tmp_path, random_analysis(layers=32, heads=32, key_dim=128))
    assert len(page.encode()) < 12e6
    assert len(page.encode()) - len(get_plotlyjs().encode()) < 2e6


@pytest.mark.parametrize(("count", "compare"), [(0, False), (1, True), (3, True)])
def test_how_many_checkpoints(tmp_path, count, compare):
    with pytest.raises(ValueError, match="checkpoint"):
        write_page([random_analysis()] * count, tmp_path / "report.html", COMMAND, compare=compare)


def test_a_checkpoint_without_heads(tmp_path):
    analysis = random_analysis()
    analysis.columns = {name: values[:0] for name, values in analysis.columns.items()}
    with pytest.raises(ValueError, match=r"^/models/Llama-2-7b-hf: no heads to show$"):
        write_page([analysis], tmp_path / "report.html", COMMAND)


def test_json_in_a_script_cannot_end_it():
    text = to_json({"name": EVIL, "number": np.float32(1 / 3), "none": float("inf")})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"name": EVIL, "number": 0.333333, "none": None}
