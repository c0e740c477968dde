"""What TensorBoard shows of every run without a click: one chart a question, in the Custom Scalars tab."""

from collections.abc import Iterable

from rankscope.factors import PRODUCTS, QUANTITIES, Shown, quantities_in

_GAP = ("nuclear_gap", "nuclear_gap_bound")  # in one chart


def dashboard_layout(kinds: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Category → title of a chart → regular expressions of its curves' tags.

    Runs of one model have one layout: TensorBoard merges the layouts of all runs and drops what is twice.

    Args:
        kinds: of pair that the model has: `qk`, `vo`, `product`.

    Example:

    >>> dashboard_layout(["vo"])["Balance"]["Imbalance of P W_V, part of its start, and exp(−2λΣη)"]
    ['imbalance_left/vo/(mean|predicted)$']
    """
    names = {kind: PRODUCTS[kind].symbol for kind in kinds}
    rank = QUANTITIES["pseudo_rank"]
    others = [quantity for quantity in quantities_in(Shown.CURVES) if quantity.name not in (rank.name, *_GAP)]

    def charts_of(quantity):
        null, curves = ("", "mean") if quantity.expected is None else (", and its null", "(mean|null)")
        return {
            f"{quantity.title} of {name}{null}": [f"{quantity.name}/{kind}/{curves}$"] for kind, name in names.items()
        }

    return {
        "Rank": charts_of(rank),
        "Training": {
            "Loss": ["training/(val_)?loss$"],
            "Accuracy or perplexity": ["training/(val_)?(accuracy|perplexity)$"],
            "Learning rate": ["training/learning_rate$"],
        },
        "Balance": {
            **{
                f"Nuclear gap of {name}, and its bound (Prop. A.4)": [f"nuclear_gap(_bound)?/{kind}/mean$"]
                for kind, name in names.items()
            },
            **{
                f"Imbalance of {name}, part of its start, and exp(−2λΣη)": [f"imbalance_left/{kind}/(mean|predicted)$"]
                for kind, name in names.items()
            },
        },
        "Rank by layer": {
            f"{rank.title} of {name} by layer": [rf"{rank.name}/{kind}/layer_\d+$"] for kind, name in names.items()
        },
        "Other quantities": {title: tags for quantity in others for title, tags in charts_of(quantity).items()},
        "Cost": {"The monitor's share of the wall clock": ["monitor/share$"]},
    }


def dashboard_metrics(kinds: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """Tags whose last points the HParams tab sets beside a run's settings.

    Args:
        kinds: of pair that the model has.
        metrics: names of its metrics, the loss apart, such as `accuracy`.

    Example:

    >>> dashboard_metrics(["vo"], ["accuracy"])
    ['training/val_loss', 'training/val_accuracy', 'pseudo_rank/vo/mean']
    """
    of_training = [f"training/val_{name}" for name in ("loss", *metrics)]
    return [*of_training, *(f"pseudo_rank/{kind}/mean" for kind in kinds)]
