"""The steps of the proof of Prop. A.5, each on its own."""

from itertools import product

import numpy as np

from rankscope import factors
from rankscope.factors.balance import squared_norm
from rankscope.studies.theory.chains.bounds import DEPTHS, Chain, climbed, measure
from rankscope.studies.verdict import CORRECTED, Case, Claim


def steps(trials: dict[str, Chain], seeds: list[int]) -> list[Claim]:
    """What the proof takes, in its order."""
    aligned = [Case(name, 1.0, _alignment(chain).max(), 1e-9) for name, chain in trials.items()]
    triangle, product_rule = [], []
    for cases, ratio in ((triangle, _triangle), (product_rule, _product)):
        for name, (x, y) in ((name, chain) for name, chain in trials.items() if len(chain) == 2):
            cases += [Case(f"p=2/{depth} {name[4:]}", 1.0, ratio(x, y, 2 / depth).max(), 1e-6) for depth in DEPTHS]
        for depth, seed in product(DEPTHS, seeds):
            top = climbed(lambda chain, depth=depth, ratio=ratio: ratio(*chain, 2 / depth), 2, 2, seed)
            cases.append(Case(f"climbed, p=2/{depth} r=2 seed={seed}", 1.0, top, 1e-6))
    quasi, comparison, binomial = [], [], []
    for depth in DEPTHS:
        p = 2 / depth
        both, one = factors.schatten_norm([1.0, 1.0], p), factors.schatten_norm([1.0, 0.0], p)
        quasi.append(Case(f"L={depth} diag(1, 0) + diag(0, 1)", 2 * one, both, 1e-12, corrected=2 ** (1 / p) * one))
        for inner in (1, 3):
            sigma = np.full(inner, 0.1)
            printed = inner ** (depth / 2) * sigma.sum() ** (depth / 2)
            mended = inner ** (depth / 2 - 1) * sigma.sum()
            measured = factors.schatten_norm(sigma, p)
            comparison.append(Case(f"L={depth} Σ_k = 0.1 I r={inner}", printed, measured, 1e-12, corrected=mended))
        x = np.linspace(1e-6, 1 / depth, 1001)
        binomial.append(Case(f"n={depth}", 1.0, (((1 + x) ** depth - 1) / (np.e * depth * x)).max(), 0.0))
    source = "Prop. A.5, proof"
    return [
        Claim("a.5.alignment", source, "‖Δ_l‖ ≤ √ε |l − k|: largest ratio, for k = 1", aligned, "≤"),
        Claim("a.5.power-triangle", source, "|‖X‖_p^p − ‖Y‖_p^p| ≤ ‖X − Y‖_p^p, p = 2/L: largest ratio", triangle, "≤"),
        Claim(
            "a.5.quasi-norm-triangle",
            source,
            "the norm of the sum of the binomial terms is at most the sum of their norms, ‖·‖_{2/L}",
            quasi,
            "≤",
            correction="a quasi-norm needs the factor n^{L/2−1} for n terms",
            expected=CORRECTED,
            remark="it costs the printed bound a factor of (2^L − 1)^{1−2/L}; prop-a.5.repaired does without",
        ),
        Claim("a.5.product", source, "‖XY‖_{2/L} ≤ ‖X‖_{2/L} ‖Y‖_F: largest ratio", product_rule, "≤"),
        Claim(
            "a.5.schatten-nuclear",
            source,
            "‖Σ_k^m‖_{2/L} ≤ r^{L/2} ‖Σ_k^m‖_*^{L/2}, here m = 1",
            comparison,
            "≤",
            correction="r^{L/2−1} ‖Σ_k^m‖_*, in the units of the left side",
            expected=CORRECTED,
            remark="as printed it is false wherever ‖Σ_k‖_* is small, which the assumption on ε does not exclude",
        ),
        Claim("a.5.binomial", source, "(1 + x)^n − 1 ≤ e n x for x ≤ 1/n: largest ratio", binomial, "≤"),
    ]


def _alignment(chain):
    """Largest ‖Δ_l‖ / (√ε (l − 1)), with A_l = O_{l−1}(Σ₁ + Δ_l)O_lᵀ as the proof makes it."""
    _, first, v = np.linalg.svd(chain[0], full_matrices=False)
    o = v.swapaxes(-1, -2)
    start = first[:, None] * np.eye(first.shape[-1])
    ratios = []
    step = np.sqrt(measure(chain)[-1].max(axis=0))
    for index, factor in enumerate(chain[1:], start=1):
        u, sigma, v = np.linalg.svd(factor, full_matrices=False)
        turned = u.swapaxes(-1, -2) @ o
        delta = (turned.swapaxes(-1, -2) * sigma[:, None]) @ turned - start
        ratios.append(np.sqrt(squared_norm(delta)) / (index * step))
        o = v.swapaxes(-1, -2) @ turned if factor.shape[-1] == factor.shape[-2] else None
    return np.max(ratios, axis=0)


def _triangle(x, y, p):
    one, other, apart = (_schatten(matrix, p) ** p for matrix in (x, y.swapaxes(-1, -2), x - y.swapaxes(-1, -2)))
    return np.abs(one - other) / apart


def _product(x, y, p):
    return _schatten(x @ y, p) / (_schatten(x, p) * np.sqrt(squared_norm(y)))


def _schatten(matrix, p):
    return factors.schatten_norm(np.linalg.svd(matrix, compute_uv=False), p)
