"""Eqs. 26 to 30 along simulated paths, and the bounds that the paper draws from them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankscope.factors import imbalance
from rankscope.factors.balance import squared_norm
from rankscope.studies.theory.noise.langevin import LEARNING_RATE, ensemble, start
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import CORRECTED, Case, Claim

RISK = 0.1  # ε of the bounds
AFTER_LEMMA = "appendix A.4.1, after Lemma A.3"


def noise_bound(entries: int, span: float | None = None) -> float:
    """Bound of ‖√(μ/2) σ W‖_F in units of σ√μ, entries = nd: the paper's, or one that holds up to μt = span.

    e^{2μt} doubles at most 1 + 2μt/ln 2 ≤ 1 + 3μt times. Each time, H's noise e^{−μt}√(μ/2) σ W_{e^{2μt} − 1} stays
    within √2 of the paper's bound with the paper's probability, and the risks add up.

    Example:

    >>> round(noise_bound(1), 3), round(noise_bound(1, span=0.0), 3)  # √ln 40 and √(2 ln 40)
    (1.921, 2.716)
    """
    if span is None:
        return math.sqrt(entries * math.log(4 * entries / RISK))
    return math.sqrt(2 * entries * math.log(4 * entries * (1 + 3 * span) / RISK))


def claims(settings: TheorySettings, rng: np.random.Generator, excursions_rng: np.random.Generator) -> list[Claim]:
    """Eqs. 26 to 30 and the bounds of H."""
    followed = _follow_all(settings, rng)
    bounds = _bounds_of_noise(followed, *_excursions(excursions_rng))
    return [*_noise_of_momentum(followed), *_integral_forms(followed), *bounds]


@dataclass(frozen=True, eq=False)
class _Followed:
    """Paths from a Gaussian start to μt = 10, where ηλt = 1, many for each λ; see `_follow` for what was read there."""

    l2: Sequence[float]
    replicas: int  # of each λ
    entries: int  # of a factor
    speed: float  # μ/(ηλ)
    fineness: float  # μ times step
    noise_scale: np.ndarray  # σ√μ, (replicas of all λs, 1, 1)
    first: np.ndarray
    noises: dict
    readings: dict
    peaks: dict

    @property
    def samples(self) -> int:
        """Entries of A and B on all paths of one λ."""
        return 2 * self.replicas * self.entries

    def of_each_l2(self) -> Iterator[tuple[float, slice]]:
        """Each λ, and where its replicas are."""
        for index, value in enumerate(self.l2):
            yield value, slice(index * self.replicas, (index + 1) * self.replicas)


def _follow_all(settings, rng):
    entries, l2 = settings.model.hidden_dim * settings.model.key_dim, settings.optimizer.l2
    replicas = max(8, min(4000 // entries, 20000 // settings.model.key_dim**2))
    speed, fineness = 10, 0.02
    system = ensemble(settings, np.repeat(l2, replicas), 0.04, speed)
    first = start(rng, settings, len(system.decay))
    read = _follow(system, rng, first, fineness, round(speed / fineness))
    return _Followed(l2, replicas, entries, speed, fineness, system.noise_scale, first, *read)


def _noise_of_momentum(followed):
    """Eqs. 26 and 27: how H's noise varies at each time, and how it is correlated over time."""
    variance, process = [], []
    for value, own in followed.of_each_l2():
        for time, x in followed.noises.items():
            predicted = -math.expm1(-2 * time) / 2
            tolerance = 5 * math.sqrt(2 / followed.samples) * predicted
            variance.append(Case(f"l2={value:g} μt={time:g}", predicted, np.mean(x[:, own] ** 2), tolerance))
        early, late = followed.noises[2.0][:, own], followed.noises[4.0][:, own]
        measured = np.sum(early * late) / math.sqrt(np.sum(early**2) * np.sum(late**2))
        printed = math.sqrt(math.expm1(-4) / math.expm1(-8))
        tolerance = 5 / math.sqrt(followed.samples)
        process.append(Case(f"l2={value:g}", printed, measured, tolerance, math.exp(-2) * printed))
    return [
        Claim(
            "prop-a.2.momentum",
            "Prop. A.2, eqs. 26 and 27",
            "at each time, H − μ∫e^{−μ(t−s)} G B ds has the variance (μσ²/2)(1 − e^{−2μt}) (in units of μσ²)",
            variance,
        ),
        Claim(
            "prop-a.2.momentum-process",
            "Prop. A.2, eqs. 26 and 27",
            "over time, that noise is √(μσ²/2) W_{1 − e^{−2μt}} (its correlation between μt = 2 and μt = 4)",
            process,
            correction="e^{−μt} √(μσ²/2) W_{e^{2μt} − 1}",
            expected=CORRECTED,
            remark="the paper calls its form an abuse of notation: right at each time, but its clock stops at 1, while "
            "H's noise forgets as e^{−μ|t − s|} and goes on for ever",
        ),
    ]


def _integral_forms(followed):
    """Eqs. 28 to 30: A, B and Q less what momenta have done to them since the start."""
    forms, decayed, tolerance = [], [], followed.fineness**2
    for value, own in followed.of_each_l2():
        q0, largest = imbalance(*followed.first)[own], followed.peaks["M"][:, own].max()
        for time, (factors, pushed, stirred) in followed.readings.items():
            name = f"l2={value:g} ηλt={time:g}"
            residuals = length(factors + pushed - math.exp(-time) * followed.first)[:, own].max(axis=1) / largest
            forms += [Case(f"{name} eq. {28 + i}", 0.0, residuals[i], tolerance) for i in (0, 1)]
            left, size = (imbalance(*factors) + stirred)[own], np.sum(q0**2)
            for what, measured in (
                ("part along Q₀", np.sum(left * q0) / size),
                ("norm", math.sqrt(np.sum(left**2) / size)),
            ):
                printed, true = math.exp(-2 * LEARNING_RATE * value), math.exp(-2 * time)
                decayed.append(Case(f"{name} {what}", printed, measured, tolerance, true))
    return [
        Claim(
            "prop-a.2.integral-forms",
            "Prop. A.2, eqs. 28 and 29",
            "A + η∫e^{−ηλ(t−s)} H ds is e^{−ηλt} A₀, and so for B (largest difference on all paths, per M)",
            forms,
        ),
        Claim(
            "prop-a.2.eq-30",
            "Prop. A.2, eq. 30",
            "AᵀA − BᵀB + η∫e^{−2ηλ(t−s)} (H^AᵀA + …) ds is e^{−2ηλ} Q₀ (its norm and its part along Q₀, per ‖Q₀‖)",
            decayed,
            correction="e^{−2ηλt}",
            expected=CORRECTED,
        ),
    ]


def _bounds_of_noise(followed, excursions, often):
    """How large H and its noise become on all paths, and on those of one entry without a loss."""
    noise, momentum, peaks, entries = [], [], followed.peaks, followed.entries
    for value, own in followed.of_each_l2():
        pull = peaks["K"][own].max() * peaks["M"][:, own].max()
        unit = followed.noise_scale[own].flat[0]
        for cases, peak, base, scale in ((noise, peaks["noise"], 0, 1), (momentum, peaks["H"], pull, unit)):
            printed, true = (float(base + scale * noise_bound(entries, span)) for span in (None, followed.speed))
            name = f"l2={value:g}, up to μt={followed.speed}"
            cases.append(Case(name, printed, _quantile(peak[:, own]), 0.0, true))
    lossless = replace(excursions[-1], name=f"{excursions[-1].name}, G = 0")
    return [
        Claim(
            "a.2.noise-bound",
            AFTER_LEMMA,
            "with probability 1 − ε, √(μ/2) σ W_{1 − e^{−2μt}} of A and of B stay within σ√(μnd ln(4nd/ε)) "
            f"(quantile 1 − ε of the maximum in units of σ√μ, ε = {RISK:g})",
            [*excursions, *noise],
            relation="≤",
            correction="σ√(2μnd ln(4nd(1 + 3μt)/ε)) up to time t",
            expected=CORRECTED,
            remark=f"true at any one time, and of the printed Brownian motion; but H's noise never stops: {often}",
        ),
        Claim(
            "a.2.momentum-bound",
            AFTER_LEMMA,
            "with probability 1 − ε, H^A and H^B stay within KM + σ√(μnd ln(4nd/ε))",
            [*momentum, lossless],
            relation="≤",
            correction="KM + σ√(2μnd ln(4nd(1 + 3μt)/ε)) up to time t",
            expected=CORRECTED,
            remark="K and M leave room for the noise, but without a loss there is none",
        ),
    ]


def _follow(system, rng, first, fineness, steps):
    """H's noise at some μt, in units of σ√μ; factors and integrals of eqs. 28 to 30 at some ηλt; largest norms."""
    step = fineness / system.momentum
    kept, shrunk = math.exp(-fineness), np.exp(-system.learning_rate * system.decay * step)
    factors, momenta, drift, pushed, stirred = first, np.zeros_like(first), 0.0, 0.0, 0.0
    pull, noises, readings, peaks = system.gradients(first), {}, {}, {}
    for index, (after, momenta_after) in enumerate(system.paths(rng, first, step, steps), start=1):
        # The integrals of eqs. 26, 28 and 30, by the trapezoidal rule.
        pull_after = system.gradients(after)
        drift = kept * drift + 0.5 * (1 - kept) * (pull + pull_after)
        pushed = shrunk * pushed + 0.5 * step * (shrunk * momenta + momenta_after)
        before = shrunk**2 * _stirring(momenta, factors)
        stirred = shrunk**2 * stirred + 0.5 * step * (before + _stirring(momenta_after, after))
        factors, momenta, pull = after, momenta_after, pull_after
        if index % 10 == 0:
            noise = (momenta - drift) / system.noise_scale
            sizes = {"M": factors, "H": momenta, "noise": noise, "K": system.slope(factors)}
            for name, matrices in sizes.items():
                peaks[name] = np.maximum(peaks.get(name, 0.0), length(matrices))
            if index in (10, 50, 100, 200):
                noises[round(index * fineness, 9)] = noise
            if index in (steps // 2, steps):
                readings[index / steps] = factors, system.learning_rate * pushed, system.learning_rate * stirred
    return noises, readings, peaks


def _stirring(momenta, factors):
    """HᵀA + AᵀH less that of B, which stirs up Q in eq. 30."""
    half = np.swapaxes(momenta, -1, -2) @ factors
    return np.subtract(*(half + np.swapaxes(half, -1, -2)))


def length(matrices: np.ndarray) -> np.ndarray:
    """Frobenius norm of each matrix."""
    return np.sqrt(squared_norm(matrices))


def _quantile(peaks):
    """What the larger of A's and B's, `(2, replicas)`, exceeds with probability ε."""
    return float(np.quantile(peaks.max(axis=0), 1 - RISK))


def _excursions(rng):
    """How far H's noise of one entry gets, in units of σ√μ, and in words how often beyond the paper's bound."""
    step, spans, printed = 0.01, (0.3, 10, 100), noise_bound(1)
    kept = math.exp(-step)
    noise = furthest = motion = furthest_motion = np.zeros((2, 1000))
    cases, often = [], []
    for index in range(1, round(spans[-1] / step) + 1):
        pushes = math.sqrt(0.5) * rng.standard_normal(noise.shape)
        noise = kept * noise + math.sqrt(1 - kept**2) * pushes
        furthest = np.maximum(furthest, np.abs(noise))
        if index * step <= 1:
            motion = motion + math.sqrt(step) * pushes
            furthest_motion = np.maximum(furthest_motion, np.abs(motion))
        for span in spans:
            if index == round(span / step):
                often.append(f"{np.mean(furthest.max(axis=0) > printed):.1%} up to μt = {span:g}")
                cases.append(Case(f"1×1, up to μt={span:g}", printed, _quantile(furthest), 0.0, noise_bound(1, span)))
    for name, peaks in (("printed Brownian motion", furthest_motion), ("at one time", np.abs(noise))):
        cases.insert(0, Case(f"1×1, {name}", printed, _quantile(peaks), 0.0))
    return cases, f"of one entry's paths, {', '.join(often)} leave the bound"
