"""Eqs. 26 to 30 along simulated paths, and the bounds that the paper draws from them."""

import math
from dataclasses import replace

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
    return _integral_forms(settings, rng, *_excursions(excursions_rng))


def _integral_forms(settings, rng, excursions, often):
    """Eqs. 26 to 30 along paths from a Gaussian start to μt = 10, where ηλt = 1, and how large H becomes on them."""
    entries, l2 = settings.model.hidden_dim * settings.model.key_dim, settings.optimizer.l2
    replicas = max(8, min(4000 // entries, 20000 // settings.model.key_dim**2))
    speed, fineness = 10, 0.02  # μ/(ηλ), and μ times step
    system = ensemble(settings, np.repeat(l2, replicas), 0.04, speed)
    first = start(rng, settings, len(system.decay))
    noises, readings, peaks = _follow(system, rng, first, fineness, round(speed / fineness))
    samples, variance, process, forms, decayed, noise, momentum = 2 * replicas * entries, [], [], [], [], [], []
    for index, value in enumerate(l2):
        own, name = slice(index * replicas, (index + 1) * replicas), f"l2={value:g}"
        for time, x in noises.items():
            predicted = -math.expm1(-2 * time) / 2
            tolerance = 5 * math.sqrt(2 / samples) * predicted
            variance.append(Case(f"{name} μt={time:g}", predicted, np.mean(x[:, own] ** 2), tolerance))
        early, late = noises[2.0][:, own], noises[4.0][:, own]
        measured = np.sum(early * late) / math.sqrt(np.sum(early**2) * np.sum(late**2))
        printed = math.sqrt(math.expm1(-4) / math.expm1(-8))
        process.append(Case(name, printed, measured, 5 / math.sqrt(samples), math.exp(-2) * printed))
        q0, largest = imbalance(*first)[own], peaks["M"][:, own].max()
        for time, (factors, pushed, stirred) in readings.items():
            residuals = length(factors + pushed - math.exp(-time) * first)[:, own].max(axis=1) / largest
            forms += [Case(f"{name} ηλt={time:g} eq. {28 + i}", 0.0, residuals[i], fineness**2) for i in (0, 1)]
            left, size = (imbalance(*factors) + stirred)[own], np.sum(q0**2)
            for what, measured in (
                ("part along Q₀", np.sum(left * q0) / size),
                ("norm", math.sqrt(np.sum(left**2) / size)),
            ):
                printed, true = math.exp(-2 * LEARNING_RATE * value), math.exp(-2 * time)
                decayed.append(Case(f"{name} ηλt={time:g} {what}", printed, measured, fineness**2, true))
        pull, unit = peaks["K"][own].max() * largest, system.noise_scale[own].flat[0]
        for cases, peak, base, scale in ((noise, peaks["noise"], 0, 1), (momentum, peaks["H"], pull, unit)):
            printed, true = (float(base + scale * noise_bound(entries, span)) for span in (None, speed))
            cases.append(Case(f"{name}, up to μt={speed}", printed, _quantile(peak[:, own]), 0.0, true))
    lossless = replace(excursions[-1], name=f"{excursions[-1].name}, G = 0")
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
