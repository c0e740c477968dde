"""Analyses like those of trained checkpoints, made of random numbers."""

from types import SimpleNamespace

import numpy as np

from rankscope.factors import effective_rank, nuclear_norm, pseudo_rank, stable_rank

NULLS = {
    "pseudo_rank": 0.94,
    "pseudo_rank_hidden": 0.078,
    "stable_rank": 0.6,
    "effective_rank": 0.93,
    "balance_relative": 0.35,
    "nuclear_ratio": 0.96,
    "row_norm_agreement": 0.97,
    "diagonality_a": 0.9,
    "diagonality_b": 0.9,
}


def random_analysis(name="Llama-2-7b-hf", layers=4, heads=4, key_dim=16, seed=0, decay=1.0, **more):
    """Spectra fall faster in later layers and with more `decay`; two heads share a key."""
    rng = np.random.default_rng(seed)
    hidden_dim = heads * key_dim
    texts = {"pair": [], "tower": [], "path": []}
    numbers, spectra, row_norms = [], {}, {}
    for layer in range(layers):
        for pair in ("qk", "vo"):
            speed = (
                decay * (0.5 + 4 * layer / layers) * rng.uniform(0.6, 1.5, (heads, 1)) * (1.3 if pair == "qk" else 0.7)
            )
            sigma = 3 * np.exp(-speed * np.arange(key_dim) / key_dim) * (1 - 0.9 * np.arange(key_dim) / key_dim)
            spectra[pair, layer] = sigma
            norms_a = sigma * rng.lognormal(0.0, 0.15, sigma.shape)
            norms_b = norms_a * rng.lognormal(0.1, 0.2, sigma.shape)
            row_norms[pair, layer] = (norms_a[:: 2 if heads > 1 and pair == "qk" else 1], norms_b)
            nuclear = nuclear_norm(sigma)
            bound = nuclear / rng.uniform(0.88, 0.995, heads)
            imbalance = rng.uniform(0.05, 0.5, heads)
            numbers.append(
                {
                    "layer": np.full(heads, layer),
                    "head": np.arange(heads),
                    "hidden_dim": np.full(heads, hidden_dim),
                    "key_dim": np.full(heads, key_dim),
                    "pseudo_rank": pseudo_rank(sigma),
                    "pseudo_rank_hidden": pseudo_rank(sigma, size=hidden_dim),
                    "stable_rank": stable_rank(sigma),
                    "effective_rank": effective_rank(sigma),
                    "nuclear_norm": nuclear,
                    "frobenius_bound": bound,
                    "nuclear_gap": bound - nuclear,
                    "nuclear_gap_bound": 4 * (bound - nuclear),
                    "balance_discrepancy": imbalance * bound,
                    "balance_relative": imbalance,
                    "nuclear_ratio": nuclear / bound,
                    "row_norm_agreement": rng.uniform(0.8, 0.99, heads),
                    "diagonality_a": rng.uniform(0.5, 0.9, heads),
                    "diagonality_b": rng.uniform(0.5, 0.9, heads),
                }
            )
            texts["pair"] += [pair] * heads
            texts["tower"] += ["model.layers.*.self_attn"] * heads
            texts["path"] += [f"model.layers.{layer}.self_attn"] * heads
    columns = {key: np.array(values) for key, values in texts.items()}
    columns |= {key: np.concatenate([part[key] for part in numbers]) for key in numbers[0]}
    for quantity, value in NULLS.items():
        size = key_dim if quantity in ("stable_rank", "effective_rank") else 1
        columns[f"{quantity}_null"] = np.full(len(columns["layer"]), value * size)
    fields = {
        "name": name,
        "path": f"/models/{name}",
        "family": "llama",
        "notes": (
            "Rotary positions turn queries and keys between the factors: their balance is no invariant of the flow.",
            "Two queries share a key: imbalance and row norm agreement are those of the group.",
        ),
        "columns": columns,
        "spectra": spectra,
        "row_norms": row_norms,
        "looks_initialised": False,
    }
    return SimpleNamespace(**(fields | more))
