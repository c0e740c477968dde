"""The runs of figure 3: trained as a sweep, read back from their records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from records import read_columns
from studies.figure_3.settings import RecallRuns
from studies.study import StudyWriter
from training.settings_reader import UserError
from training.sweep import ENDED, run_sweep

QUANTITIES = ("pseudo_rank", "pseudo_rank_null", "balance_discrepancy", "nuclear_gap", "nuclear_gap_bound")
Product = tuple[str, int]  # pair and layer


@dataclass(frozen=True)
class Run:
    """What the records of a run say.

    Args:
        decay: λ of attention.
        seed: of the run.
        summary: of the run; its status alone where it has not come to its end.
        accuracies: on clean held-out sequences, at each validation.
        steps: `(readings,)`.
        time: Σ η `(readings,)`.
        curves: `(pair, layer)` → quantity → `(readings,)`, the mean over heads.
    """

    decay: float
    seed: int
    summary: Mapping[str, Any]
    accuracies: np.ndarray
    steps: np.ndarray
    time: np.ndarray
    curves: Mapping[Product, Mapping[str, np.ndarray]]

    @property
    def learned(self) -> bool:
        """Whether it is complete and has learned the task: no other run is averaged."""
        return self.summary["status"] == "complete"

    @property
    def accuracy(self) -> float:
        """Median over the last quarter of the validations: at a constant η single ones jump. NaN without any."""
        return float(np.median(self.accuracies[3 * len(self.accuracies) // 4 :])) if len(self.accuracies) else np.nan

    @property
    def exponent(self) -> np.ndarray:
        """2λΣη `(readings,)`: under gradient flow the imbalance falls as exp(−2λΣη) (Lemma A.1)."""
        return 2 * self.decay * self.time

    def remaining(self, product: Product) -> np.ndarray:
        """The imbalance of a product as a part of its start `(readings,)`."""
        imbalance = self.curves[product]["balance_discrepancy"]
        return imbalance / imbalance[0]

    def __str__(self) -> str:
        return f"λ={self.decay:g} seed={self.seed}"


def train(settings: RecallRuns, writer: StudyWriter, name: str) -> list[Run]:
    """Train one run for each decay and seed, and read them.

    Args:
        settings: of the runs.
        writer: of the study, in whose directory the sweep is.
        name: of the sweep.

    Returns:
        All runs in the order of decays, then seeds; those that failed have no curves.

    Raises:
        UserError: as `run_sweep`, and where the records of a run that has ended are damaged.
    """
    decays = settings.sweep.attention_weight_decay
    sweep = run_sweep(
        settings.run,
        over={"optimizer.attention_weight_decay": [np.format_float_positional(decay, trim="-") for decay in decays]},
        seeds=settings.seeds,
        directory=writer.directory / "runs" / name,
        jobs=settings.jobs,
        echo=writer.echo,
    )
    for failed, why in sweep.failures.items():
        writer.echo(f"{name}, {failed}: {why}")
    return [read_run(run.path, run.summary, float(run.values["wd_attn"]), run.settings.seed) for run in sweep.runs]


def read_run(path: Path, summary: Mapping[str, Any], decay: float, seed: int) -> Run:
    """Read `history.csv` and `ranks.csv` of a run that has ended; one that has failed has no curves.

    Raises:
        UserError: where they, or its summary, are damaged.
    """
    if summary["status"] == "failed":
        return Run(decay, seed, summary, np.empty(0), np.empty(0), np.empty(0), {})
    try:
        if summary["status"] not in ENDED:
            raise ValueError(f"its summary.json is {summary['status']}")
        return _read_records(path, summary, decay, seed)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: {error}. Remove this run, and have it trained again by study --resume"
        ) from error


def _read_records(path, summary, decay, seed):
    accuracies = read_columns(path / "history.csv", numbers=("val_accuracy",))["val_accuracy"]
    table = read_columns(
        path / "ranks.csv", numbers=("step", "cumulative_learning_rate", "layer", *QUANTITIES), texts=("pair",)
    )
    steps, first = np.unique(table["step"], return_index=True)
    curves = {}
    for pair, layer in dict.fromkeys(zip(table["pair"].tolist(), table["layer"].astype(int).tolist(), strict=True)):
        rows = (table["pair"] == pair) & (table["layer"] == layer)  # its heads side by side at each reading
        curves[pair, layer] = {name: table[name][rows].reshape(len(steps), -1).mean(axis=1) for name in QUANTITIES}
    accuracies = accuracies[np.isfinite(accuracies)]
    if not len(accuracies) or not len(steps) or steps[-1] != summary["steps"]:
        raise ValueError(f"history.csv or ranks.csv ends before step {summary['steps']}")
    return Run(decay, seed, summary, accuracies, steps, table["cumulative_learning_rate"][first], curves)


def rate(run: Run, product: Product) -> tuple[float, float]:
    """How fast the imbalance of a product fell: ln(Q(0)/Q(t))/t in time t = Σ η, and how exactly that is known.

    t is the first reading with Q(t) ≤ Q(0)/e, or the last of all. Gradient flow has 2λ (Lemma A.1), so that 1/rate is
    the time constant. A reading may come up to one interval late, which makes the rate uncertain by that part of t.
    """
    remaining = run.remaining(product)
    fallen = np.flatnonzero(remaining <= 1 / np.e)
    end = fallen[0] if len(fallen) else len(remaining) - 1
    found = -np.log(remaining[end]) / run.time[end]
    interval = (run.time[end] - run.time[end - 1]) / run.time[end] if len(fallen) else 0.0
    return float(found), float(abs(found) * interval)


def products(runs: Sequence[Run]) -> list[Product]:
    """Pair and layer of all products, P W_V first, as in figure 3."""
    return sorted({product for run in runs for product in run.curves}, key=lambda p: (p[0] != "vo", p[1]))


def name_of(product: Product) -> str:
    """As in the paper, which counts layers from 1."""
    pair, layer = product
    return f"{'P W_V' if pair == 'vo' else 'W_KᵀW_Q'} of layer {layer + 1}"


def curve_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rows of the study's table of curves."""
    return [
        {
            "weight_decay": run.decay,
            "seed": run.seed,
            "status": run.summary["status"],
            "pair": pair,
            "layer": layer,
            "step": int(step),
            "cumulative_learning_rate": float(time),
            **{name: float(values[reading]) for name, values in quantities.items()},
        }
        for run in runs
        for (pair, layer), quantities in run.curves.items()
        for reading, (step, time) in enumerate(zip(run.steps, run.time, strict=True))
    ]


def end_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rows of the study's table of runs: what each came to."""
    rows = []
    for run in runs:
        row = {"weight_decay": run.decay, "seed": run.seed, "status": run.summary["status"]}
        row |= {key: run.summary.get(key, "") for key in ("learned_step", "loss", "val_loss", "val_accuracy")}
        row["median_accuracy"] = run.accuracy
        for product in products(runs):
            pair, layer = product
            label, quantities = f"{pair}_{layer}", run.curves.get(product)
            row |= {f"{name}_{label}": float(quantities[name][-1]) if quantities else "" for name in QUANTITIES}
            row[f"rate_{label}"] = rate(run, product)[0] if quantities else ""
        rows.append(row)
    return rows
