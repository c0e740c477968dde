"""The panel: the gap of random pairs against its bounds."""

from matplotlib.axes import Axes

from rankscope import factors
from rankscope.studies.theory.balance.pairs import Pair, of_unit_size


def rows_of(pairs: Pair) -> list[dict[str, float]]:
    """The gap of each pair, and what bounds it."""
    a, b = of_unit_size(*pairs)
    columns = {
        "gap": factors.nuclear_gap(a, b),
        "lower": factors.nuclear_gap_lower_bound(a, b),
        "half_imbalance": factors.nuclear_gap_bound_sharp(a, b),
        "prop_a4": factors.nuclear_gap_bound(a, b),
    }
    return [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def draw(axis: Axes, rows: list[dict[str, float]]) -> None:
    """Bounds against the gap."""
    shown = [row for row in rows if row["gap"] > 1e-13]  # the others are balanced to the last digits
    gaps, line = [row["gap"] for row in shown], [1e-14, 1]
    for name, label, style in (
        ("prop_a4", r"$\leq$ Prop. A.4", {"marker": "o", "color": "#E69F00"}),
        ("half_imbalance", r"$\leq \frac{1}{2}\|Q\|_*$ (ours)", {"marker": "x", "color": "#0072B2"}),
        ("lower", r"$\geq \|Q\|^2/\,2(\|A\|_2+\|B\|_2)^2$ (ours)", {"marker": "+", "color": "#CC79A7"}),
    ):
        axis.plot(gaps, [row[name] for row in shown], linestyle="", markersize=3.5, label=label, **style)
    axis.plot(line, line, "k-", linewidth=1, label="bound = gap")
    axis.set(xscale="log", yscale="log", xlabel=r"nuclear gap, in units of $\frac{1}{2}(\|A\|^2+\|B\|^2)$")
    axis.set(title="Prop. A.4 and sharper: random pairs", ylabel="bound")
    axis.legend(fontsize="small", frameon=False, loc="lower right")
