"""What measure, analyze, compare and load_run give: tables, pictures, and one line for what they refuse."""

import csv
import io

import numpy as np
import pytest
from safetensors.numpy import save_file

from rankscope.analysis import (
    PAIR_COLUMNS,
    analyze,
    analyze_checkpoint,
    as_csv,
    compare,
    load_run,
    measure,
)
from rankscope.errors import UserError
from rankscope.factors import FactorPair
from rankscope.factors import measure as measure_pair
from rankscope.records import StepTable
from tests.analysis.small_checkpoints import checkpoint
from tests.reports.run_directories import make_run


def pairs(layers=2, heads=3):
    rng = np.random.default_rng(0)
    for layer in range(layers):
        for kind in ("qk", "vo"):
            yield FactorPair(kind, layer, f"block_{layer}", *rng.standard_normal((2, heads, 16, 4)))


def llama(folder, layers=2, seed=0, scale=1.0, heads=4):
    """A checkpoint of Hugging Face's names, with its config."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    names = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"}
    tensors = {
        f"model.layers.{layer}.self_attn.{name}.weight": (scale * rng.standard_normal((16, 16))).astype(np.float32)
        for layer in range(layers)
        for name in names.values()
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(
        f'{{"model_type": "llama", "num_attention_heads": {heads}, "hidden_size": 16, "num_key_value_heads": {heads}}}'
    )
    return folder


def texts(figure):
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


# === measure ===


def test_measure_has_a_row_a_head_and_the_numbers_of_each_pair():
    table = measure(pairs()).to_pandas()
    assert tuple(table.columns) == PAIR_COLUMNS
    assert table[["pair", "layer", "path", "head"]].iloc[4].to_list() == ["vo", 0, "block_0", 1]
    one = measure_pair(list(pairs())[1], premise=True)
    rows = table[(table["pair"] == "vo") & (table["layer"] == 0)]
    for name, values in one.quantities.items():
        np.testing.assert_allclose(rows[name], values, rtol=1e-12, err_msg=name)


def test_one_pair_is_enough_and_any_iterable_will_do():
    (first, *rest) = pairs()
    assert len(measure(first).to_pandas()) == 3
    assert len(measure(iter([first, *rest])).to_polars()) == 12


def test_measurements_are_drawn_and_shown():
    result = measure(pairs())
    assert repr(result).startswith("Measurements of factor pairs: 2 layers, 12 products of heads; mean pseudo rank")
    assert texts(result.plot())[0] == "$W_K^\\top W_Q$, first head of each layer"
    assert "W_KᵀW_Q" in result._repr_html_()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ([], ValueError, r"^There are no factor pairs to measure: .* by tag$"),
        (3, TypeError, r"^measure takes factor pairs, .* Received: int$"),
        (["model"], TypeError, r"^measure takes a FactorPair or an iterable of them\. Received one of str$"),
        ([*pairs(), *pairs()], ValueError, r"Received twice: qk of layer 0, at 'block_0' and at 'block_0'$"),
    ],
    ids=["none", "number", "text", "twice"],
)
def test_what_measure_refuses(wrong, error, message):
    with pytest.raises(error, match=message):
        measure(wrong)


# === analyze and compare ===


def test_analyze_gives_the_table_of_the_command(tmp_path):
    result = analyze(str(llama(tmp_path / "model")))
    assert len(result) == 1
    (header, *rows) = csv.reader(io.StringIO(as_csv(result)))
    table = result.to_pandas()
    assert list(table.columns) == header
    assert [[str(value) for value in row] for row in table.itertuples(index=False)] == rows
    assert result.to_polars().rows() == list(table.itertuples(index=False, name=None))


def test_a_folder_of_checkpoints_gives_all_steps_in_order(tmp_path):
    for step in (1000, 200):
        llama(tmp_path / f"step{step}", seed=step)
    result = analyze(tmp_path)
    assert [analysis.name for analysis in result] == ["step200", "step1000"]
    assert len(result[:1]) == 1
    assert result.to_pandas().groupby("checkpoint", sort=False).size().tolist() == [16, 16]
    assert repr(result) == "Analyses of 2 checkpoints: step200, step1000"
    figure = result.plot()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["step200", "step1000"]
    drawn = figure.axes[0].lines[0].get_ydata()
    expected = [one.columns["pseudo_rank"][one.columns["pair"] == "qk"].mean() for one in result]
    np.testing.assert_allclose(drawn, expected, rtol=1e-12)


def test_checkpoints_of_different_sizes_are_drawn_by_their_means(tmp_path):
    llama(tmp_path / "step1", heads=4)
    llama(tmp_path / "step2", heads=2)
    result = analyze(tmp_path)
    drawn = result.plot().axes[0].lines[0].get_ydata()
    expected = [one.columns["pseudo_rank"][one.columns["pair"] == "qk"].mean() for one in result]
    np.testing.assert_allclose(drawn, expected, rtol=1e-12)


def test_options_reach_the_reader(tmp_path):
    folder = llama(tmp_path / "model")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match="heads"):
        analyze(folder)
    assert analyze(folder, num_heads=8, kernels_only=True, jobs=1)[0].columns["head"].max() == 7


def test_compare_takes_paths_or_what_analyze_gave(tmp_path):
    before, after = llama(tmp_path / "a"), llama(tmp_path / "b", seed=1)
    result = compare(before, analyze(after))
    assert repr(result).startswith("Comparison of 16 products of heads, b minus a; mean pseudo rank: W_KᵀW_Q ")
    subtracted = analyze(after)[0].columns["nuclear_norm"] - analyze(before)[0].columns["nuclear_norm"]
    assert result.to_pandas()["nuclear_norm"].tolist() == subtracted.tolist()
    assert "differences: b minus a" in result._repr_html_()
    assert len(result.plot().axes) == 2 * 4 + 2  # four panels and a bar of colours for each


def test_compare_needs_one_checkpoint_on_each_side(tmp_path):
    for step in (1, 2):
        llama(tmp_path / f"step{step}")
    with pytest.raises(
        UserError, match=r"^Two checkpoints can be compared\. .*Analyses of 2 checkpoints: step1, step2$"
    ):
        compare(tmp_path, tmp_path / "step1")


def test_a_missing_file_is_one_line():
    with pytest.raises(UserError, match=r"^nothing/here does not exist: give a model's file or folder$"):
        analyze("nothing/here")


def test_html_escapes_names_of_files_and_notes():
    source = checkpoint()
    source.name, source.notes = "<b>model</b>", ("<i>note</i>",)
    html = analyze_checkpoint(source)._repr_html_()
    assert "&lt;b&gt;model&lt;/b&gt;" in html
    assert "&lt;i&gt;note&lt;/i&gt;" in html
    assert "<b>" not in html
    assert "<i>" not in html


# === load_run ===


def test_a_run_s_ranks_are_the_rows_of_its_file(tmp_path):
    run = load_run(make_run(tmp_path / "run", readings=3))
    with open(tmp_path / "run" / "ranks.csv", newline="") as file:
        header, *rows = csv.reader(file)
    table = run.ranks.to_pandas()
    assert list(table.columns) == header
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        kind = type(table[name].iloc[0].item()) if table[name].dtype.kind in "if" else str
        assert table[name].tolist() == [kind(cell) for cell in cells], name
    assert table["layer"].dtype.kind == table["step"].dtype.kind == "i"


def test_a_run_s_other_records(tmp_path):
    run = load_run(str(make_run(tmp_path / "run", readings=3)))
    assert (run.settings["model"]["name"], run.summary["status"]) == ("vit", "complete")
    assert run.history.to_pandas()["step"].tolist() == [50, 100, 150, 200]
    with np.load(tmp_path / "run" / "spectra.npz") as file:
        np.testing.assert_array_equal(run.spectra["vo", 1], file["vo/1"])
    table = run.spectra.to_pandas()
    row = table[(table["step"] == 200) & (table["pair"] == "vo") & (table["layer"] == 1)]
    row = row[(row["head"] == 1) & (row["index"] == 2)]
    assert row["singular_value"].tolist() == [run.spectra["vo", 1][2, 1, 2]]
    assert len(table) == 3 * 2 * 2 * 2 * 4
    assert repr(run) == f"Run of vit at {tmp_path / 'run'}: complete, 200 steps"


def test_pictures_of_a_run_and_of_two(tmp_path):
    runs = [load_run(make_run(tmp_path / f"wd={decay}", decay)) for decay in (0.0, 0.3)]
    figure = runs[0].plot(runs[1])
    assert len(texts(figure)) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["wd=0.0", "wd=0.3", "Gaussian null"]
    table = runs[1].ranks.to_pandas()
    expected = table[table["pair"] == "qk"].groupby("step")["pseudo_rank"].mean()
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), expected, rtol=1e-12)
    assert texts(runs[0].spectra.plot("vo")) == ["layer 0", "layer 1"]
    assert texts(runs[0].history.plot()) == ["loss", "accuracy", "learning rate"]


def test_html_of_a_run_has_its_first_and_last_reading(tmp_path):
    html = load_run(make_run(tmp_path / "<b>", readings=3))._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    cells = [[cell.strip() for cell in line.split("│")] for line in html.splitlines() if " W_" in line or "A B" in line]
    assert [(row[1], row[2]) for row in cells] == [
        (kind, step) for kind in ("W_KᵀW_Q", "P W_V") for step in ("0", "200")
    ]
    assert cells[0][3] == "0.900 (0.940)"


def test_a_run_that_has_only_begun(tmp_path):
    run = load_run(make_run(tmp_path / "run", status="unfinished"))
    assert len(run.spectra) == 0
    assert len(run.spectra.to_pandas()) == 0
    with pytest.raises(UserError, match=r"spectra\.npz is written when a run has ended"):
        run.spectra.plot()
    (tmp_path / "run" / "ranks.csv").unlink()
    fresh = load_run(tmp_path / "run")
    assert fresh.ranks.rows == 0
    assert "no reading yet" in fresh._repr_html_()
    with pytest.raises(UserError, match=r"run has no reading in ranks\.csv yet"):
        fresh.plot()


def test_a_directory_of_the_monitor_alone(tmp_path):
    table = StepTable(
        tmp_path / "ranks.csv", ["cumulative_learning_rate", "pair", "layer", "path", "head", "pseudo_rank"]
    )
    row = {"step": 0, "cumulative_learning_rate": "", "pair": "product", "layer": 0, "path": "a", "head": 0}
    table.append([row | {"pseudo_rank": 0.5}])
    run = load_run(tmp_path)
    assert (run.settings, run.summary, run.history.rows) == ({}, {}, 0)
    assert run.ranks["pseudo_rank"].tolist() == [0.5]
    with pytest.raises(UserError, match=r"no history\.csv"):
        run.history.plot()


def test_what_load_run_refuses(tmp_path):
    with pytest.raises(UserError, match=r"is not a run directory: it has neither settings\.yaml nor ranks\.csv$"):
        load_run(tmp_path / "missing")
    path = make_run(tmp_path / "run")
    with open(path / "ranks.csv", "a") as file:
        file.write("1,2,3\n")
    with pytest.raises(UserError, match=r"ranks\.csv"):
        load_run(path).ranks  # noqa: B018
