"""What a run came to: `summary.json`."""

import csv
from pathlib import Path

import keras

from rankscope.callbacks import HistoryLog, RankMonitor
from rankscope.data.dataset import Dataset
from rankscope.factors import PRODUCTS, Shown, quantities_in
from rankscope.files import write_json
from rankscope.optimizers.decay import attention_decays_of
from rankscope.training.settings import Settings


def write_summary(
    run: Path,
    settings: Settings,
    data: Dataset,
    model: keras.Model,
    wall_seconds: float,
    history: HistoryLog,
    monitor: RankMonitor,
    status: str,
    speed: dict[str, float] | None = None,
) -> None:
    """Write `summary.json`, the numbers that a run is compared by.

    Args:
        run: directory of the run.
        settings: of the run.
        data: of the run.
        model: as it ended.
        wall_seconds: of the whole run, those before a resume among them.
        history: the log of the run.
        monitor: of the run.
        status: `"complete"`, `"did_not_learn"` or `"failed"`.
        speed: of `fit_stages`, where the run came so far.
    """
    decays = attention_decays_of(model.optimizer.decay_table())
    keys = [
        f"{quantity.name}_{kind}{null}"
        for null in ("", "_null")
        for kind in PRODUCTS
        for quantity in quantities_in(Shown.SUMMARY)
    ]
    write_json(
        run / "summary.json",
        {
            "model": settings.model.name,
            "backend": keras.backend.backend(),
            "seed": settings.seed,
            "optimizer": settings.optimizer.name,
            "weight_decay": settings.optimizer.weight_decay,
            **{f"{group}_weight_decay": decay for group, decay in decays.items()},
            "steps": history.step,
            "ended_by": _ended_by(history.step, settings.training.steps, status),
            "wall_seconds": wall_seconds,
            **history.latest,
            **history.mean_speed(),
            **(speed or {}),
            **({"bad_images": data.bad_samples} if data.bad_samples else {}),
            **{key: monitor.means[key] for key in keys if key in monitor.means},
            "monitor_share": monitor.seconds / wall_seconds,
            "learned_step": _learned_step(run / "history.csv", data),
            "status": status,
        },
    )


def _ended_by(step, steps, status):
    if status == "failed":
        return None
    return "steps" if step == steps else "time_budget"


def _learned_step(history, data):
    """The first validation at which the model had learned, or None; from the file, which a resumed run goes on with."""
    if not history.exists():
        return None
    with open(history, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["val_loss"] and data.learned({name: float(value) for name, value in row.items() if value}):
                return int(row["step"])
    return None
