"""The event file of a run, read back by TensorBoard's own reader, tag by tag, beside the run's own tables."""

import csv
import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

from rankscope.training.fit import fit
from rankscope.training.settings import config_path, load_settings

pytestmark = pytest.mark.slow

GAP = ("nuclear_gap", "nuclear_gap_bound")
NULLS = ("pseudo_rank", "effective_rank", "balance_relative", "nuclear_ratio", "participation_ratio")
CURVES = (*NULLS, *GAP)
SMALL = [
    *(("model.hidden_dim", 16), ("model.num_layers", 2), ("model.num_heads", 2), ("training.batch_size", 16)),
    *(("training.steps", 64), ("training.log_every", 16), ("training.validate_every", 32), ("monitor.every", 4)),
    *(("optimizer.weight_decay", 0.1), ("optimizer.attention_weight_decay", {"qk": 1.0, "vo": 0.0}), ("seed", 3)),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = load_settings(config_path("vit"), [*SMALL, ("optimizer.schedule", "constant")])
    return fit(settings, tmp_path_factory.mktemp("runs") / "run", echo=lambda line: None)


@pytest.fixture(scope="module")
def events(run):
    everything = dict.fromkeys(("scalars", "images", "histograms", "tensors"), 0)
    return EventAccumulator(str(run), size_guidance=everything).Reload()


def points(events, tag):
    return {event.step: event.value for event in events.Scalars(tag)}


def rows(run, table):
    with open(run / table, newline="") as file:
        return list(csv.DictReader(file))


def mean_over(run, column, pair, layer=None):
    """Step → mean over heads, of one layer or of all."""
    values = {}
    for row in rows(run, "ranks.csv"):
        if row["pair"] == pair and layer in (None, int(row["layer"])):
            values.setdefault(int(row["step"]), []).append(float(row[column]))
    return {step: np.mean(heads) for step, heads in values.items()}


def close(measured, expected):
    assert measured == pytest.approx(expected, rel=2e-6, abs=1e-9)  # events are float32


def test_no_tag_but_these(events):
    tags = events.Tags()
    scalars = {
        f"{name}/{pair}/{of}" for name in CURVES for pair in ("qk", "vo") for of in ("layer_0", "layer_1", "mean")
    }
    scalars |= {f"{name}/{pair}/null" for name in NULLS for pair in ("qk", "vo")}
    scalars |= {
        f"imbalance_left/{pair}/{of}" for pair in ("qk", "vo") for of in ("layer_0", "layer_1", "mean", "predicted")
    }
    training = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    training += ("steps_per_second", "images_per_second")
    scalars |= {f"training/{name}" for name in training} | {"monitor/share"}
    assert set(tags["scalars"]) == scalars
    assert set(tags["histograms"]) == {f"singular_values/{pair}/layer_{i}" for pair in ("qk", "vo") for i in (0, 1)}
    assert set(tags["images"]) == {
        f"{name}/{pair}" for name in ("pseudo_rank", "singular_values") for pair in ("qk", "vo")
    }
    assert set(tags["tensors"]) == {"settings/text_summary", "decay_groups/text_summary", "custom_scalars__config__"}


@pytest.mark.parametrize("pair", ["qk", "vo"])
def test_ranks_are_those_of_the_table(run, events, pair):
    for name in CURVES:
        close(points(events, f"{name}/{pair}/mean"), mean_over(run, name, pair))
        close(points(events, f"{name}/{pair}/layer_1"), mean_over(run, name, pair, layer=1))
    for name in NULLS:
        close(points(events, f"{name}/{pair}/null"), mean_over(run, f"{name}_null", pair))


@pytest.mark.parametrize(("pair", "decay"), [("qk", 1.0), ("vo", 0.0)])
def test_the_imbalance_and_its_law(run, events, pair, decay):
    """What is left of ‖AᵀA − BᵀB‖ beside exp(−2λΣη), with each product's own λ."""
    measured = mean_over(run, "balance_discrepancy", pair)
    close(
        points(events, f"imbalance_left/{pair}/mean"), {step: value / measured[0] for step, value in measured.items()}
    )
    of_layer = mean_over(run, "balance_discrepancy", pair, layer=0)
    close(points(events, f"imbalance_left/{pair}/layer_0"), {step: v / of_layer[0] for step, v in of_layer.items()})
    times = mean_over(run, "cumulative_learning_rate", pair)
    assert times[64] > 0.05
    close(points(events, f"imbalance_left/{pair}/predicted"), {s: np.exp(-2 * decay * t) for s, t in times.items()})


def test_training_is_that_of_the_history(run, events):
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        table = {int(row["step"]): float(row[name]) for row in rows(run, "history.csv") if row[name]}
        close(points(events, f"training/{name}"), table)
    share = points(events, "monitor/share")
    assert list(share) == list(range(4, 65, 4))
    assert all(0 < part < 1 for part in share.values())


def test_pictures_and_histograms(events):
    for pair in ("qk", "vo"):
        assert [image.step for image in events.Images(f"pseudo_rank/{pair}")] == list(range(0, 65, 4))
        spectra = events.Images(f"singular_values/{pair}")
        assert [image.step for image in spectra] == [64]  # at the end; else after 64 readings
        assert spectra[-1].encoded_image_string.startswith(b"\x89PNG")
        counts = [event.histogram_value.num for event in events.Histograms(f"singular_values/{pair}/layer_0")]
        assert counts == [2 * 8] * 17  # heads × key_dim


def test_texts(run, events):
    (settings,) = events.Tensors("settings/text_summary")
    shown = settings.tensor_proto.string_val[0].decode()
    assert shown.replace("\n    ", "\n").strip() == (run / "settings.yaml").read_text().strip()
    (groups,) = events.Tensors("decay_groups/text_summary")
    lines = groups.tensor_proto.string_val[0].decode().splitlines()
    assert len(lines) == 2 + len(rows(run, "decay_groups.csv"))
    table = {row["path"]: row for row in rows(run, "decay_groups.csv")}
    cells = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1:4] for line in lines[2:]}
    assert cells == {path: [row["shape"], row["group"], f"{float(row['decay']):g}"] for path, row in table.items()}


def test_the_layout_has_a_chart_a_question_and_each_finds_its_curves(events):
    (config,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(config.tensor_proto.string_val[0])
    found = {
        chart.title: [
            tag for tag in events.Tags()["scalars"] for pattern in chart.multiline.tag if re.match(pattern, tag)
        ]
        for category in layout.category
        for chart in category.chart
    }
    assert [category.title for category in layout.category] == [
        *("Rank", "Training", "Balance", "Rank by layer", "Other quantities", "Cost"),
    ]
    assert len(found) == 2 + 3 + 4 + 2 + 8 + 1
    assert sorted(found["Pseudo rank of P W_V, and its null"]) == ["pseudo_rank/vo/mean", "pseudo_rank/vo/null"]
    assert sorted(found["Nuclear gap of P W_V, and its bound (Prop. A.4)"]) == [
        "nuclear_gap/vo/mean",
        "nuclear_gap_bound/vo/mean",
    ]
    assert sorted(found["Loss"]) == ["training/loss", "training/val_loss"]
    assert all(found.values())


def test_the_line_of_the_run_among_hyperparameters(events):
    contents = {
        tag: events.SummaryMetadata(tag).plugin_data.content
        for tag in (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)
    }
    start = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
    values = {name: value.number_value for name, value in start.hparams.items()}
    assert values == {"wd": 0.1, "wd_qk": 1.0, "wd_vo": 0.0, "lr": pytest.approx(0.004), "seed": 3}
    experiment = metadata.parse_experiment_plugin_data(contents[metadata.EXPERIMENT_TAG])
    assert [metric.name.tag for metric in experiment.metric_infos] == [
        *("training/val_loss", "training/val_accuracy", "pseudo_rank/qk/mean", "pseudo_rank/vo/mean")
    ]
    end = metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG])
    assert end.status == 1  # success
