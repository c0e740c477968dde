"""What a page says about runs in words: what was trained, on what, what became of each, and how to repeat it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rankscope.factors import ATTENTION_KINDS
from rankscope.records import RunRecords
from rankscope.reports.points import ATTENTION, NAMES, Point, attention_decays, is_number, text_of

MAX_SHOWN = 12  # different values of a fact
FLAWS = {
    "unfinished": "Not finished: shown as far as it got, and in no mean",
    "failed": "Failed, its loss or its weights not finite: shown as far as it got, and in no mean",
    "did_not_learn": "Did not learn its task: drawn apart, and in no mean",
}


def run_names(runs: Sequence[RunRecords], folder: Path | None) -> dict[Path, str]:
    """Path → a short name, unique among the runs: its folder's, with the folders above as far as needed.

    A folder called `runs` says nothing and is left out.
    """
    parts = {
        run.path: [part for part in _below(run.path.resolve(), folder) if part not in ("runs", "/")] or ["run"]
        for run in runs
    }
    names = {path: some[-1] for path, some in parts.items()}
    for depth in range(2, 1 + max(map(len, parts.values()), default=0)):
        taken = list(names.values())
        names = {
            path: "/".join(parts[path][-depth:]) if taken.count(name) > 1 else name for path, name in names.items()
        }
    return names


def _below(path: Path, folder: Path | None):
    if folder is not None and path.is_relative_to(folder.resolve()) and path != folder.resolve():
        return path.relative_to(folder.resolve()).parts
    return path.parts[-3:]


def flaws(points: Sequence[Point], names: Mapping[Path, str]) -> list[tuple[str, list[str]]]:
    """What is wrong with some runs, and the names of those with, for each, the step that it got to."""
    runs = [run for point in points for run in point.runs]
    found = []
    seeds = {point.number: Counter(text_of(run.seed) for run in point.learned) for point in points}
    twice = [names[run.path] for point in points for run in point.learned if seeds[point.number][text_of(run.seed)] > 1]
    if twice:
        found.append(("The same settings and seed more than once, each counted as a seed of its own", twice))
    for status in dict.fromkeys(run.status for run in runs if not run.learned):
        those = [
            f"{names[run.path]} ({last_step(run):,} of {planned_steps(run)} steps)"
            for run in runs
            if run.status == status
        ]
        found.append((FLAWS.get(status, f"{status}: in no mean"), those))
    return found


def last_step(run: RunRecords) -> int:
    """The last step that the history tells of."""
    steps = run.history.get("step", ())
    return int(steps[-1]) if len(steps) else 0


def planned_steps(run: RunRecords) -> str:
    """The steps that the settings ask for."""
    steps = _setting(run, "training", "steps")
    return f"{steps:,}" if isinstance(steps, int) else "–"


def facts(points: Sequence[Point], varied: Mapping[str, str]) -> list[tuple[str, str]]:
    """The header's facts."""
    runs = [run for point in points for run in point.runs]
    seeds = _several(_ordered([run.seed for run in runs]))
    found = [
        ("Model", _several([_setting(run, "model", "name") for run in runs])),
        ("Data", _several([_setting(run, "data", "source") for run in runs])),
        ("Steps", _several([planned_steps(run) for run in runs])),
        ("Optimizer", _several([_setting(run, "optimizer", "name") or "adamw" for run in runs])),
        ("Backend", _several([run.environment.get("backend") for run in runs])),
        ("Device", _several([_device(run) for run in runs])),
        ("Runs", f"{len(runs):,}" + (f", {len(points)} points" if 1 < len(points) < len(runs) else "")),
        ("Seed" if "," not in seeds else "Seeds", seeds),
    ]
    # What was asked for first, whether it varies or not.
    found += [
        (NAMES[key], _several(_ordered(values)))
        for key, values in (
            ("optimizer.weight_decay", [_setting(run, "optimizer", "weight_decay") for run in runs]),
            (ATTENTION, [_attention_decay(run) for run in runs]),
            ("optimizer.learning_rate", [_setting(run, "optimizer", "learning_rate") for run in runs]),
        )
        if any(value is not None for value in values)
    ]
    told = {"model.name", "data.source", "training.steps", "optimizer.name", "backend", "optimizer.weight_decay"}
    told |= {ATTENTION, f"{ATTENTION}.qk", f"{ATTENTION}.vo", "optimizer.learning_rate"}
    more = [(key, name) for key, name in varied.items() if key not in told]
    found += [(name, _several(_ordered([point.values[key] for point in points]))) for key, name in more[:MAX_SHOWN]]
    return found + ([("And", f"{len(more) - MAX_SHOWN} more settings that vary")] if len(more) > MAX_SHOWN else [])


def _attention_decay(run):
    """λ of attention; of both products, in words, where they differ; None without attention."""
    if not any(row["group"] in ATTENTION_KINDS for row in run.decay_groups):
        return None
    qk, vo = attention_decays(run.settings)
    return qk if qk == vo else f"qk {text_of(qk)}, vo {text_of(vo)}"


def study_facts(claims: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """How many claims of a study came to which verdict; nothing without one.

    Example:
        >>> study_facts([{"verdict": "holds"}, {"verdict": "fails"}, {"verdict": "holds"}])
        [('Claims', '3: 2 holds, 1 fails')]
    """
    if not claims:
        return []
    verdicts = Counter(claim.get("verdict", "") for claim in claims)
    return [("Claims", f"{verdicts.total()}: " + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common()))]


def _ordered(values):
    """Numbers by size; a dash where some runs have none."""
    present = [value for value in values if value is not None]
    present = sorted(present) if all(map(is_number, present)) else present
    return present + ["–"] * (len(present) < len(values))


def _device(run):
    """`CPU:0` of TensorFlow's `/job:localhost/replica:0/task:0/device:CPU:0`."""
    device = run.environment.get("device")
    return device.rpartition("device:")[2] if isinstance(device, str) else device


def _setting(run, section, key):
    tree = run.settings.get(section)
    return tree.get(key) if isinstance(tree, dict) else None


def _several(values: Sequence[Any]) -> str:
    """Distinct values in the order in which they come."""
    distinct = list(dict.fromkeys(text_of(value) for value in values if value is not None))
    more = f", … ({len(distinct)} in all)" if len(distinct) > MAX_SHOWN else ""
    return ", ".join(distinct[:MAX_SHOWN]) + more if distinct else "–"


def environment(
    environments: Sequence[Mapping[str, Any]], summaries: Sequence[Mapping[str, Any]] = ()
) -> list[tuple[str, str]]:
    """Versions, machine, times and costs: distinct values where runs differ.

    Args:
        environments: content of `environment.json` of each run, or of a study.
        summaries: of `summary.json` of each run.
    """
    packages = [environment.get("packages") for environment in environments]
    packages = [package for package in packages if isinstance(package, dict)]
    seconds, shares = (
        [summary[key] for summary in summaries if is_number(summary.get(key))]
        for key in ("wall_seconds", "monitor_share")
    )
    started = [str(environment.get("started", ""))[:16].replace("T", " ") for environment in environments]
    found = [("Started (UTC)", _span(started))]
    if seconds:
        found.append(("Wall time of a run", _between([_duration(value) for value in (min(seconds), max(seconds))])))
    if shares:
        found.append(("Monitor’s share of it", _between([f"{100 * v:.1f} %" for v in (min(shares), max(shares))])))
    found += [
        (name, _several([environment.get(key) for environment in environments]))
        for name, key in (
            ("Backend", "backend"),
            ("Commit", "git_commit"),
            ("Python", "python"),
            ("Platform", "platform"),
        )
    ]
    for name in dict.fromkeys(str(name) for package in packages for name in package):
        found.append((name, _several([package.get(name) for package in packages])))
    return found


def _duration(seconds: float) -> str:
    """
    >>> [_duration(value) for value in (57.2, 3700, 90_000)]
    ['57 s', '62 min', '25.0 h']
    """
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _between(ends):
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _span(texts):
    texts = sorted(filter(None, texts))
    return _between((texts[0], texts[-1])) if texts else "–"


def decay_groups(point: Point) -> list[dict[str, Any]]:
    """Decay groups of a point's first run, and of each its variables, those that differ in a number told once.

    Returns:
        A dict a group: `group`, `decay`, `time_constant` (in words), `variables`: path with `*` for numbers, shape, and
        how many there are.
    """
    rows = next((run.decay_groups for run in point.runs if run.decay_groups), [])
    groups: dict[tuple, dict[tuple, int]] = {}
    for row in rows:
        pattern = "".join("*" if sign.isdecimal() else sign for sign in row["path"])
        while "**" in pattern:
            pattern = pattern.replace("**", "*")
        variables = groups.setdefault((row["group"], row["decay"], _steps(row)), {})
        variables[pattern, row["shape"]] = variables.get((pattern, row["shape"]), 0) + 1
    return [
        {
            "group": group,
            "decay": decay,
            "time_constant": time_constant,
            "variables": [{"path": path, "shape": shape, "count": count} for (path, shape), count in variables.items()],
        }
        for (group, decay, time_constant), variables in groups.items()
    ]


def _steps(row):
    constant = row["time_constant"]
    return "–" if np.isnan(constant) else "never" if np.isinf(constant) else f"{constant:,.0f} steps"
