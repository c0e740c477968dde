"""What varies between runs, and which of them are one point: those that differ in nothing but the seed."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankscope.factors import ATTENTION_KINDS
from rankscope.records import SHORT_NAMES, RunRecords, mean_and_half_width

NAMES = {**SHORT_NAMES, "optimizer.name": "optimizer", "model.name": "model"}
ATTENTION = "optimizer.attention_weight_decay"


@dataclass(frozen=True, eq=False)
class Point:
    """Runs that differ in nothing but the seed.

    Args:
        number: its place among the points, from 0.
        label: such as `wd_attn=0.1`; `run` where nothing varies.
        values: key of each setting that varies → its value; None where the point's runs do not have it.
        runs: all of them, whatever became of them.
    """

    number: int
    label: str
    values: Mapping[str, Any]
    runs: Sequence[RunRecords]

    @property
    def learned(self) -> list[RunRecords]:
        """The runs that are complete and did learn: only these are averaged."""
        return [run for run in self.runs if run.learned]

    def spread(self, key: str) -> tuple[float, float]:
        """`spread` of the summaries of the runs that learned."""
        return spread([run.summary for run in self.learned], key)


def spread(summaries: Sequence[Mapping[str, Any]], key: str) -> tuple[float, float]:
    """Mean of a number of summaries, and half the width of its 95 % interval; NaN where unknown."""
    values = [summary.get(key) for summary in summaries]
    return mean_and_half_width([value for value in values if is_number(value) and math.isfinite(value)])


def points_of(runs: Sequence[RunRecords]) -> tuple[dict[str, str], list[Point]]:
    """Group runs into points, in the order of their values where those are numbers, else as the runs come.

    Args:
        runs: any, of different models, too.

    Returns:
        Key of each setting that varies → its short name; and the points.
    """
    flat = _flat(runs)
    keys = list(dict.fromkeys(key for settings in flat for key in settings))
    varied = [key for key in keys if len({text_of(settings[key]) for settings in flat if key in settings}) > 1]
    names = {key: NAMES.get(key, key.rpartition(".")[2]) for key in varied}
    if len(set(names.values())) < len(names):
        names = {key: key for key in varied}
    groups: dict[tuple, list[int]] = {}
    for place, settings in enumerate(flat):
        groups.setdefault(tuple(text_of(settings.get(key)) for key in varied), []).append(place)
    found = [
        ({key: flat[places[0]].get(key) for key in varied}, [runs[p] for p in places]) for places in groups.values()
    ]
    found.sort(key=lambda group: tuple(v if is_number(v) else 0 for v in group[0].values()))
    points = []
    for number, (values, members) in enumerate(found):
        label = (
            ", ".join(f"{names[key]}={text_of(value)}" for key, value in values.items() if value is not None) or "run"
        )
        points.append(Point(number, label, values, members))
    return names, points


def _flat(runs):
    """Dotted key → value of all settings of each run but its seed, and the backend; attention's null λ is λ itself."""
    flat = [dict(_leaves(run.settings)) for run in runs]
    decays = [
        [settings.pop(key, None) for key in (ATTENTION, f"{ATTENTION}.qk", f"{ATTENTION}.vo")] for settings in flat
    ]
    as_written_all_the_same = len({text_of(decay) for decay in decays}) == 1
    for run, settings in zip(runs, flat, strict=True):
        settings.pop("seed", None)
        if "backend" in run.environment:
            settings["backend"] = run.environment["backend"]
        if as_written_all_the_same:
            continue
        qk, vo = attention_decays(run.settings)
        settings |= {f"{ATTENTION}.qk": qk, f"{ATTENTION}.vo": vo}
    if all(settings.get(f"{ATTENTION}.qk") == settings.get(f"{ATTENTION}.vo") for settings in flat):
        for settings in flat:
            if not as_written_all_the_same:
                settings[ATTENTION] = settings.pop(f"{ATTENTION}.qk")
                del settings[f"{ATTENTION}.vo"]
    return flat


def attention_decays(settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """λ of W_KᵀW_Q and of P W_V; where it is null, that of the rest.

    >>> attention_decays({"optimizer": {"weight_decay": 0.1, "attention_weight_decay": {"qk": 1, "vo": None}}})
    (1, 0.1)
    """
    optimizer = settings.get("optimizer")
    optimizer = optimizer if isinstance(optimizer, dict) else {}
    whole, given = optimizer.get("weight_decay"), optimizer.get("attention_weight_decay")
    given = given if isinstance(given, dict) else dict.fromkeys(ATTENTION_KINDS, given)
    qk, vo = (whole if given.get(pair) is None else given[pair] for pair in ATTENTION_KINDS)
    return qk, vo


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and key != "decay_groups":
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_number(value: Any) -> bool:
    """Whether a setting is a number that can be put in order."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_of(value: Any) -> str:
    """As short as it can be told.

    >>> [text_of(value) for value in (0.10, None, "cosine", [1, 2])]
    ['0.1', 'null', 'cosine', '[1, 2]']
    """
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
