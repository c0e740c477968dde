"""How Q falls under momentum, decay and noise, and the floor where it stays."""

import math
from dataclasses import replace
from itertools import product

import numpy as np

from rankscope.factors import balance_discrepancy, frobenius_bound, imbalance, noise_floor
from rankscope.studies.theory.noise.langevin import LEARNING_RATE, PULL, SHARES, ensemble, start
from rankscope.studies.theory.noise.paths import AFTER_LEMMA
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import CORRECTED, HOLDS, Case, Claim

#: How the floor grows with each constant: its symbol, the exponents as printed and in truth, and the latter in words.
EXPONENTS = {
    "noise": ("σ", 1, 1, ""),
    "learning_rate": ("η", 1, 0.5, "√η"),
    "decay": ("λ", -1, -0.5, "1/√λ"),
    "momentum": ("μ", 0.5, 0, "not at all, but for √(μ/(μ + ηλ))"),
}


def sign(settings: TheorySettings, rng: np.random.Generator) -> Claim:
    """Which sign of G makes the loss fall, without noise, in a tenth of 1/(ηλ)."""
    system = ensemble(settings, np.full(8, settings.optimizer.l2[0]), 0.0, 50.0)
    first, losses = start(rng, settings, 8), {}
    for sign in (-1.0, 1.0):
        signed = replace(system, curvature=sign * system.curvature)
        *_, (factors, _) = signed.paths(rng, first, 0.1 / system.momentum, 50)
        losses[sign] = np.sum(system.slope(factors) ** 2) / np.sum(system.slope(first) ** 2)
    return Claim(
        "prop-a.2.sign",
        "Prop. A.2",
        "with Lemma A.1's G = −∂L/∂W the dynamics descend (the sign of ∂L/∂W with which the loss falls)",
        [Case("no noise, ηλt=0.1", -1.0, min(losses, key=losses.get), 0.0, 1.0)],
        correction="G = ∂L/∂W",
        expected=CORRECTED,
        remark=f"{losses[1]:.2f} of the loss is left, and {losses[-1]:.2f} with G = −∂L/∂W",
    )


def rate(settings: TheorySettings, rng: np.random.Generator) -> Claim:
    """The rate at which Q falls, from its part along Q₀, to which noise adds nothing on average."""
    key_dim, speed, fineness = settings.model.key_dim, 400, 0.25
    replicas = max(4, 512 // (key_dim * max(key_dim, settings.model.hidden_dim)))
    decay, share = np.repeat(list(product(settings.optimizer.l2, SHARES[:2])), replicas, axis=0).T
    system = ensemble(settings, decay, share, speed)
    first = start(rng, settings, len(decay))
    *_, (factors, _) = system.paths(rng, first, fineness / system.momentum, round(speed / fineness))
    q0, q, norms = imbalance(*first), imbalance(*factors), np.fmax(frobenius_bound(*first), frobenius_bound(*factors))
    # Of the floor's square, at most 2/(k + 1) lies along any one direction.
    scatter = noise_floor(norms, key_dim, system.noise[:, 0, 0], LEARNING_RATE, decay) * math.sqrt(2 / (key_dim + 1))
    cases = []
    for index in range(0, len(decay), replicas):
        own, name = slice(index, index + replicas), f"l2={decay[index]:g} σ={system.noise[index].item():.3g}"
        size = np.sum(q0[own] ** 2)
        left = np.sum(q[own] * q0[own]) / size
        error = scatter[own].max() / math.sqrt(size) / (2 * left)
        tolerance = 5 * error + (1 + PULL**2) / speed + fineness**2 / 12
        cases.append(Case(name, 1.0, -math.log(left) / 2, tolerance))
    return Claim(
        "prop-a.2.rate",
        AFTER_LEMMA,
        "until noise takes over, AᵀA − BᵀB falls as e^{−2ηλt} (rate, in units of 2ηλ)",
        cases,
        remark="tolerance: noise; η(λ² + ‖G‖²)/(λμ), as momentum keeps some of G in Q; (μ·step)²/12 of the integrator",
    )


def floors(settings: TheorySettings, rng: np.random.Generator) -> list[Claim]:
    """Stationary ‖Q‖ at half of the 16 corners where σ, η, λ and μ are halved or doubled, and its exponents."""
    key_dim, l2 = settings.model.key_dim, settings.optimizer.l2
    replicas = max(2, min(240 // (key_dim * (key_dim + 1)), 2000 // (key_dim * settings.model.hidden_dim)))
    step, burn_in, end = 0.02, 4, 9  # in decays
    corners = np.array([(*signs, math.prod(signs)) for signs in product((-1, 1), repeat=3)])  # (8, 4)
    shape = len(l2), len(corners), replicas
    signs = np.tile(np.repeat(corners, replicas, axis=0), (len(l2), 1))[..., np.newaxis, np.newaxis]
    base = ensemble(settings, np.repeat(l2, len(corners) * replicas), 0.02, 8.0)
    levels = {name: getattr(base, name) * 2.0 ** signs[:, index] for index, name in enumerate(EXPONENTS)}
    system = replace(base, **levels)
    rate = system.learning_rate * system.decay
    kept = np.maximum(system.target - system.decay / system.curvature, 0)  # singular values at rest
    rest = np.sqrt(kept) * np.eye(settings.model.hidden_dim, key_dim)
    paths = system.paths(rng, np.stack([rest, rest]), step / rate, round(end / step))
    square, norm = 0.0, 0.0
    for index, (factors, _) in enumerate(paths, start=1):
        if index * step > burn_in and index % 5 == 0:
            square, norm = square + balance_discrepancy(*factors) ** 2, norm + frobenius_bound(*factors)
    slowing = system.momentum / (system.momentum + rate)
    constants = system.noise * np.sqrt(slowing), system.learning_rate, system.decay
    predicted = noise_floor(norm, key_dim, *(x[:, 0, 0] for x in constants)) ** 2
    errors = np.std((square / predicted).reshape(len(l2), -1), axis=1, ddof=1) / math.sqrt(4 * replicas * len(corners))
    # Means come before ratios and logarithms, which would turn scatter into bias.
    square, norm, predicted = (x.reshape(shape).mean(axis=-1) for x in (square, norm, predicted))  # (l2, corners)
    size = 0.5 * np.log(square / norm / slowing.reshape(shape)[..., 0])
    design = np.column_stack([corners * math.log(2), np.ones(len(corners))])
    ratios, exponents = [], {name: [] for name in EXPONENTS}
    for index, (value, error) in enumerate(zip(l2, errors, strict=True)):
        for speed, half in (("slow", corners[:, 3] < 0), ("fast", corners[:, 3] > 0)):
            measured = math.sqrt(np.mean((square / predicted)[index, half]))
            ratios.append(Case(f"l2={value:g} {speed} momentum", 1.0, measured, 5 * math.sqrt(2) * error))
        fitted = np.linalg.lstsq(design, size[index], rcond=None)[0]
        for measured, (name, (_, printed, true, _)) in zip(fitted[:-1], EXPONENTS.items(), strict=True):
            exponents[name].append(Case(f"l2={value:g}", printed, measured, 5 * error / math.log(2), true))
    floor = Claim(
        "prop-a.2.floor",
        "Prop. A.2 (the closed form is ours)",
        "noise keeps ‖AᵀA − BᵀB‖ at σ√((k + 1)Fη/λ · μ/(μ + ηλ)), F = ½(‖A‖² + ‖B‖²) (root mean square, per that)",
        ratios,
        remark="A.2 is Langevin dynamics with the stationary density exp(−2(μ + ηλ)L_L2/(ημσ²)): with momentum of any "
        "speed, A and B are spread as without it by the noise σ√(μ/(μ + ηλ))",
    )
    return [floor] + [
        Claim(
            f"prop-a.2.floor-{name.replace('_', '-')}",
            AFTER_LEMMA,
            "AᵀA − BᵀB falls to the order of 4ηM/λ (KM + σ√(μnd ln(4nd/ε))), in which the noise grows as "
            f"{symbol}^{printed:g} (exponent of {symbol} in ‖Q‖/√F at rest)",
            exponents[name],
            correction=correction,
            expected=CORRECTED if correction else HOLDS,
        )
        for name, (symbol, printed, _, correction) in EXPONENTS.items()
    ]
