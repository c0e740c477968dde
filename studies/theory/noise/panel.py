"""The panel: Q from its start to its floor; and the bound of what keeps it there."""

import math
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from rankscope.factors import imbalance, noise_floor, predicted_imbalance
from rankscope.factors.balance import squared_norm
from rankscope.studies.theory.noise.langevin import LEARNING_RATE, SHARES, ensemble, start
from rankscope.studies.theory.noise.paths import AFTER_LEMMA, RISK, length, noise_bound
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import CORRECTED, Case, Claim


def panel(settings: TheorySettings, rng: np.random.Generator) -> tuple[Claim, list[dict], Callable[[Axes], None]]:
    """‖Q‖ from a Gaussian start to its floor for three σ; and the bound of the integral that keeps it there."""
    entries, key_dim = settings.model.hidden_dim * settings.model.key_dim, settings.model.key_dim
    replicas, speed, fineness, end = max(8, 200 // (key_dim * (key_dim + 1))), 50.0, 0.25, 4
    decay = sorted(settings.optimizer.l2)[len(settings.optimizer.l2) // 2]
    system = ensemble(settings, decay, np.repeat(SHARES, replicas), speed)
    first = start(rng, settings, len(system.noise))
    paths = system.paths(rng, first, fineness / system.momentum, round(end * speed / fineness))
    readings = [first, *(factors for index, (factors, _) in enumerate(paths, start=1) if index % 10 == 0)]
    times = 10 * fineness / speed * np.arange(len(readings))  # in decays
    q = np.array([imbalance(*factors) for factors in readings])  # (times, all replicas, key_dim, key_dim)
    integral = length(q - predicted_imbalance(q[0], 1.0, times[:, np.newaxis, np.newaxis, np.newaxis])).max(axis=0)
    lengths = np.array([length(factors) for factors in readings])  # (times, 2, all replicas)
    slopes = np.array([length(system.slope(factors)) for factors in readings])
    cases, rows, curves, slack = [], [], [], []
    for index in range(0, len(system.noise), replicas):
        own, sigma, unit = slice(index, index + replicas), system.noise[index].item(), system.noise_scale[index].item()
        largest, steepest = lengths[..., own].max(), slopes[:, own].max()  # M and K
        printed, corrected = (
            factor / decay * largest * (steepest * largest + unit * noise_bound(entries, span))
            for factor, span in ((4 * LEARNING_RATE, None), (2, end * speed))
        )
        cases.append(Case(f"σ={sigma:.3g}", printed, np.quantile(integral[own], 1 - RISK), 0.0, corrected))
        slack.append(corrected / (2 * largest**2))
        norm = 0.5 * np.mean(np.sum(lengths[times >= end - 1][..., own] ** 2, axis=1))
        floor = float(noise_floor(norm, key_dim, sigma * math.sqrt(speed / (speed + 1)), LEARNING_RATE, decay))
        size = np.sqrt(squared_norm(q[:, own]).mean(axis=1))
        decayed = predicted_imbalance(size[0], 1.0, times)
        curves.append((sigma, size, decayed, floor))
        rows += [
            {"l2": decay, "noise": sigma, "decays": t, "imbalance": x, "without_noise": y, "floor": floor}
            for t, x, y in zip(times, size, decayed, strict=True)
        ]

    def draw(axes: Axes) -> None:
        colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.75, len(curves)))
        for colour, (sigma, size, _, floor) in zip(colours, curves, strict=True):
            axes.semilogy(times, size, color=colour)
            axes.axhline(floor, color=colour, linestyle=":")
            place = {"ha": "right", "va": "bottom", "textcoords": "offset points", "color": colour}
            axes.annotate(f"σ = {sigma:.2g}", (times[-1], floor), (0, 4), **place)
        axes.plot(times, curves[0][2], "k--", label="predicted decay $e^{-2ηλt}$")
        axes.plot([], [], "k:", label="predicted floor")
        axes.set(title="Noise (Prop. A.2)", xlabel="ηλt", ylabel="‖AᵀA − BᵀB‖", ylim=(0.1 * curves[0][3], None))
        axes.legend(loc="lower left")

    claim = Claim(
        "a.2.bound-constant",
        AFTER_LEMMA,
        "with probability 1 − ε, η∫e^{−2ηλ(t−s)} (H^AᵀA + …) ds stays within 4ηM/λ (KM + σ√(μnd ln(4nd/ε)))",
        cases,
        relation="≤",
        correction="2M/λ (KM + σ√(2μnd ln(4nd(1 + 3μt)/ε))): the integrand is at most 4M‖H‖, ∫ηe^{−2ηλ(t−s)} ds 1/(2λ)",
        expected=CORRECTED,
        remark="printed: KM + +σ…. The corrected bound is void: K ≥ λ where G B = −λA, so that it exceeds 2M² ≥ ‖Q‖ "
        f"(here {min(slack):.1f} to {max(slack):.1f} times). In truth G cancels, and noise alone keeps Q from 0",
    )
    return claim, rows, draw
