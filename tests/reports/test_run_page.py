"""The page about runs: what it says of one, several, a sweep, a study; what is averaged; hostile and damaged files."""

import base64
import json
import re

import numpy as np
import pytest
import yaml
from page_elements import EVIL, Elements, data_of, without_scripts
from PIL import Image
from plotly.offline import get_plotlyjs
from run_directories import RATE, make_run, make_sweep, make_verdict

from rankscope.files import write_json
from rankscope.records import read_run_records
from rankscope.reports.points import points_of
from rankscope.reports.run_page import write_run_page

COMMAND = "python cli.py report RUN"


def page_of(tmp_path, runs, folder=None):
    path = tmp_path / "report.html"
    write_run_page(runs, path, COMMAND, folder)
    return path.read_text(encoding="utf-8")


def charts(page):
    return [a["id"] for _, a in Elements(page).tags if a.get("class") == "chart"]


def labels(runs):
    return [point.label for point in points_of([read_run_records(run) for run in runs])[1]]


def test_one_run(tmp_path):
    run = make_run(tmp_path / "runs" / "mine")
    elements = Elements(page := page_of(tmp_path, [run]))
    for word in (
        "mine",
        "vit",
        "mnist_5k",
        "adamw",
        "jax",
        "3.15.1",
        "60 s",
        "1.0 %",
        COMMAND,
        "block_*/mlp_up/kernel",
    ):
        assert word in elements.text
    assert "KERAS_BACKEND=jax rankscope fit settings.yaml" in elements.text
    assert "python cli.py fit vit --run-dir mine" in elements.text
    assert str(tmp_path) not in page
    assert "/home/me" not in page
    ids = elements.ids()
    assert len(ids) == len(set(ids))
    ranks = [f"ranks-{kind}-{pair}" for kind in ("pseudo_rank", "nuclear_gap", "imbalance") for pair in ("qk", "vo")]
    history = [f"history-{name}" for name in ("val_loss", "val_accuracy", "loss", "accuracy", "learning_rate")]
    assert charts(page) == [*ranks, *history, "heatmap-qk", "heatmap-vo", "spectra-qk", "spectra-vo"]
    for tag, attributes in elements.tags:
        if attributes.get("class") == "chart":
            assert len(attributes["aria-label"]) > 40
        assert attributes.get("href", "#").startswith(("#", "data:")), tag
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_settings_can_be_saved(tmp_path):
    run = make_run(tmp_path / "run")
    links = [a["href"] for tag, a in Elements(page_of(tmp_path, [run])).tags if a.get("download") == "settings.yaml"]
    saved = base64.b64decode(links[0].removeprefix("data:text/yaml;base64,")).decode()
    assert yaml.safe_load(saved) == yaml.safe_load((run / "settings.yaml").read_text())


def test_a_sweep(tmp_path):
    runs = make_sweep(tmp_path / "sweep")
    page = page_of(tmp_path, runs, tmp_path / "sweep")
    text = Elements(page).text
    assert "sweep settings.yaml --over optimizer.attention_weight_decay=0.0,0.1,0.3 --seeds 0,1" in text
    assert "0.905 ± 0.064" in text  # 0.9 and 0.91: 12.706 · 0.005
    assert text.count("2 of 2") == 3
    data = data_of(page)
    assert [one["label"] for one in data["series"]] == ["wd_attn=0", "wd_attn=0.1", "wd_attn=0.3"]
    assert data["trend"]["ticks"] == [0, 0.1, 0.3]
    assert [chart["id"] for chart in data["trend"]["charts"]] == [
        "pseudo_rank_qk",
        "pseudo_rank_vo",
        "val_accuracy",
        "val_loss",
    ]
    assert data["ordered"] is True
    assert "To keep this page small" not in text


def test_curves_are_means_and_ranges_over_seeds(tmp_path):
    series = data_of(page_of(tmp_path, make_sweep(tmp_path / "sweep", decays=(0.3,))))["series"]
    (one,) = series
    rank = one["ranks"]["qk"]["1"]["pseudo_rank"]
    by_seed = [0.9 / (1 + 0.3 * np.arange(6) * 1.1 + 0.01 * seed) for seed in (0, 1)]
    np.testing.assert_allclose(rank["low"], by_seed[1], rtol=1e-3)
    np.testing.assert_allclose(rank["high"], by_seed[0], rtol=1e-3)
    np.testing.assert_allclose(rank["mean"], np.mean(by_seed, axis=0), rtol=1e-3)
    imbalance = one["ranks"]["vo"]["all"]["imbalance"]
    assert imbalance["mean"][0] == 1
    np.testing.assert_allclose(imbalance["reference"], np.exp(-2 * 0.3 * 100 * RATE * np.arange(6)), rtol=1e-3)
    assert one["history"]["val_loss"]["steps"] == [100, 200, 300, 400, 500]


KERNELS = [f"block_0/attention/{role}_kernel" for role in ("query", "key", "value", "output")]


def imbalances(tmp_path, **run):
    (one,) = data_of(page_of(tmp_path, [make_run(tmp_path / "run", **run)]))["series"]
    return {pair: {layer: charts["imbalance"] for layer, charts in one["ranks"][pair].items()} for pair in ("qk", "vo")}


def test_no_law_where_decay_is_no_term_of_the_update(tmp_path):
    found = imbalances(tmp_path, patterns=dict.fromkeys(KERNELS))
    assert "reference" not in found["qk"]["0"]
    assert "reference" not in found["qk"]["all"]
    assert "reference" in found["qk"]["1"]


def test_no_law_where_the_factors_of_a_product_decay_differently(tmp_path):
    found = imbalances(tmp_path, patterns={KERNELS[0]: 1.0})
    assert "reference" not in found["qk"]["0"]
    assert "reference" not in found["qk"]["all"]
    assert "reference" in found["vo"]["all"]


def test_layers_have_laws_of_their_own(tmp_path):
    """A pattern took block 0: the law of the mean is that of both layers, each a half at the start."""
    found = imbalances(tmp_path, decay=0.3, patterns=dict.fromkeys(KERNELS, 1.0))
    strong, weak = (np.exp(-2 * λ * 100 * RATE * np.arange(6)) for λ in (1.0, 0.3))
    for layer, law in {"0": strong, "1": weak, "all": (strong + weak) / 2}.items():
        np.testing.assert_allclose(found["vo"][layer]["reference"], law, rtol=1e-3)


def test_the_bound_of_the_gap_is_a_mean_over_seeds_too(tmp_path):
    runs = [make_run(tmp_path / str(seed), seed=seed) for seed in (0, 8)]
    (one,) = data_of(page_of(tmp_path, runs))["series"]
    gap = one["ranks"]["qk"]["0"]["nuclear_gap"]
    np.testing.assert_allclose(gap["reference"], 4 * np.array(gap["mean"]), rtol=1e-3)


def test_no_text_of_a_run_is_markup_in_a_chart(tmp_path):
    evil = "<a href=//evil>%{y}</a>"
    runs = [
        make_run(tmp_path / f"{wd}-{seed}", decay=wd, seed=seed, changed={f"training.{evil}": evil * seed})
        for wd in (0.1, 0.2, 0.3)
        for seed in (1, 2)
    ]
    runs.append(make_run(tmp_path / "apart", decay=0.4, status=evil))
    data = data_of(page_of(tmp_path, runs))
    texts = [*data["trend"]["lines"], data["trend"]["label"], *(one["label"] for one in data["series"])]
    assert any("evil" in text for text in texts)
    assert not any("<" in text or "%{" in text for text in texts)


def test_points_differ_in_anything_but_the_seed(tmp_path):
    first = make_run(tmp_path / "a", decay=0.1, seed=0)
    assert labels([first]) == ["run"]
    assert labels([first, make_run(tmp_path / "b", decay=0.1, seed=1)]) == ["run"]
    assert labels([first, make_run(tmp_path / "c", decay=None, seed=2)]) == ["run"]  # null: the same as --wd, 0.1
    graded = make_run(tmp_path / "d", decay={"qk": 0.0, "vo": 0.1})
    assert labels([first, graded]) == ["wd_qk=0", "wd_qk=0.1"]
    wider = [make_run(tmp_path / f"e{wd}", decay=None, changed={"optimizer.weight_decay": wd}) for wd in (0.3, 0.1)]
    assert labels(wider) == ["wd=0.1", "wd=0.3"]
    other = make_run(tmp_path / "f", changed={"optimizer.learning_rate": 1e-3, "model.num_heads": 4})
    assert labels([first, other]) == ["num_heads=2, lr=0.01", "num_heads=4, lr=0.001"]
    assert labels([first, make_run(tmp_path / "g", backend="torch")]) == ["backend=jax", "backend=torch"]


def test_unfinished_failed_and_not_learned_runs_are_named_and_stand_apart(tmp_path):
    runs = [make_run(tmp_path / "good"), make_run(tmp_path / "strayed", seed=1, status="did_not_learn")]
    runs += [make_run(tmp_path / f"{status}-run", seed=2, status=status) for status in ("unfinished", "failed")]
    *_, one, other = (runs[2] / "ranks.csv").read_text().splitlines()
    with open(runs[2] / "ranks.csv", "a") as file:  # killed in the midst of a reading, and of a line
        file.write(one.replace("500,", "600,", 1) + "\n" + other.replace("500,", "600,", 1)[:40])
    page = page_of(tmp_path, runs)
    banners = [part for part in without_scripts(page).split('<p class="banner" role="note">')[1:]]
    assert "strayed (500 of 500 steps)" in banners[0]
    assert "Did not learn" in banners[0]
    assert "unfinished-run" in banners[1]
    assert "failed-run (100 of 500 steps)" in banners[2]
    data = data_of(page)
    assert [one["apart"] for one in data["series"]] == [
        None,
        "did not learn, seed 1",
        "unfinished, seed 2",
        "failed, seed 2",
    ]
    assert [len(one["steps"]) for one in data["series"]] == [6, 6, 6, 2]
    assert "1 of 4" in Elements(page).text


def test_a_run_that_has_just_begun(tmp_path):
    run = make_run(tmp_path / "run", status="unfinished")
    for name in ("ranks.csv", "history.csv", "decay_groups.csv", "spectra.part"):
        (run / name).unlink()
    page = page_of(tmp_path, [run])
    assert charts(page) == []
    assert "run (0 of 500 steps)" in Elements(page).text


def test_older_runs_lack_keys(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "summary.json").write_text('{"status": "complete"}')
    (run / "environment.json").unlink()
    lines = [line.split(",") for line in (run / "ranks.csv").read_text().splitlines()]
    kept = [place for place, name in enumerate(lines[0]) if "gap" not in name and not name.startswith("effective")]
    (run / "ranks.csv").write_text("".join(",".join(line[place] for place in kept) + "\n" for line in lines))
    page = page_of(tmp_path, [run])
    assert "rankscope fit settings.yaml" in Elements(page).text
    assert "nuclear_gap" not in data_of(page)["series"][0]["ranks"]["qk"]["all"]


def test_a_study(tmp_path):
    make_verdict(tmp_path / "study", verdict="fails", corrected=0.5, remark="it is explained")
    page = page_of(tmp_path, [], tmp_path / "study")
    elements = Elements(page)
    for word in ("Study figure-1", "theorem 3.4", "the gap vanishes", "≥ 0.24", "0.305", "0.0048", "1: 1 fails"):
        assert word in elements.text
    assert "expected: holds" in elements.text
    assert "it is explained" in elements.text
    assert {a["href"][1:] for _, a in elements.tags if a.get("href", "").startswith("#")} <= set(elements.ids())
    both = page_of(tmp_path, make_sweep(tmp_path / "study"), tmp_path / "study")
    assert "Verdicts" in Elements(both).text
    assert "ranks-pseudo_rank-qk" in charts(both)


def test_text_of_files_is_text_and_nothing_else(tmp_path):
    folder = tmp_path / "<img src=x onerror=alert(3)>"
    environment = {"device": EVIL, "git_commit": EVIL, "packages": {EVIL: EVIL}, "command": ["cli.py", EVIL]}
    runs = [
        make_run(
            folder / f"<b>{decay}", decay, changed={"data.source": EVIL + str(decay), "model.name": EVIL}, **environment
        )
        for decay in (0.0, 0.1)
    ]
    table = (runs[0] / "decay_groups.csv").read_text().replace("block_0", "<i onclick=x>")
    (runs[0] / "decay_groups.csv").write_text(table)
    summary = json.loads((runs[1] / "summary.json").read_text())
    (runs[1] / "summary.json").write_text(
        json.dumps(summary | {"status": EVIL, "val_loss": EVIL, "monitor_share": EVIL})
    )
    make_verdict(folder, statement=EVIL, verdict=EVIL, measured=EVIL, source=EVIL, id=EVIL)
    path = tmp_path / "report.html"
    write_run_page(runs, path, EVIL, folder)
    page = path.read_text(encoding="utf-8")
    elements = Elements(page)
    assert len(re.findall(r"<script\b", page[: page.index("/**\n* plotly.js")])) == 3  # data, ours, plotly's
    assert not re.search(r"<(img|b|i)\b", without_scripts(page))
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    assert EVIL in elements.text
    data = data_of(page)
    shown = [one["label"] for kind in ("series", "heatmaps", "spectra") for one in data[kind]]
    assert len(shown) == 6
    assert not any("<" in label for label in shown)  # plotly reads labels as HTML
    policy = next(a["content"] for _, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("settings.yaml", "a: [", r"settings\.yaml is damaged: .+"),
        ("settings.yaml", "a: &x [1]\nb: *x", r"settings\.yaml is damaged: it has an alias"),
        ("settings.yaml", "- 1", r"settings\.yaml is damaged: it must hold a mapping\. Received: list"),
        ("environment.json", "{", r"environment\.json is damaged: Expecting property name"),
        ("summary.json", "{}", r"summary\.json is damaged: it has no status"),
        ("summary.json", "[" * 100_000, r"summary\.json is damaged: .+"),
        ("history.csv", "step,loss\n1,x\n", r"history\.csv, line 2: could not convert"),
        ("history.csv", "loss\n1\n", r"history\.csv lacks the columns step"),
        ("decay_groups.csv", "path\nx\n", r"decay_groups\.csv lacks the columns"),
        ("ranks.csv", "step,pair\n0,qk\n", r"ranks\.csv lacks the columns"),
        ("spectra.npz", "PK", r"spectra\.npz is damaged: File is not a zip file"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, content, message):
    run = make_run(tmp_path / "run")
    (run / name).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        page_of(tmp_path, [run])
    assert "\n" not in str(error.value)
    assert str(run) in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_readings_that_do_not_fit_together(tmp_path):
    run = make_run(tmp_path / "run")
    lines = (run / "ranks.csv").read_text().splitlines(keepends=True)
    (run / "ranks.csv").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"ranks\.csv is damaged: its 47 rows are no readings of 8 heads each"):
        page_of(tmp_path, [run])
    (run / "ranks.csv").write_text("".join([lines[0], lines[2], lines[1], *lines[3:]]))
    with pytest.raises(ValueError, match="not all of the same heads in the same order"):
        page_of(tmp_path, [run])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"steps": np.arange(2), "qk/0": np.array([[["x"]]] * 2)}, "qk/0.npy must be numbers of 3 axes"),
        ({"steps": np.arange(2), "qk/0": np.zeros((3, 1, 1))}, "qk/0 has 3 readings, and there are 2 steps"),
        ({"qk/0": np.zeros((3, 1, 1))}, "'steps'"),
    ],
)
def test_spectra_that_do_not_fit_together(tmp_path, arrays, message):
    run = make_run(tmp_path / "run")
    np.savez(run / "spectra.npz", **arrays)
    with pytest.raises(ValueError, match=rf"spectra\.npz is damaged: {message}"):
        page_of(tmp_path, [run])


def test_spectra_that_unpack_to_more_than_they_are(tmp_path):
    run = make_run(tmp_path / "run")
    np.savez_compressed(run / "spectra.npz", steps=np.arange(1), **{"qk/0": np.zeros((1, 1000, 1000))})
    with pytest.raises(ValueError, match=r"spectra\.npz is damaged: .+ is not stored as it is"):
        page_of(tmp_path, [run])


def test_nothing_to_report(tmp_path):
    with pytest.raises(ValueError, match="a report needs at least one run"):
        page_of(tmp_path, [], tmp_path)
    (tmp_path / "sweep.yaml").write_text("over: 1")
    with pytest.raises(ValueError, match=r"sweep\.yaml is damaged: it must have `over`"):
        page_of(tmp_path, [make_run(tmp_path / "run")], tmp_path)
    (tmp_path / "verdict.json").write_text('{"claims": 1}')
    with pytest.raises(ValueError, match=r"verdict\.json is damaged: it must have a list of claims"):
        page_of(tmp_path, [], tmp_path)


def test_a_run_page_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    (tmp_path / "report.html").write_text("before")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        page_of(tmp_path, [run])
    assert (tmp_path / "report.html").read_text() == "before"


@pytest.mark.slow
def test_size_of_a_large_sweep(tmp_path):
    """Fifty readings of 12 layers × 12 heads, once made and linked to from 50 runs."""
    whole = make_run(tmp_path / "whole", layers=12, heads=12, key_dim=64, readings=50)
    runs = []
    for number in range(50):
        run = make_run(tmp_path / "sweep" / f"run{number}", decay=number / 10, readings=1)
        for name in ("ranks.csv", "spectra.npz"):
            (run / name).unlink()
            (run / name).hardlink_to(whole / name)
        runs.append(run)
    page = page_of(tmp_path, runs)
    assert len(page.encode()) < 12e6
    assert len(page.encode()) - len(get_plotlyjs().encode()) < 5e6
    assert "12 of 50 runs are shown head by head" in Elements(page).text
    assert "readings are drawn" in Elements(page).text


def test_a_damaged_run_among_others_is_left_out_and_named(tmp_path):
    runs = [make_run(tmp_path / name, decay) for name, decay in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    lines = (runs[1] / "ranks.csv").read_text().splitlines(keepends=True)
    (runs[1] / "ranks.csv").write_text("".join([lines[0], *lines[9:17], *lines[1:9], *lines[17:]]))
    page = page_of(tmp_path, runs)
    assert len(data_of(page)["series"]) == 2
    message = f"{runs[1] / 'ranks.csv'} is damaged: its steps are not in order"
    assert f"Damaged, and left out. {message}" in " ".join(Elements(page).text.split())
    with pytest.raises(ValueError, match="its steps are not in order"):
        page_of(tmp_path, [runs[1]])


def test_the_page_says_what_was_asked_for(tmp_path):
    """λ and η whether they vary or not, and at most twelve other settings."""
    facts = facts_of(page_of(tmp_path, [make_run(tmp_path / "a", decay={"qk": 0.0, "vo": 1.0})]))
    assert (facts["wd"], facts["wd_attn"], facts["lr"]) == ("0.1", "qk 0, vo 1", "0.01")
    runs = [
        make_run(
            tmp_path / f"many-{value}",
            decay=value,
            changed={f"training.more_{number}": value for number in range(15)},
        )
        for value in (1, 2)
    ]
    facts = facts_of(page_of(tmp_path, runs))
    assert facts["wd_attn"] == "1, 2"
    assert facts["And"] == "3 more settings that vary"


def facts_of(page):
    return dict(re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page[: page.index("</header>")]))


def test_an_unfinished_run_is_told_as_far_as_it_got(tmp_path):
    """Validated last at step 500, 1 − e^(−2.5); the last of its six readings is beside a null of 0.94."""
    page = without_scripts(page_of(tmp_path, [make_run(tmp_path / "run", status="unfinished")]))
    row = page[page.index("no: unfinished, seed 0") :]
    assert f'<td rowspan="2">{1 - np.exp(-2.5):.3g}</td>' in row
    assert f'<td>{0.9 / 1.525:.3g} <span class="soft">(0.94)</span></td>' in row  # layers of 0.9/1.5 and 0.9/1.55


def test_the_same_run_twice_is_no_second_seed(tmp_path):
    runs = [make_run(tmp_path / name, seed=3) for name in ("one", "copy")]
    text = " ".join(Elements(page_of(tmp_path, runs)).text.split())
    assert "The same settings and seed more than once, each counted as a seed of its own. one; copy" in text


def test_runs_that_stand_apart_have_names_of_their_own(tmp_path):
    """Where many settings vary a point is named by its runs: by those that learned."""
    one, other = ({f"training.more_{number}": value for number in range(6)} for value in (1, 2))
    runs = [make_run(tmp_path / "other", changed=other), make_run(tmp_path / "good", changed=one)]
    runs.append(make_run(tmp_path / "strayed", seed=1, status="did_not_learn", changed=one))
    assert [one["label"] for one in data_of(page_of(tmp_path, runs))["series"]] == [
        *("good", "strayed (did not learn, seed 1)", "other"),
    ]


def test_values_at_which_no_run_learned_are_named(tmp_path):
    runs = [make_run(tmp_path / str(decay), decay) for decay in (0.1, 0.2, 0.3)]
    runs.append(make_run(tmp_path / "0.4", 0.4, status="did_not_learn"))
    assert "No run learned at 0.4" in " ".join(Elements(page_of(tmp_path, runs)).text.split())


def test_a_study_shows_its_figures_and_environment(tmp_path):
    make_verdict(tmp_path)
    Image.new("RGB", (3, 2)).save(tmp_path / "figure-1.png")
    write_json(tmp_path / "environment.json", {"backend": "jax", "packages": {"keras": "3.15.1"}})
    path = tmp_path / "report.html"
    write_run_page([], path, "command", tmp_path)
    elements = Elements(path.read_text(encoding="utf-8"))
    (picture,) = [attributes["src"] for tag, attributes in elements.tags if tag == "img"]
    assert base64.b64decode(picture.removeprefix("data:image/png;base64,")) == (tmp_path / "figure-1.png").read_bytes()
    assert "keras3.15.1" in elements.text
