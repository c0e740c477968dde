"""What the decay of attention does to accuracy: reported, since section 4.3 says nothing of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from rankscope.pictures.curves import decay_colours
from rankscope.records import mean_and_half_width
from rankscope.studies.runs import PAIRS, Run, differences, mean_curve
from rankscope.studies.tables import print_table, spread


def run_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rows of the study's table of runs: what each came to."""
    return [
        {
            "weight_decay": run.decay,
            "seed": run.seed,
            "status": run.summary["status"],
            **{key: run.summary.get(key, "") for key in ("loss", "val_loss", "val_accuracy")},
            **{
                f"{quantity}_{pair}": float(mean_curve(run, pair, quantity)[-1]) if run.curves else ""
                for quantity in ("pseudo_rank", "pseudo_rank_null")
                for pair in PAIRS
            },
        }
        for run in runs
    ]


def table_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row a decay: accuracy and ranks at the end, means over the seeds that learned, halves of their 95 % intervals.

    `above_0` is the accuracy beyond that of the run of the same seed with λ = 0.
    """
    rows = []
    for decay in sorted({run.decay for run in runs}):
        some = [run for run in runs if run.decay == decay]
        learned = [run for run in some if run.learned]
        row = {"attention_weight_decay": decay, "learned": f"{len(learned)} of {len(some)}"}
        for name, values in (
            ("accuracy", [run.last_validation for run in learned]),
            ("above_0", differences(learned, runs)),
            *((f"pseudo_rank_{pair}", [float(mean_curve(run, pair)[-1]) for run in learned]) for pair in PAIRS),
        ):
            row[name], row[f"{name}_half_width"] = mean_and_half_width(values)
        rows.append(row)
    return rows


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of decays."""
    print_table(
        "held-out accuracy and pseudo rank at the end, mean ± half of the 95 % confidence interval over seeds; "
        "difference to λ = 0 of the same seed",
        ("λ of attention", "learned", "accuracy", "difference", "rank of qk", "rank of vo"),
        (
            (
                *(f"{row['attention_weight_decay']:g}", row["learned"]),
                spread(row["accuracy"], row["accuracy_half_width"]),
                spread(row["above_0"], row["above_0_half_width"], "+.4f"),
                *(spread(row[f"pseudo_rank_{p}"], row[f"pseudo_rank_{p}_half_width"], ".3f") for p in PAIRS),
            )
            for row in rows
        ),
    )


def draw_accuracy(axis: Axes, runs: Sequence[Run]) -> None:
    """Accuracy at the end by decay, a point a run, a line through the means."""
    colours = decay_colours(run.decay for run in runs)
    means = []
    for place, (decay, colour) in enumerate(colours.items()):
        values = [run.last_validation for run in runs if run.decay == decay]
        axis.plot([place] * len(values), values, "o", color=colour, alpha=0.7)
        means.append(mean_and_half_width(values)[0])
    axis.plot(range(len(colours)), means, "k-", linewidth=1)
    axis.set_xticks(range(len(colours)), [f"{decay:g}" for decay in colours])
    axis.set(xlabel="λ of attention")
    axis.set_title("held-out accuracy at the end, by run; line: mean", fontsize="medium")
