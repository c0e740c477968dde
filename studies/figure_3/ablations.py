"""Why AdamW's imbalance departs from gradient flow's law: figure 3 with one thing changed at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from rankscope.settings import check_settings
from rankscope.studies.decay_sweep import train
from rankscope.studies.figure_3.picture import IMBALANCE
from rankscope.studies.figure_3.runs import end_rows
from rankscope.studies.figure_3.settings import AblationSettings
from rankscope.studies.runs import Run, curve_rows, name_of, products
from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.verdict import FAILS, Case, Claim

LARGE_EPSILON = 1e-3
SGD_LEARNING_RATE = 0.2  # learns in about as many steps as AdamW with 3e-3


@dataclass(frozen=True)
class Variation:
    """One way to train.

    Args:
        name: of its directory, and in tables.
        label: for the picture.
        changes: dotted key of the study's settings → value.
    """

    name: str
    label: str
    changes: Mapping[str, Any]


def variations(settings: AblationSettings) -> list[Variation]:
    """As in figure 3; with a large ε, a cosine schedule, or no layer norm; and by SGD, at the same ηλ everywhere."""
    optimizer = settings.optimizer
    scale = optimizer.learning_rate / SGD_LEARNING_RATE
    sgd = {
        "optimizer.name": "sgd",
        "optimizer.learning_rate": SGD_LEARNING_RATE,
        "optimizer.weight_decay": scale * optimizer.weight_decay,
        "sweep.attention_weight_decay": [scale * decay for decay in settings.sweep.attention_weight_decay],
    }
    return [
        Variation("figure-3", f"AdamW, ε = {optimizer.epsilon:g}", {}),
        Variation("epsilon", f"ε = {LARGE_EPSILON:g}", {"optimizer.epsilon": LARGE_EPSILON}),
        Variation("cosine", "cosine schedule", {"optimizer.schedule": "cosine"}),
        Variation("no-layer-norm", "no layer norm", {"model.layer_norm": False}),
        Variation("sgd", "SGD with momentum, same ηλ", sgd),
    ]


def train_variations(settings: AblationSettings, writer: StudyWriter) -> dict[str, list[Run]]:
    """A sweep for each variation, each with the same decays in units of 1/η."""
    runs = {}
    for variation in variations(settings):
        changed = check_settings(
            AblationSettings, settings.model_dump(mode="json"), variation.label, variation.changes.items()
        )
        writer.echo(f"{variation.name}: {variation.label}")
        runs[variation.name] = train(changed, writer, variation.name, "val_accuracy")
    return runs


def run(settings: AblationSettings, writer: StudyWriter) -> list[Claim]:
    """Train, record, draw, and judge the ablations."""
    runs = train_variations(settings, writer)
    writer.table("runs", [{"variation": name, **row} for name, some in runs.items() for row in end_rows(some)])
    writer.table("curves", [{"variation": name, **row} for name, some in runs.items() for row in curve_rows(some)])
    writer.figure("figure-3-ablations", draw({v.label: runs[v.name] for v in variations(settings)}))
    return claims_of(runs)


# === Picture ===


def draw(runs: Mapping[str, list[Run]]) -> Figure:
    """Imbalance against 2λΣη, in which gradient flow's law is one line whatever λ: a column a variation."""
    figure = Figure(figsize=(3 * len(runs) + 1, 6), layout="constrained")
    rows = figure.subplots(2, len(runs), sharex=True, sharey=True, squeeze=False)
    for axes, pair in zip(rows, IMBALANCE, strict=True):
        for axis, (label, some) in zip(axes, runs.items(), strict=True):
            _draw_panel(axis, some, pair)
            if pair == next(iter(IMBALANCE)):
                axis.set_title(label, fontsize="medium")
        axes[0].set_ylabel(f"{IMBALANCE[pair]}, part of its start")
    rows[0, 0].set(yscale="log", ylim=(1e-3, 2))
    for axis in rows[-1]:
        axis.set_xlabel(r"$2\lambda\sum\eta$")
    figure.legend(*rows[0, 0].get_legend_handles_labels(), fontsize="small", frameon=False, loc="outside right upper")
    return figure


def _draw_panel(axis, runs, pair):
    decays = sorted({run.decay for run in runs if run.decay > 0})
    learned = {decay: [run for run in runs if run.decay == decay and run.learned] for decay in decays}
    for decay, colour in zip(decays, colormaps["viridis_r"](np.linspace(0.4, 0.8, len(decays))), strict=True):
        for product in [product for product in products(learned[decay]) if product[0] == pair]:
            mean = np.mean([run.remaining(product) for run in learned[decay]], axis=0)
            style = "-" if product[1] == 0 else ":"
            label = f"λ = {decay:g}, layer {product[1] + 1}"
            axis.plot(learned[decay][0].exponent, mean, style, color=colour, label=label)
    end = max((run.exponent[-1] for run in runs if len(run.time)), default=1.0)
    law = np.linspace(0, end, 100)
    axis.plot(law, np.exp(-law), "k--", linewidth=1, label=r"$e^{-2\lambda\sum\eta}$, gradient flow")


# === Claims ===


def share(run: Run, product: tuple[str, int], until: float = np.inf) -> float:
    """Part of the law's exponent that the imbalance has reached: ln(Q(0)/Q(t))/2λt in time t = Σ η, 1 under the law.

    Args:
        run: with decay.
        product: pair and layer.
        until: t, at most; the last reading by then counts.
    """
    last = np.flatnonzero(run.time <= until)[-1]
    return float(-np.log(run.remaining(product)[last]) / run.exponent[last])


def claims_of(runs: Mapping[str, list[Run]]) -> list[Claim]:
    """What each variation does to AdamW's law, against what it is without."""
    learned = {name: [run for run in some if run.learned] for name, some in runs.items()}
    return [
        _ended(runs),
        _sgd(learned["sgd"]),
        _nearer(learned, "epsilon", f"a large ε ({LARGE_EPSILON:g}), which makes AdamW nearly SGD,"),
        _nearer(learned, "cosine", "a learning rate that falls to 0"),
        _nearer(learned, "no-layer-norm", "leaving layer norms out", expected=FAILS),
    ]


def _ended(runs):
    cases = [
        Case(f"{name}, {run}", 1.0, 1.0 if run.curves else np.nan, 0.0) for name, some in runs.items() for run in some
    ]
    strayed = [f"{name}, {run}" for name, some in runs.items() for run in some if run.curves and not run.learned]
    return Claim(
        "figure-3-ablations.ended",
        "section 4.1",
        "every run comes to its end; those that did not learn are judged no further",
        cases,
        remark="did not learn: " + ("; ".join(strayed) if strayed else "none"),
    )


def _sgd(runs):
    cases = [
        Case(f"{name_of(product)}, {run}", 1.0, share(run, product), 0.1)
        for run in runs
        if run.decay > 0
        for product in products([run])
    ]
    without_decay = [run.remaining(product)[-1] for run in runs if run.decay == 0 for product in run.curves]
    remark = "AdamW's departure is Adam's, and not that of minibatches, label noise, momentum, clipping or the model"
    if without_decay:
        remark += f"; with λ = 0, {min(without_decay):.2f} to {max(without_decay):.2f} of it remains"
    return Claim(
        "figure-3-ablations.sgd",
        "Lemma A.1, Theorem 3.4",
        "under SGD the imbalance falls as exp(−2λ Σ η): part of that exponent reached at the end",
        cases,
        remark=remark,
    )


def _nearer(learned, name, words, **expected):
    """Each λ: the mean share over products and seeds, against that of figure 3's own settings by the same Σ η."""
    cases, remarks = [], []
    for decay in sorted({run.decay for run in learned[name] if run.decay > 0}):
        both = [[run for run in learned[which] if run.decay == decay] for which in (name, "figure-3")]
        if not all(both):
            continue
        until = min(run.time[-1] for runs in both for run in runs)
        if 2 * decay * until < 1:  # less than a time constant: nothing has left the law yet
            continue
        changed, plain = (
            np.mean([share(run, product, until) for run in runs for product in products([run])]) for runs in both
        )
        cases.append(Case(f"λ={decay:g}", plain, changed, 0.0))
        remarks.append(f"λ={decay:g}: {changed:.2f} for {plain:.2f} at 2λΣη = {2 * decay * until:.1f}")
    return Claim(
        f"figure-3-ablations.{name}",
        "section 4.1",
        f"{words} brings AdamW nearer to exp(−2λ Σ η): part of that exponent reached by the same Σ η, all products",
        cases,
        "≥",
        remark="; ".join(remarks),
        **expected,
    )


STUDY = Study(
    "figure-3-ablations",
    AblationSettings,
    run,
    quick={"sweep.attention_weight_decay": [0.1, 0.3], "seeds": [0], "training.steps": 2500},
)
