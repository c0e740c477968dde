"""Table 1: held-out perplexity by the decay of attention, beside the paper's."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from rankscope.records import mean_and_half_width
from rankscope.studies.runs import Run, differences
from rankscope.studies.tables import print_table, spread
from rankscope.studies.verdict import FAILS, Case, Claim

#: Table 1 and section 4.2: λ of attention → perplexity on The Pile of 125 and 355 million parameters; 0.1 elsewhere.
PAPER = {0.0: (10.87, 9.87), 0.01: (10.87, 10.12), 0.1: (10.95, 10.35), 0.25: (11.09, 10.77)}
PAPER_WITHOUT_DECAY = (10.92, 10.21)
ALL_OFF = "no decay at all"
STRONG = 1.0  # λ from which on the harm must show at any size; at the paper's λs it is reported


def table_rows(runs: Sequence[Run], without: Sequence[Run]) -> list[dict[str, Any]]:
    """Rows of table 1: mean over seeds, half of its 95 % interval, the same of the paired differences to λ = 0.

    Args:
        runs: by the decay of attention.
        without: runs in which nothing decays.
    """
    rows = []
    for decay in sorted({run.decay for run in runs}):
        rows.append(_row(f"{decay:g}", [run for run in runs if run.decay == decay], runs, PAPER.get(decay)))
    if without:
        rows.append(_row(ALL_OFF, without, runs, PAPER_WITHOUT_DECAY))
    return rows


def _row(name, some, runs, paper):
    learned = [run for run in some if run.learned]
    mean, half = mean_and_half_width([run.last_validation for run in learned])
    difference, uncertain = mean_and_half_width(differences(learned, runs))
    return {
        "attention_weight_decay": name,
        "learned": f"{len(learned)} of {len(some)}",
        "perplexity": mean,
        "perplexity_half_width": half,
        "above_0": difference,
        "above_0_half_width": uncertain,
        "paper_125m": paper[0] if paper else "",
        "paper_355m": paper[1] if paper else "",
    }


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print table 1 beside the paper's."""
    print_table(
        "held-out perplexity, mean ± half of the 95 % confidence interval over seeds; difference to λ = 0 of the same "
        "seed; the paper's: on The Pile",
        ("λ of attention", "learned", "perplexity", "difference", "paper, 125M", "paper, 355M"),
        (
            (
                *(row["attention_weight_decay"], row["learned"]),
                spread(row["perplexity"], row["perplexity_half_width"]),
                spread(row["above_0"], row["above_0_half_width"], "+.4f"),
                *(str(row["paper_125m"]), str(row["paper_355m"])),
            )
            for row in rows
        ),
    )


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """What decay of attention costs, in percent of the perplexity at λ = 0: ours and the paper's."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    places = {row["attention_weight_decay"]: place for place, row in enumerate(rows)}
    base = next((row for row in rows if row["attention_weight_decay"] == "0"), None)
    if base is not None:
        # What is no value of λ stands apart, without a line to it.
        graded = [row for row in rows if row["attention_weight_decay"] != ALL_OFF]
        _draw_costs(axis, graded, base, places, labelled=True)
        _draw_costs(axis, rows[len(graded) :], base, places, labelled=False)
        axis.legend(frameon=False)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set_xticks(list(places.values()), list(places))
    axis.set(xlabel="λ of attention", ylabel="perplexity above that of λ = 0 [%]")
    return figure


def _draw_costs(axis, rows, base, places, labelled):
    scale = 100 / base["perplexity"]
    axis.errorbar(
        [places[row["attention_weight_decay"]] for row in rows],
        [scale * row["above_0"] for row in rows],
        [scale * row["above_0_half_width"] for row in rows],
        fmt="ko-",
        capsize=3,
        label="ours, 95 % interval over seeds" if labelled else None,
    )
    for label, key, style in (("paper, 125M", "paper_125m", "C0s--"), ("paper, 355M", "paper_355m", "C1s--")):
        known = [row for row in rows if row[key] != ""]
        axis.plot(
            [places[row["attention_weight_decay"]] for row in known],
            [100 * (row[key] / base[key] - 1) for row in known],
            style,
            label=label if labelled else None,
        )


def claims_of(runs: Sequence[Run], without: Sequence[Run]) -> list[Claim]:
    """Decay of attention hurts; to leave decay away everywhere does, too."""
    return [_hurts(runs), _all_off(runs, without)]


def _hurts(runs):
    cases, remarks = [], []
    for decay in sorted({run.decay for run in runs if run.decay > 0}):
        paired = differences([run for run in runs if run.decay == decay], runs)
        if not paired:
            continue
        mean, half = mean_and_half_width(paired)
        remarks.append(f"λ={decay:g} {mean:+.4f} ± {half:.4f}")
        if decay >= STRONG:
            cases.append(Case(f"λ={decay:g}", 0.0, mean, -1e-9))
    return Claim(
        "table-1.strong-decay-hurts",
        "table 1",
        f"perplexity is higher with λ ≥ {STRONG:g} of attention than with 0, in the mean of paired seeds",
        cases,
        "≥",
        remark=f"paired differences: {', '.join(remarks)}; below λ = {STRONG:g} a model of this size hardly tells"
        if remarks
        else "",
    )


def _all_off(runs, without):
    paired = differences(without, runs)
    mean, half = mean_and_half_width(paired)
    return Claim(
        "table-1.no-decay-at-all",
        "section 4.2",
        "to turn decay off everywhere is worse than in attention alone, in the mean of paired seeds",
        [Case(ALL_OFF, 0.0, mean, -1e-9)] if paired else [],
        "≥",
        expected=FAILS,
        remark=f"difference {mean:+.4f} ± {half:.4f}: a run of a few thousand steps is shorter than the time constant "
        "1/(ηλ) of λ = 0.1, and reads no text often enough to overfit"
        if paired
        else "",
    )
