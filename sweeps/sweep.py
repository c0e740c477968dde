"""A sweep: one run for each point of a grid of settings and each seed, each in a process of its own, some at a time."""

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rankscope.data.cores import cores
from rankscope.errors import UserError
from rankscope.files import directory_lock, replace_file
from rankscope.program import own_process
from rankscope.records import create_sweep_directory, mean_and_half_width
from rankscope.settings import check_settings, first_difference
from rankscope.sweeps.grid import SweepRun, SweepSettings, extended, plan_runs, read_sweep
from rankscope.sweeps.run_queue import ENDED, RunQueue, write_table
from rankscope.sweeps.workers import worker_environment
from rankscope.training.settings import Settings, read_settings


@dataclass(frozen=True)
class SweepPoint:
    """The runs that differ in nothing but the seed.

    Args:
        values: as of its runs.
        summaries: of all its runs.
    """

    values: Mapping[str, str]
    summaries: Sequence[Mapping[str, Any]]

    @property
    def learned(self) -> list[Mapping[str, Any]]:
        """Summaries of the runs that are complete and did learn: only these are averaged."""
        return [summary for summary in self.summaries if summary["status"] == "complete"]

    def spread(self, key: str) -> tuple[float, float]:
        """Mean over the runs that learned, and half the width of its 95 % confidence interval; NaN where unknown."""
        return mean_and_half_width([summary[key] for summary in self.learned if key in summary])


@dataclass(frozen=True)
class Sweep:
    """What `run_sweep` has done.

    Args:
        directory: of the sweep.
        runs: all of them, in the order of the grid, seeds innermost.
        failures: name of a run that failed → why, in a line.
    """

    directory: Path
    runs: Sequence[SweepRun]
    failures: Mapping[str, str]

    @property
    def points(self) -> list[SweepPoint]:
        """The points of the grid, in order."""
        groups = itertools.groupby(self.runs, key=lambda run: run.values)
        return [SweepPoint(values, [run.summary for run in runs]) for values, runs in groups]


def run_sweep(
    settings: Settings,
    over: Mapping[str, Sequence[Any]],
    seeds: Any = 3,
    directory: Path | None = None,
    jobs: int | None = None,
    echo: Callable[[str], None] = print,
) -> Sweep:
    """Train a run for each point of a grid and each seed; with a directory of the same sweep, what is missing there.

    A directory of the same sweep may be given more values or seeds: complete runs are kept, broken ones gone on with.
    A run that fails does not stop the others.

    Args:
        settings: of all runs.
        over: dotted key → values that take the place of the settings': text as on the command line, or numbers and
            the like. A key within another (`….qk`) goes over it.
        seeds: a list; or a number, such as 3 for 0, 1, 2.
        directory: of the sweep, new or begun; None for `saved_models/MODEL-sweep-DATE-TIME`.
        jobs: runs side by side; None for two, or one on a single core: a worker takes about a gigabyte of memory
            whatever its model, and all share one GPU.
        echo: function that shows a line to the user.

    Returns:
        The sweep, with all runs that its directory has.

    Raises:
        UserError: for what the user can mend; nothing has been started or written then.
        InterruptedSweepError: after SIGINT or SIGTERM, once the workers have stopped.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"A sweep needs at least one job. Received: {jobs}")
    asked = check_settings(
        SweepSettings,
        {
            "backend": os.environ.get("KERAS_BACKEND"),
            "over": {key: [_as_text(value) for value in values] for key, values in over.items()},
            "settings": settings.model_dump(mode="json"),
        },
        "sweep",
        [("seeds", seeds)],
    )
    if directory is not None and (directory / "sweep.yaml").exists():
        return _go_on(asked, directory, jobs, echo)
    return _begin(asked, directory, jobs, echo)


def resume_sweep(directory: Path, jobs: int | None = None, echo: Callable[[str], None] = print) -> Sweep:
    """Go on with a sweep that was broken off; arguments, result and errors as of `run_sweep`."""
    begun = read_sweep(directory)
    return run_sweep(begun.settings, begun.over, begun.seeds, directory, jobs, echo)


def _as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


def _begin(asked, directory, jobs, echo):
    runs = plan_runs(asked, Path())
    _try_to_build(runs)
    directory = create_sweep_directory(f"{asked.settings.model.name}-sweep", asked.to_yaml(), directory)
    runs = [replace(run, path=directory / "runs" / run.name) for run in runs]
    with _locked(directory) as lock:
        return _train(Sweep(directory, runs, {}), runs, asked.backend, jobs, lock, echo)


def _go_on(asked, directory, jobs, echo):
    with _locked(directory) as lock:
        before = read_sweep(directory)
        asked = extended(before, asked, directory)
        runs = plan_runs(asked, directory / "runs")
        failures, waiting = _inspect(runs)
        _try_to_build(waiting)
        if asked != before:
            replace_file(directory / "sweep.yaml", lambda file: file.write(asked.to_yaml().encode()))
        return _train(Sweep(directory, runs, failures), waiting, asked.backend, jobs, lock, echo)


def _train(sweep, waiting, backend, jobs, lock, echo):
    """Train what of a sweep is waiting; the sweep with the failures of these runs, too."""
    count, kept = len(sweep.runs), len(sweep.runs) - len(waiting)
    (sweep.directory / "runs").mkdir(exist_ok=True)
    if not waiting:
        echo(f"{sweep.directory}: all of its {count} runs have ended already: there is nothing to resume")
        write_table(sweep.directory, sweep.runs)
        return sweep
    jobs = min(jobs or min(2, cores()), len(waiting))
    told = f"; {kept} kept" if kept else ""
    echo(f"{count} runs, {jobs} at a time, on {backend}, in {sweep.directory}{told}")
    failures = RunQueue(sweep.directory, sweep.runs, waiting, jobs, echo).train(lock)
    return replace(sweep, failures={**sweep.failures, **failures})


def _locked(directory):
    """Keep a second sweep out of a directory; workers hold the lock, too, should this process be killed before them."""
    return directory_lock(directory, f"Another process is at work on the sweep in {directory}")


def _inspect(runs):
    """Failures of runs that have ended, by name, and the runs that are still to be made or gone on with."""
    failures, waiting = {}, []
    for run in runs:
        if (run.path / "settings.yaml").exists():
            changed = first_difference(
                read_settings(run.path).model_dump(mode="json"), run.settings.model_dump(mode="json")
            )
            if changed:
                raise UserError(f"{run.path} was made with other settings than the sweep's: {changed} differs")
        status = run.summary["status"]
        if status == "unfinished":
            waiting.append(run)
        elif status not in ENDED:
            failures[run.name] = f"{status} in an earlier attempt; remove {run.path} to have another"
    return failures, waiting


def _try_to_build(runs):
    """Let another process build a run of each point of the grid: training shall not find a mistake hours later."""
    trees = {}
    for run in runs:
        trees.setdefault(str(run.values), (run.name, run.settings.model_dump(mode="json")))
    if not trees:
        return
    command, variables = own_process(module="rankscope.sweeps.try_build")
    done = subprocess.run(
        command,
        input=json.dumps(dict(trees.values())),
        capture_output=True,
        text=True,
        env={**worker_environment(1), **variables},
    )
    if done.returncode:
        said = (done.stdout if done.returncode == 2 else done.stderr).strip().splitlines()
        raise UserError(said[-1] if said else f"the runs cannot be built: exit code {done.returncode}")
