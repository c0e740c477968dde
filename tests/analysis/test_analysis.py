"""What `analyze` measures is what the factors say, however heads are shared out to threads."""

import csv
import io
import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from rankscope.analysis import COLUMNS, NULLED, analyze_checkpoint, as_csv, as_json, compare
from rankscope.analysis.analysis import _looks_initialised
from rankscope.analysis.means import means_of_layers, pairs_of
from rankscope.factors import NonFiniteError, measure
from tests.analysis.small_checkpoints import checkpoint


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("task_size", [1, 1 << 20])
def test_shared_out_to_threads_it_is_what_measuring_in_one_go_gives(kv_heads, task_size, monkeypatch):
    monkeypatch.setattr("rankscope.analysis.measurements._TASK_SIZE", task_size)
    source = checkpoint(kv_heads=kv_heads)
    result = analyze_checkpoint(source, jobs=3)
    row = 0
    for pair in source.pairs():
        whole = measure(pair, premise=True)
        for name, values in whole.quantities.items():
            np.testing.assert_allclose(result.columns[name][row : row + 4], values, rtol=1e-10, err_msg=name)
        np.testing.assert_allclose(result.spectra[pair.pair, pair.layer], whole.singular_values, rtol=1e-10)
        for side in (0, 1):
            np.testing.assert_allclose(result.row_norms[pair.pair, pair.layer][side], whole.row_norms[side], rtol=1e-12)
        row += 4
    assert tuple(result.columns) == COLUMNS
    assert {len(column) for column in result.columns.values()} == {row}
    assert result.columns["head"].tolist() == [0, 1, 2, 3] * 4


def test_numbers_are_those_of_the_dense_products():
    source = checkpoint(kv_heads=2, value_dim=6)
    result = analyze_checkpoint(source)
    for pair in source.pairs():
        a, b = pair.per_head()
        sigma = np.linalg.svd(a @ b.swapaxes(1, 2), compute_uv=False)[:, : pair.key_dim]
        np.testing.assert_allclose(result.spectra[pair.pair, pair.layer], sigma, rtol=1e-10)
        here = (result.columns["pair"] == pair.pair) & (result.columns["layer"] == pair.layer)
        np.testing.assert_allclose(result.columns["nuclear_norm"][here], sigma.sum(axis=1), rtol=1e-12)
        bound = 0.5 * ((a**2).sum(axis=(1, 2)) + (b**2).sum(axis=(1, 2)))
        np.testing.assert_allclose(result.columns["frobenius_bound"][here], bound, rtol=1e-12)


def test_gaussian_heads_look_initialised_and_lower_ranks_do_not():
    assert analyze_checkpoint(
        checkpoint(heads=8, kv_heads=8, hidden_dim=256, key_dim=32, value_dim=32)
    ).looks_initialised
    assert not analyze_checkpoint(
        checkpoint(heads=8, kv_heads=8, hidden_dim=256, key_dim=32, value_dim=32, rank=28)
    ).looks_initialised


def test_weights_that_are_no_numbers_are_named():
    source = checkpoint()
    pairs = list(source.pairs())
    pairs[2].a[1, 2, 3] = np.nan
    source.pairs = lambda: iter(pairs)
    with pytest.raises(NonFiniteError, match=r"'qk' at 'layers.1.attention'.*1 of"):
        analyze_checkpoint(source)


def test_an_error_of_the_reader_ends_the_threads_and_comes_through():
    source = checkpoint()

    def torn():
        yield next(checkpoint().pairs())
        raise ValueError("torn")

    source.pairs = torn
    threads = threading.active_count()
    with pytest.raises(ValueError, match="torn"):
        analyze_checkpoint(source)
    assert threading.active_count() == threads


def test_progress_is_told_after_each_pair():
    told = []
    analyze_checkpoint(checkpoint(), progress=lambda *state: told.append(state))
    assert told == [(n, 4, f"layers.{(n - 1) // 2}.attention") for n in (1, 2, 3, 4)]


def test_means_are_over_heads_and_excess_is_over_the_null():
    result = analyze_checkpoint(checkpoint())
    rows = list(means_of_layers(result))
    assert [(place["pair"], place["layer"]) for place, _ in rows] == [("qk", 0), ("vo", 0), ("qk", 1), ("vo", 1)]
    first = result.columns["effective_rank"][:4].mean()
    assert rows[0][1]["effective_rank"] == pytest.approx(first, rel=1e-15)
    null = result.columns["effective_rank_null"][:4].mean()
    assert rows[0][1]["effective_rank_excess"] == pytest.approx(first - null, rel=1e-12)
    assert [pair for pair, _ in pairs_of(result)] == ["qk", "vo"]


def test_csv_reads_back_to_the_digit():
    results = [analyze_checkpoint(checkpoint(seed=seed)) for seed in (0, 1)]
    rows = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert len(rows) == 32
    assert list(rows[0]) == ["checkpoint", *COLUMNS, *(f"{name}_excess" for name in NULLED)]
    assert [float(row["nuclear_norm"]) for row in rows[:16]] == results[0].columns["nuclear_norm"].tolist()
    assert rows[-1]["checkpoint"] == "/somewhere/toy-1"


def test_json_has_heads_layers_and_means():
    (found,) = json.loads(as_json([analyze_checkpoint(checkpoint())]))["checkpoints"]
    assert (len(found["heads"]), len(found["layers"]), sorted(found["pairs"])) == (16, 4, ["qk", "vo"])
    mean = np.mean([head["stable_rank"] for head in found["heads"] if head["pair"] == "vo"])
    assert found["pairs"]["vo"]["stable_rank"] == pytest.approx(mean, rel=1e-12)


def test_comparison_subtracts_head_by_head():
    before, after = analyze_checkpoint(checkpoint()), analyze_checkpoint(checkpoint(rank=4))
    differences = compare(before, after)
    assert np.all(differences["pseudo_rank"] < 0)
    np.testing.assert_array_equal(
        differences["nuclear_norm"], after.columns["nuclear_norm"] - before.columns["nuclear_norm"]
    )
    assert np.all(differences["pseudo_rank_excess"] < 0)


def test_other_architectures_cannot_be_compared():
    with pytest.raises(ValueError, match=r"toy-0 and .*toy-1 cannot be compared: qk of layer 2, head 0"):
        compare(analyze_checkpoint(checkpoint()), analyze_checkpoint(checkpoint(layers=3, seed=1)))


def test_a_chain_of_factors_is_one_product_a_site():
    source = checkpoint(layers=1)
    (first, _) = source.pairs()
    source.pairs = lambda: iter([type(first)("product", 0, "chain", first.a, first.b)])
    source.sites = [SimpleNamespace(layer=0, tower="chain")]
    assert analyze_checkpoint(source).columns["pair"].tolist() == ["product"] * 4


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_entries_whose_powers_are_no_numbers_are_refused(scale):
    with pytest.raises(
        ValueError,
        match=r"'qk' at 'layers.0.attention', factor a: the largest entry",
    ):
        analyze_checkpoint(checkpoint(scale=scale))


def test_one_trained_layer_of_many_is_enough_not_to_look_initialised():
    source = checkpoint(layers=3, heads=8, kv_heads=8, hidden_dim=256, key_dim=32, value_dim=32)
    *most, last = source.pairs()
    trained = next(checkpoint(heads=8, kv_heads=8, hidden_dim=256, key_dim=32, value_dim=32, rank=28).pairs())
    source.pairs = lambda: iter([*most, type(last)("vo", last.layer, last.path, trained.a, trained.b)])
    assert not analyze_checkpoint(source).looks_initialised


# === When heads look initialised ===


def looks(excesses, quantity="effective_rank", null=100.0):
    """The verdict on one layer of heads that exceed the null of `quantity` by so much, and nothing else by anything."""
    heads = len(excesses)
    columns = {"pair": np.full(heads, "qk"), "layer": np.zeros(heads, int)}
    for name in ("effective_rank", "nuclear_ratio", "stable_rank", "balance_relative"):
        columns[f"{name}_null"] = np.full(heads, null)
        columns[name] = columns[f"{name}_null"] + (np.asarray(excesses) if name == quantity else 0.0)
    return _looks_initialised(columns)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("quantity", "percent"),
    [("effective_rank", 1), ("nuclear_ratio", 1), ("stable_rank", 5), ("balance_relative", 5)],
)
def test_one_quantity_that_leaves_its_null_is_enough_not_to_look_initialised(quantity, percent, sign):
    """Nulls of 100: a tenth within the margin of so many per cent, and a tenth beyond it."""
    assert looks(np.full(4, 0.9 * sign * percent), quantity)
    assert not looks(np.full(4, 1.1 * sign * percent), quantity)


@pytest.mark.parametrize(
    ("mean", "deviation", "initialised"),
    [
        (1.4, 0.5, True),  # 2 · 0.5/√4 = 0.5 on top of the margin of 1
        (1.6, 0.5, False),
        (1.9, 10.0, True),  # 2 · 10/√4 = 10 would be; but it doubles the margin at most
        (2.1, 10.0, False),
    ],
)
def test_chance_widens_the_margin_of_few_heads_and_no_more_than_doubles_it(mean, deviation, initialised):
    assert looks([mean - deviation, mean + deviation, mean - deviation, mean + deviation]) is initialised


def test_heads_of_which_one_direction_has_grown_by_a_fifth_do_not_look_initialised():
    """As after a little training: effective ranks are still those of Gaussian factors, stable ranks an eighth less."""
    source = checkpoint(layers=1, heads=8, kv_heads=8, hidden_dim=256, key_dim=32, value_dim=32)
    assert analyze_checkpoint(source).looks_initialised
    for pair in source.pairs():
        pair.a[:, :, 0] *= 1.2
        pair.b[:, :, 0] *= 1.2
    result = analyze_checkpoint(source)
    assert not result.looks_initialised
    of_null = {
        name: result.columns[name].mean() / result.columns[f"{name}_null"].mean()
        for name in ("effective_rank", "stable_rank")
    }
    assert of_null == {"effective_rank": pytest.approx(1, abs=0.005), "stable_rank": pytest.approx(7 / 8, abs=0.01)}
