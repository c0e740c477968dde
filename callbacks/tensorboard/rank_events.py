"""What TensorBoard shows of a reading: curves, heatmaps, histograms, spectra over time."""

import math
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np

from rankscope.callbacks.tensorboard.dashboard import dashboard_layout
from rankscope.callbacks.tensorboard.events import EventWriter
from rankscope.factors import KIND_OF_ROLE, FactorPair, Measurement, Shown, quantities_in
from rankscope.factors.theory import predicted_imbalance
from rankscope.pictures.spectra import spectra_picture

Readings = Sequence[tuple[FactorPair, Measurement]]
Product = tuple[str, int]  # pair and layer


class RankEvents:
    """Writes readings for TensorBoard, and the layout of its charts.

    Args:
        events: where they go.
        start: product → ‖AᵀA − BᵀB‖_F at step 0, the mean over heads, of a run that is gone on with; None for a new
            one, whose first reading is the start.
    """

    def __init__(self, events: EventWriter, start: Mapping[Product, float] | None = None):
        self.events = events
        self.start = start
        self._decays: Mapping[Product, float] | None = None  # of the products, once there is a model

    def begin(self, model: keras.Model, pairs: Iterable[FactorPair]) -> None:
        """Write the layout of the charts, and learn who decays how fast; again, it does nothing."""
        if self._decays is None:
            pairs = list(pairs)
            self._decays = pair_decays(model, pairs)
            self.events.layout(dashboard_layout(dict.fromkeys(pair.pair for pair in pairs)))

    def write(
        self,
        step: int,
        readings: Readings,
        means: Mapping[str, float],
        cumulative_learning_rate: float | str,
    ) -> None:
        """Write a reading, after `begin`.

        Args:
            step: of the reading.
            readings: pairs and what was measured of them.
            means: as of `rank_monitor.mean_quantities`.
            cumulative_learning_rate: Σ η, or "" where it is unknown.
        """
        kinds = list(dict.fromkeys(pair.pair for pair, _ in readings))
        curves = {}
        shown = list(quantities_in(Shown.CURVES))
        for name in (quantity.name for quantity in shown):
            for pair, measurement in readings:
                curves[f"{name}/{pair.pair}/layer_{pair.layer}"] = measurement.quantities[name].mean()
        for kind in kinds:
            for quantity in shown:
                curves[f"{quantity.name}/{kind}/mean"] = means[f"{quantity.name}_{kind}"]
                if quantity.expected is not None:
                    curves[f"{quantity.name}/{kind}/null"] = means[f"{quantity.name}_{kind}_null"]
            of_kind = [measurement for pair, measurement in readings if pair.pair == kind]
            heads = {len(measurement.singular_values) for measurement in of_kind}
            if len(heads) == 1:
                ranks = np.stack([measurement.quantities["pseudo_rank"] for measurement in of_kind])  # (layers, heads)
                self.events.heatmap(step, f"pseudo_rank/{kind}", ranks)
        curves |= self._imbalance_left(readings, cumulative_learning_rate)
        self.events.scalars(step, curves)
        for pair, measurement in readings:
            self.events.histogram(step, f"singular_values/{pair.pair}/layer_{pair.layer}", measurement.singular_values)

    def _imbalance_left(self, readings, cumulative_learning_rate):
        """Imbalance as a part of its start, by layer and on average, and what decay alone would leave (Lemma A.1)."""
        now = {(pair.pair, pair.layer): read.quantities["balance_discrepancy"].mean() for pair, read in readings}
        if self.start is None:
            self.start = now
        curves = {}
        for kind in dict.fromkeys(kind for kind, _ in now):
            products = [product for product in now if product[0] == kind and self.start.get(product, 0) > 0]
            if not products:  # balanced from the start, of which there is no part
                continue
            for product in products:
                curves[f"imbalance_left/{kind}/layer_{product[1]}"] = now[product] / self.start[product]
            total = sum(self.start[product] for product in products)
            curves[f"imbalance_left/{kind}/mean"] = sum(now[product] for product in products) / total
            if cumulative_learning_rate != "" and all(product in self._decays for product in products):
                predicted = (
                    predicted_imbalance(self.start[product], self._decays[product], cumulative_learning_rate)
                    for product in products
                )
                curves[f"imbalance_left/{kind}/predicted"] = float(sum(predicted)) / total
        return curves

    def draw_spectra(self, steps: np.ndarray, spectra: Mapping[str, np.ndarray]) -> None:
        """Draw singular values over all readings, a picture a kind of pair, at the last step.

        Args:
            steps: `(readings,)`.
            spectra: `pair/layer` → `(readings, heads, key_dim)`.
        """
        names = [name.split("/") for name in spectra]
        for kind in dict.fromkeys(kind for kind, _ in names):
            layers = {int(layer): spectra[f"{kind}/{layer}"] for of_kind, layer in names if of_kind == kind}
            self.events.picture(int(steps[-1]), f"singular_values/{kind}", spectra_picture(steps, layers))


def due_for_picture(readings: int) -> bool:
    """Whether to draw spectra after so many readings: a picture costs more than a reading, so after 64, 256, 1024 …

    Example:

    >>> [count for count in range(300) if due_for_picture(count)]
    [64, 256]
    """
    return readings >= 64 and 4 ** round(math.log(readings, 4)) == readings


def pair_decays(model: keras.Model, pairs: Iterable[FactorPair]) -> dict[Product, float]:
    """λ of each product whose factors all have one decoupled decay, by which its imbalance falls (Lemma A.1).

    None of another optimizer than ours, nor of a penalty, which Adam divides by its own size.
    """
    optimizer = model.optimizer
    if not hasattr(optimizer, "decay_table"):
        return {}
    of_path = {row.path: row.decay for row in optimizer.decay_table() if row.time_constant is not None}
    found: dict[tuple[str, str], set] = {}
    for variable in model.weights:
        role = getattr(variable, "factor_role", None)
        if role is not None:
            key = KIND_OF_ROLE[role], variable.path.rpartition("/")[0]
            found.setdefault(key, set()).add(of_path.get(variable.path))
    decays = {}
    for pair in pairs:
        of_pair = found.get((pair.pair, pair.path), {None})
        if len(of_pair) == 1 and None not in of_pair:
            (decays[pair.pair, pair.layer],) = of_pair
    return decays
