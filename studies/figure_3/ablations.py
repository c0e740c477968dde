"""Why AdamW's imbalance departs from gradient flow's law: figure 3 with one thing changed at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studies.figure_3.runs import Run, train
from studies.figure_3.settings import AblationSettings
from studies.study import StudyWriter
from training.settings_reader import check_settings

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
        Variation("sgd", "SGD with momentum", sgd),
    ]


def train_variations(settings: AblationSettings, writer: StudyWriter) -> dict[str, list[Run]]:
    """A sweep for each variation, each with the same decays in units of 1/η."""
    runs = {}
    for variation in variations(settings):
        changed = check_settings(
            AblationSettings, settings.model_dump(mode="json"), variation.label, variation.changes.items()
        )
        writer.echo(f"{variation.name}: {variation.label}")
        runs[variation.name] = train(changed, writer, variation.name)
    return runs
