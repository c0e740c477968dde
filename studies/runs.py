"""What studies of real models know of a run: read back from its records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankscope.errors import UserError
from rankscope.factors import ATTENTION_KINDS, PRODUCTS
from rankscope.records import read_columns
from rankscope.sweeps.run_queue import ENDED

QUANTITIES = ("pseudo_rank", "pseudo_rank_null", "balance_discrepancy", "nuclear_gap", "nuclear_gap_bound")
PAIRS = ATTENTION_KINDS
Product = tuple[str, int]  # pair and layer


@dataclass(frozen=True)
class Run:
    """What the records of a run say.

    Args:
        decay: λ of attention.
        seed: of the run.
        summary: of the run; its status alone where it has not come to its end.
        validations: of one metric, at each validation.
        steps: `(readings,)`.
        time: Σ η `(readings,)`.
        curves: `(pair, layer)` → quantity → `(readings,)`, the mean over heads.
    """

    decay: float
    seed: int
    summary: Mapping[str, Any]
    validations: np.ndarray
    steps: np.ndarray
    time: np.ndarray
    curves: Mapping[Product, Mapping[str, np.ndarray]]

    @property
    def learned(self) -> bool:
        """Whether it is complete and has learned the task: no other run is averaged."""
        return self.summary["status"] == "complete"

    @property
    def exponent(self) -> np.ndarray:
        """2λΣη `(readings,)`: under gradient flow the imbalance falls as exp(−2λΣη) (Lemma A.1)."""
        return 2 * self.decay * self.time

    @property
    def last_validation(self) -> float:
        """Of the study's metric, at the end."""
        return float(self.validations[-1])

    def remaining(self, product: Product) -> np.ndarray:
        """The imbalance of a product as a part of its start `(readings,)`."""
        imbalance = self.curves[product]["balance_discrepancy"]
        return imbalance / imbalance[0]

    def __str__(self) -> str:
        return f"λ={self.decay:g} seed={self.seed}"


def read_run(path: Path, summary: Mapping[str, Any], decay: float, seed: int, metric: str) -> Run:
    """Read `history.csv` and `ranks.csv` of a run that has ended; one that has failed has no curves.

    Args:
        path: of the run directory.
        summary: of the run.
        decay: λ of attention.
        seed: of the run.
        metric: column of history.csv that becomes `Run.validations`.

    Raises:
        UserError: where they, or its summary, are damaged.
    """
    if summary["status"] == "failed":
        return Run(decay, seed, summary, np.empty(0), np.empty(0), np.empty(0), {})
    try:
        if summary["status"] not in ENDED:
            raise ValueError(f"its summary.json is {summary['status']}")
        return _read_records(path, summary, decay, seed, metric)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: {error}. Remove this run, and have it trained again by study --resume"
        ) from error


def _read_records(path, summary, decay, seed, metric):
    validations = read_columns(path / "history.csv", numbers=(metric,))[metric]
    table = read_columns(
        path / "ranks.csv", numbers=("step", "cumulative_learning_rate", "layer", *QUANTITIES), texts=("pair",)
    )
    steps, first = np.unique(table["step"], return_index=True)
    curves = {}
    for pair, layer in dict.fromkeys(zip(table["pair"].tolist(), table["layer"].astype(int).tolist(), strict=True)):
        rows = (table["pair"] == pair) & (table["layer"] == layer)  # its heads side by side at each reading
        curves[pair, layer] = {name: table[name][rows].reshape(len(steps), -1).mean(axis=1) for name in QUANTITIES}
    validations = validations[np.isfinite(validations)]
    if not len(validations) or not len(steps) or steps[-1] != summary["steps"]:
        raise ValueError(f"history.csv or ranks.csv ends before step {summary['steps']}")
    return Run(decay, seed, summary, validations, steps, table["cumulative_learning_rate"][first], curves)


def products(runs: Sequence[Run]) -> list[Product]:
    """Pair and layer of all products, P W_V first, as in figure 3."""
    return sorted({product for run in runs for product in run.curves}, key=lambda p: (p[0] != "vo", p[1]))


def mean_curve(run: Run, pair: str, quantity: str = "pseudo_rank") -> np.ndarray:
    """Mean over layers and heads `(readings,)`."""
    return np.mean([curves[quantity] for (kind, _), curves in run.curves.items() if kind == pair], axis=0)


def mean_ranks(runs: Sequence[Run], pair: str) -> str:
    """Mean pseudo rank at the end by decay, over seeds, in words."""
    ends = {
        decay: [mean_curve(run, pair)[-1] for run in runs if run.decay == decay]
        for decay in sorted({run.decay for run in runs})
    }
    return ", ".join(f"λ={decay:g} {np.mean(values):.3f}" for decay, values in ends.items())


def differences(some: Sequence[Run], runs: Sequence[Run]) -> list[float]:
    """Of the last validation, to the run of the same seed with λ = 0 of attention, of runs that learned."""
    plain = {run.seed: run.last_validation for run in runs if run.decay == 0 and run.learned}
    return [run.last_validation - plain[run.seed] for run in some if run.learned and run.seed in plain]


def name_of(product: Product) -> str:
    """As in the paper, which counts layers from 1."""
    pair, layer = product
    return f"{PRODUCTS[pair].symbol} of layer {layer + 1}"


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
