"""Run directories such as training writes, made of formulas: spectra fall faster with more decay."""

import json
from pathlib import Path

import numpy as np
import yaml

from rankscope.factors import columns_of
from rankscope.files import write_csv, write_json
from rankscope.records import SpectraFile, StepTable

RATE = 0.01


def make_run(
    path: Path,
    decay=0.1,
    seed=0,
    status="complete",
    layers=2,
    heads=2,
    key_dim=4,
    readings=6,
    changed=None,
    patterns=None,
    **environment,
) -> Path:
    """A run of 100 steps a reading; `unfinished` has no summary and no spectra.npz, `failed` two readings.

    `patterns` are the paths of the variables that a pattern took, and their λ; None is a penalty.
    """
    path.mkdir(parents=True)
    steps = 100 * (readings - 1)
    settings = {
        "model": {"name": "vit", "num_layers": layers, "num_heads": heads},
        "data": {"source": "mnist_5k"},
        "optimizer": {"name": "adamw", "learning_rate": RATE, "weight_decay": 0.1, "attention_weight_decay": decay},
        "training": {"steps": steps},
        "seed": seed,
    }
    for key, value in (changed or {}).items():
        *sections, last = key.split(".")
        tree = settings
        for section in sections:
            tree = tree[section]
        tree[last] = value
    (path / "settings.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    write_json(
        path / "environment.json",
        {
            "version": 1,
            "started": "2026-01-01T10:00:00+00:00",
            "command": ["/home/me/rankscope/cli.py", "fit", "vit", "--run-dir", str(path.absolute())],
            "backend": "jax",
            "device": "cpu",
            "seed": seed,
            "git_commit": "0" * 40,
            "python": "3.11.7",
            "packages": {"keras": "3.15.1"},
        }
        | environment,
    )
    graded = decay if isinstance(decay, dict) else {"qk": decay, "vo": decay}
    kernels = {"query": "qk", "key": "qk", "value": "vo", "output": "vo"}
    groups = [
        (f"block_{layer}/attention/{role}_kernel", pair, graded[pair])
        for layer in range(layers)
        for role, pair in kernels.items()
    ]
    groups += [(f"block_{layer}/mlp_up/kernel", "weights", 0.1) for layer in range(layers)]
    groups = [(name, group, 0.1 if value is None else value) for name, group, value in groups]
    patterns = patterns or {}
    groups = [(name, "pattern" if name in patterns else group, patterns.get(name, λ)) for name, group, λ in groups]
    write_csv(
        path / "decay_groups.csv",
        ("path", "shape", "group", "decay", "time_constant"),
        [
            {
                "path": name,
                "shape": "8×8",
                "group": group,
                "decay": 1.0 if value is None else value,
                "time_constant": "" if value is None else 1 / (RATE * value) if value else "inf",
            }
            for name, group, value in groups
        ],
    )
    if status == "failed":
        readings = 2
    last = _write_readings(path, graded, seed, layers, heads, key_dim, readings, close=status != "unfinished")
    history = StepTable(path / "history.csv", ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"])
    for step in range(50, 100 * (readings - 1) + 1, 50):
        accuracy = 1 - np.exp(-step / 200) - 0.01 * seed
        row = {"step": step, "loss": 2 * (1 - accuracy), "accuracy": accuracy, "learning_rate": RATE}
        history.append([row | ({"val_loss": 1 - accuracy, "val_accuracy": accuracy} if step % 100 == 0 else {})])
    if status != "unfinished":
        summary = {"model": "vit", "backend": "jax", "seed": seed, "steps": steps, "wall_seconds": 60.0 + seed}
        summary |= {f"{pair}_weight_decay": value for pair, value in graded.items()}
        summary |= {} if status == "failed" else {"loss": 0.3, "val_loss": 0.2, "val_accuracy": 0.9 + 0.01 * seed}
        write_json(path / "summary.json", {**summary, **last, "monitor_share": 0.01, "status": status})
    return path


def _write_readings(path, decay, seed, layers, heads, key_dim, readings, close):
    ranks = StepTable(
        path / "ranks.csv",
        ["cumulative_learning_rate", "pair", "layer", "path", "head", "hidden_dim", "key_dim", *columns_of()],
    )
    spectra = SpectraFile(path / "spectra.npz")
    means = {}
    for reading in range(readings):
        rows, sigmas = [], {}
        for layer in range(layers):
            for pair in ("qk", "vo"):
                speed = (decay[pair] or 0.1) * reading * (1 + 0.1 * layer) + 0.01 * seed
                sigma = np.exp(-speed * np.arange(key_dim) * np.linspace(1, 1.2, heads)[:, np.newaxis])
                sigmas[f"{pair}/{layer}"] = sigma
                rank = 0.9 / (1 + speed)
                row = {name: 0.94 if name.endswith("_null") else rank for name in columns_of()}
                row |= {"nuclear_gap": np.exp(-speed), "nuclear_gap_bound": 4 * np.exp(-speed)}
                row |= {"balance_discrepancy": 3 * np.exp(-speed), "layer": layer, "pair": pair}
                row |= {"step": 100 * reading, "cumulative_learning_rate": 100 * reading * RATE}
                row |= {"path": f"block_{layer}/attention", "hidden_dim": heads * key_dim, "key_dim": key_dim}
                rows += [row | {"head": head} for head in range(heads)]
                for name in columns_of():
                    null = "_null" if name.endswith("_null") else ""
                    means[f"{name.removesuffix('_null')}_{pair}{null}"] = row[name]
        ranks.append(rows)
        spectra.append(100 * reading, sigmas)
    if close:
        spectra.close()
    return means


def make_sweep(folder: Path, decays=(0.0, 0.1, 0.3), seeds=(0, 1), **more) -> list[Path]:
    """A sweep over attention's decay."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep = {
        "version": 1,
        "backend": "jax",
        "over": {"optimizer.attention_weight_decay": [str(decay) for decay in decays]},
        "seeds": list(seeds),
        "settings": {"model": {"name": "vit"}, "optimizer": {"attention_weight_decay": None}, "seed": 0},
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False), encoding="utf-8")
    return [
        make_run(folder / "runs" / f"wd_attn={decay},seed={seed}", decay, seed, **more)
        for decay in decays
        for seed in seeds
    ]


def make_verdict(folder: Path, **claim) -> None:
    """A study's verdict of one claim."""
    entry = {
        "id": "figure-1.gap",
        "source": "theorem 3.4",
        "statement": "the gap vanishes",
        "predicted": 0.24,
        "measured": 0.305,
        "tolerance": 0.0048,
        "verdict": "holds",
        "expected": "holds",
        "relation": "≥",
        "corrected": None,
        "correction": None,
        "case": "l2=1.2",
        "cases": 36,
        "remark": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    content = {"version": 1, "study": "figure-1", "backend": "jax", "claims": [entry | claim]}
    (folder / "verdict.json").write_text(json.dumps(content), encoding="utf-8")
