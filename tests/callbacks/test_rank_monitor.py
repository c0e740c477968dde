"""RankMonitor against a dense float64 SVD, in a training loop that is not ours."""

import csv

import keras
import numpy as np
import pytest
from keras import ops
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rankscope.callbacks import RankMonitor
from rankscope.callbacks.tensorboard.rank_events import pair_decays
from rankscope.factors import columns_of, measure
from rankscope.optimizers import AdamL2, AdamW
from rankscope.zoo import VisionTransformer, factor_pairs, tag

TINY = {"image_shape": (8, 8, 1), "num_classes": 3, "patch_size": 4, "hidden_dim": 8, "num_layers": 2, "num_heads": 2}


def train(model, monitor, epochs=1, batches=4, optimizer="adam"):
    rng = np.random.default_rng(0)
    images, labels = (
        rng.integers(0, 256, (batches * 2, *model.image_shape), "uint8"),
        rng.integers(0, 3, batches * 2),
    )
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model.fit(images, labels, batch_size=2, epochs=epochs, verbose=0, callbacks=[monitor])


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 8 steps read at 0, 3, 6 and 8."""
    directory = tmp_path_factory.mktemp("run")
    model = VisionTransformer(**TINY, seed=1)
    monitor = RankMonitor(every=3, directory=directory)
    history = train(model, monitor, epochs=2)
    return directory, model, monitor, history


def test_one_row_a_head_and_reading(run):
    rows = read(run[0] / "ranks.csv")
    keys = [(int(row["step"]), row["pair"], int(row["layer"]), int(row["head"])) for row in rows]
    layers = [(pair, layer, head) for layer in (0, 1) for pair in ("qk", "vo") for head in (0, 1)]
    assert keys == [(step, *rest) for step in (0, 3, 6, 8) for rest in layers]
    assert {row["path"] for row in rows} == {"block_0/attention", "block_1/attention"}
    assert {(row["hidden_dim"], row["key_dim"]) for row in rows} == {("8", "4")}


def test_last_rows_are_those_of_the_final_weights_by_dense_svd(run):
    directory, model, _, _ = run
    rows = [row for row in read(directory / "ranks.csv") if row["step"] == "8"]
    for row, (a, b) in zip(rows, _heads(model), strict=True):
        sigma = np.linalg.svd(a @ b.T, compute_uv=False)[:4]
        imbalance = a.T @ a - b.T @ b
        bound = 0.5 * ((a**2).sum() + (b**2).sum())
        expected = {
            "pseudo_rank": (np.argmax(np.cumsum(sigma) >= 0.95 * sigma.sum()) + 1) / 4,
            "stable_rank": (sigma**2).sum() / sigma[0] ** 2,
            "effective_rank": np.exp(-(sigma / sigma.sum() * np.log(sigma / sigma.sum())).sum()),
            "nuclear_norm": sigma.sum(),
            "frobenius_bound": bound,
            "nuclear_gap": bound - sigma.sum(),
            "balance_discrepancy": np.linalg.norm(imbalance),
        }
        for name, value in expected.items():
            assert float(row[name]) == pytest.approx(value, rel=1e-9), name


def _heads(model):
    for pair in factor_pairs(model):
        for head in range(pair.heads):
            yield pair.a[head].astype("float64"), pair.b[head].astype("float64")


def test_spectra_hold_every_reading(run):
    directory, model, _, _ = run
    with np.load(directory / "spectra.npz") as spectra:
        assert spectra["steps"].tolist() == [0, 3, 6, 8]
        assert sorted(spectra.files) == ["qk/0", "qk/1", "steps", "vo/0", "vo/1"]
        last = {f"{pair.pair}/{pair.layer}": measure(pair).singular_values for pair in factor_pairs(model)}
        for name, sigma in last.items():
            assert spectra[name].shape == (4, 2, 4)
            np.testing.assert_array_equal(spectra[name][-1], sigma)
    assert not (directory / "spectra.part").exists()


def test_means_go_into_the_keras_logs(run):
    directory, _, monitor, history = run
    rows = [row for row in read(directory / "ranks.csv") if row["step"] == "8"]
    for pair in ("qk", "vo"):
        mean = np.mean([float(row["pseudo_rank"]) for row in rows if row["pair"] == pair])
        assert history.history[f"rank_{pair}"][-1] == pytest.approx(mean)
        assert monitor.means[f"pseudo_rank_{pair}"] == pytest.approx(mean)
        null = np.mean([float(row["pseudo_rank_null"]) for row in rows if row["pair"] == pair])
        assert monitor.means[f"pseudo_rank_{pair}_null"] == pytest.approx(null)


def test_events_are_read_back_by_tensorboard(run):
    directory = run[0]
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    assert {"pseudo_rank/qk/layer_0", "pseudo_rank/vo/layer_1", "pseudo_rank/qk/mean", "pseudo_rank/qk/null"} <= set(
        tags["scalars"]
    )
    assert set(tags["histograms"]) == {f"singular_values/{pair}/layer_{i}" for pair in ("qk", "vo") for i in (0, 1)}
    assert set(tags["images"]) == {
        f"{name}/{pair}" for name in ("pseudo_rank", "singular_values") for pair in ("qk", "vo")
    }
    # Another optimizer than ours does not say who decays how fast: the imbalance has no law beside it.
    assert "imbalance_left/qk/mean" in tags["scalars"]
    assert "imbalance_left/qk/predicted" not in tags["scalars"]
    assert [event.step for event in events.Scalars("pseudo_rank/qk/mean")] == [0, 3, 6, 8]
    rows = [float(row["pseudo_rank"]) for row in read(directory / "ranks.csv") if row["pair"] == "qk"]
    assert events.Scalars("pseudo_rank/qk/mean")[-1].value == pytest.approx(np.mean(rows[-4:]), rel=1e-6)
    image = events.Images("pseudo_rank/qk")[-1]
    assert (image.height, image.width) == (2 * 24, 2 * 48)


def test_a_product_whose_factors_decay_differently_has_no_law(tmp_path):
    """The queries of block 0 decay ten times as fast as their keys: Lemma A.1 is about one λ for both."""
    model = VisionTransformer(**TINY, seed=1)
    queries = "block_0/attention/query_kernel"
    optimizer = AdamW(0.01, weight_decay=0.1, attention_weight_decay={"vo": 0.3}, decay_groups={queries: 1.0})
    train(model, RankMonitor(every=2, directory=tmp_path), optimizer=optimizer)
    assert {row.path: row.decay for row in optimizer.decay_table()}[queries] == 1.0
    assert pair_decays(model, factor_pairs(model)) == {("vo", 0): 0.3, ("qk", 1): 0.1, ("vo", 1): 0.3}
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()["scalars"]
    assert {"imbalance_left/qk/layer_0", "imbalance_left/qk/layer_1", "imbalance_left/qk/mean"} <= set(tags)
    assert "imbalance_left/qk/predicted" not in tags  # neither is there a mean of what is known
    # Σ η after 0, 2 and 4 steps of 0.01: imbalances fall by exp(−2λ Σ η).
    predicted = [event.value for event in events.Scalars("imbalance_left/vo/predicted")]
    assert predicted == pytest.approx([np.exp(-2 * 0.3 * 0.01 * step) for step in (0, 2, 4)], rel=1e-6)


def test_a_penalty_has_no_law():
    """Adam divides a penalty's gradient by its own size, and no imbalance falls by exp(−2λ Σ η)."""
    model = VisionTransformer(**TINY, seed=1)
    model.compile(AdamL2(0.01, weight_decay=0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    assert pair_decays(model, factor_pairs(model)) == {}


def test_it_times_itself(run):
    assert 0 < run[2].seconds < 60


def test_a_users_own_model_with_tagged_kernels_is_found():
    class LowRank(keras.layers.Layer):
        def build(self, input_shape):
            self.down = self.add_weight(shape=(input_shape[-1], 2), name="down")
            self.up = self.add_weight(shape=(2, 3), name="up")
            tag(self.down, "factor")
            tag(self.up, "factor")

        def call(self, inputs):
            return ops.matmul(ops.matmul(inputs, self.down), self.up)

    model = keras.Sequential([keras.Input((6,)), LowRank()])
    model.compile("sgd", "mse")
    monitor = RankMonitor(every=1)
    model.fit(np.ones((2, 6), "float32"), np.ones((2, 3), "float32"), verbose=0, callbacks=[monitor])
    assert set(monitor.logs) == {"rank_product"}


def test_a_model_without_tags_is_refused_with_the_way_out():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"rankscope\.tag"):
        model.fit(np.ones((2, 6), "float32"), np.ones((2, 3), "float32"), verbose=0, callbacks=[RankMonitor(every=1)])


def test_a_directory_with_records_is_not_written_into(run):
    with pytest.raises(FileExistsError, match=r"ranks\.csv"):
        RankMonitor(every=1, directory=run[0])


def test_rows_have_all_quantities_and_their_nulls(run):
    row = read(run[0] / "ranks.csv")[0]
    assert {"pseudo_rank_null", "balance_relative_null", "participation_ratio"} < set(columns_of()) <= set(row)
    assert all(np.isfinite(float(row[name])) for name in columns_of())


def test_a_run_that_an_earlier_version_began_is_resumed_with_its_own_columns(tmp_path):
    """Version 1 had no participation ratio, and fewer nulls: rows of two widths could not be read back."""
    train(VisionTransformer(**TINY, seed=1), RankMonitor(every=4, directory=tmp_path))
    ranks = tmp_path / "ranks.csv"
    earlier = [name for name in read(ranks)[0] if "participation" not in name and name != "stable_rank_null"]
    rows = read(ranks)
    with open(ranks, "w", newline="") as file:
        writer = csv.DictWriter(file, earlier, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    train(VisionTransformer(**TINY, seed=1), RankMonitor(every=4, directory=tmp_path, resume_step=4))
    with open(ranks, newline="") as file:
        header, *lines = csv.reader(file)
    assert header == earlier
    assert {len(line) for line in lines} == {len(earlier)}
    assert list(dict.fromkeys(line[0] for line in lines)) == ["0", "4", "8"]


def test_the_first_reading_knows_an_optimizer_that_nobody_has_built(tmp_path):
    """TensorFlow would build it in the first step, after the first reading, which counts Σ η from 0."""
    monitor = RankMonitor(every=4, directory=tmp_path)
    train(VisionTransformer(**TINY), monitor, optimizer=AdamW(0.25, attention_weight_decay=0.5))
    found = {row["step"]: float(row["cumulative_learning_rate"]) for row in read(tmp_path / "ranks.csv")}
    assert found == {"0": 0.0, "4": 1.0}
