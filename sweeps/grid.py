"""What a sweep is: a grid of settings times seeds, and the runs that it asks for; no process and no Keras."""

import itertools
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from rankscope.errors import UserError
from rankscope.records import SHORT_NAMES, read_summary
from rankscope.settings import (
    Section,
    Seeds,
    check_settings,
    first_difference,
    parse_assignment,
    read_tree,
    split_list,
)
from rankscope.training.settings import Settings, settings_from

LONGEST_NAME = 200  # bytes; file systems allow 255, and a log's name is longer


class SweepSettings(Section):
    """All that a sweep is: `sweep.yaml`."""

    version: Literal[1] = Field(1, description="Of the format of a sweep's directory.")
    backend: str = Field(description="Of all its runs.")
    over: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(
        description="Setting → its values as they were given; the grid is their product."
    )
    seeds: Seeds = Field(description="Of each point of the grid.")
    settings: Settings = Field(description="Of all runs, but for `over` and the seed.")


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Args:
        values: short name of a setting → its value as it was given; what the point of the grid is.
        settings: of the run, its seed among them.
        path: of its run directory.
    """

    values: Mapping[str, str]
    settings: Settings
    path: Path

    @property
    def name(self) -> str:
        """Such as `wd_attn=0.1,seed=0`."""
        return self.path.name

    @property
    def summary(self) -> dict[str, Any]:
        """`summary.json` as it is now, or the status `unfinished` alone."""
        return read_summary(self.path)


def read_sweep(directory: Path) -> SweepSettings:
    """`sweep.yaml` of a sweep.

    Raises:
        UserError: where there is none, or it does not fit this version.
    """
    path = directory / "sweep.yaml"
    if not path.is_file():
        raise UserError(f"{directory} is not the directory of a sweep: it has no sweep.yaml")
    return check_settings(SweepSettings, read_tree(path), str(path))


def split_flags(flags: Mapping[str, str], over: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Part flags of `fit` into those with one value and those with several.

    Args:
        flags: dotted key → text.
        over: texts `KEY=VALUE,VALUE`, whose keys are always varied.

    Returns:
        Key → text of what is the same in all runs; key → values of what is varied, in the order given.

    Raises:
        UserError: for a key that is varied twice, or that would be lost under one that is varied.
    """
    values = {key: split_list(text) for key, text in flags.items()}
    varied = {key: several for key, several in values.items() if len(several) > 1}
    for text in over:
        key, equals, listed = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UserError(f"--over takes KEY=VALUE,VALUE such as optimizer.epsilon=1e-8,1e-3. Received: {text}")
        if key in varied:
            raise UserError(f"{key} is varied twice. Received: --over {text}")
        varied[key] = split_list(listed)
    fixed = {key: text for key, text in flags.items() if key not in varied}
    for key, text in fixed.items():
        for wider in varied:
            if key.startswith(f"{wider}."):
                raise UserError(f"{wider} is varied and {key} is within it: say --over {key}={text} to have it go over")
    return fixed, varied


def plan_runs(asked: SweepSettings, folder: Path) -> list[SweepRun]:
    """All runs of a sweep in the order of its grid, seeds innermost.

    Args:
        asked: the sweep.
        folder: where the run directories are, or are to be.

    Raises:
        UserError: where the settings of a run are wrong, two runs have the same, or a name is too long.
    """
    if "seed" in asked.over:
        raise UserError("The seed is varied by --seeds")
    short = {key: SHORT_NAMES.get(key, key.rpartition(".")[2]) for key in asked.over}
    if len(set(short.values())) < len(short):
        short = {key: key for key in asked.over}
    runs, known = [], {}
    for combination in itertools.product(*asked.over.values()):
        given = dict(zip(asked.over, combination, strict=True))
        values = {short[key]: text for key, text in given.items()}
        for seed in asked.seeds:
            # Escaped, so that the name is one of a file, and no comma or = in a value is taken for ours.
            named = {**values, "seed": str(seed)}.items()
            name = ",".join(f"{quote(label, safe='')}={quote(text, safe='+')}" for label, text in named)
            if len(name) > LONGEST_NAME:
                raise UserError(f"The run's name is too long for a file, vary fewer settings. Received: {name}")
            # The wider key first: wd_qk goes over wd_attn, whatever the order given.
            overrides = [parse_assignment(f"{key}={given[key]}") for key in sorted(given, key=lambda k: k.count("."))]
            settings = settings_from(asked.settings.model_dump(mode="json"), name, [*overrides, ("seed", seed)])
            twin = settings.to_yaml()
            if twin in known:
                raise UserError(f"Two runs of the sweep have the same settings: {known[twin]} and {name}")
            known[twin] = name
            runs.append(SweepRun(values, settings, folder / name))
    return runs


def extended(before: SweepSettings, asked: SweepSettings, directory: Path) -> SweepSettings:
    """The sweep that is there, with the values and seeds that were asked for beside its own.

    Raises:
        UserError: naming what differs, where anything else does.
    """

    def but_for_lists(sweep):
        return {**sweep.model_dump(mode="json", exclude={"over", "seeds"}), "varied settings": sorted(sweep.over)}

    changed = first_difference(but_for_lists(before), but_for_lists(asked))
    if changed:
        remedy = f": KERAS_BACKEND={before.backend}" if changed == "backend" else ""
        raise UserError(
            f"{directory} holds another sweep: {changed.removeprefix('settings.')} differs{remedy}. "
            f"Go on with that one by --resume {shlex.quote(str(directory))}, or name another --run-dir"
        )
    over = {key: list(dict.fromkeys([*values, *asked.over[key]])) for key, values in before.over.items()}
    return asked.model_copy(update={"over": over, "seeds": list(dict.fromkeys([*before.seeds, *asked.seeds]))})
