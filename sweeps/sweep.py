"""A sweep: one run for each point of a grid of settings and each seed, each in a process of its own, some at a time."""

import fcntl
import itertools
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rankscope.data.cores import cores
from rankscope.errors import UserError
from rankscope.program import own_process
from rankscope.records import mean_and_half_width, replace_file, write_csv
from rankscope.settings import check_settings, first_difference
from rankscope.training.grid import SweepRun, SweepSettings, extended, plan_runs, read_sweep
from rankscope.training.run_directory import create_sweep_directory, read_settings
from rankscope.training.settings import Settings
from rankscope.training.signals import stop_signals
from rankscope.training.workers import Worker, log_of, worker_environment

ENDED = ("complete", "did_not_learn")


class InterruptedSweepError(Exception):
    """A signal stopped the sweep; the runs that were under way have saved their states."""

    def __init__(self, signal_number: int, directory: Path):
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number
        self.directory = directory


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
    with ExitStack() as stack:
        begun = directory is not None and (directory / "sweep.yaml").exists()
        if begun:
            lock = stack.enter_context(_locked(directory))
            before = read_sweep(directory)
            asked = extended(before, asked, directory)
        runs = plan_runs(asked, directory / "runs" if begun else Path())
        failures, waiting = _inspect(runs) if begun else ({}, runs)
        _try_to_build(waiting)
        if not begun:
            directory = create_sweep_directory(f"{settings.model.name}-sweep", asked, directory)
            lock = stack.enter_context(_locked(directory))
            runs, waiting = ([replace(r, path=directory / "runs" / r.name) for r in some] for some in (runs, waiting))
        elif asked != before:
            replace_file(directory / "sweep.yaml", lambda file: file.write(asked.to_yaml().encode()))
        (directory / "runs").mkdir(exist_ok=True)
        jobs = min(jobs or min(2, cores()), len(waiting) or 1)
        kept = len(runs) - len(waiting)
        echo(
            f"{len(runs)} runs, {jobs} at a time, on {asked.backend}, in {directory}" + (f"; {kept} kept" * bool(kept))
        )
        failures |= _work(directory, runs, waiting, jobs, lock, echo)
    return Sweep(directory, runs, failures)


def resume_sweep(directory: Path, jobs: int | None = None, echo: Callable[[str], None] = print) -> Sweep:
    """Go on with a sweep that was broken off; arguments, result and errors as of `run_sweep`."""
    begun = read_sweep(directory)
    return run_sweep(begun.settings, begun.over, begun.seeds, directory, jobs, echo)


def _as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


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
    command, variables = own_process(module="rankscope.training.try_build")
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


@contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """Keep a second sweep out of a directory; workers hold the lock, too, should this process be killed before them."""
    lock = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"Another process is at work on the sweep in {directory}") from error
        yield lock
    finally:
        os.close(lock)


def _work(directory, runs, waiting, jobs, lock, echo):
    """Train the waiting runs, `jobs` at a time. Returns failures by name."""
    environment = worker_environment(jobs)
    waiting, running, failures = deque(waiting), [], {}
    _write_table(directory, runs)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with stop_signals() as stop_signal, Progress(*columns, disable=not sys.stdout.isatty()) as progress:
        # Over bars that are being drawn only their own console can write.
        tell = echo if progress.disable else partial(progress.console.print, markup=False, highlight=False)
        done = progress.add_task("runs", total=len(runs), completed=len(runs) - len(waiting))
        try:
            while running or (waiting and not stop_signal()):
                while waiting and len(running) < jobs and not stop_signal():
                    run = waiting.popleft()
                    tell(f"{run.name}: {'going on' if run.path.exists() else 'started'}")
                    task = progress.add_task(run.name, total=run.settings.training.steps)
                    worker = Worker(run.path, run.settings, environment, lock)
                    running.append((run, worker, task, time.perf_counter()))
                time.sleep(0.1)
                for run, worker, task, started in list(running):
                    if stop_signal():
                        worker.stop()
                    progress.update(task, completed=worker.step())
                    if not worker.ended():
                        continue
                    running.remove((run, worker, task, started))
                    progress.remove_task(task)
                    status = run.summary["status"]
                    failure = None if status in ENDED else worker.failure() or status
                    if stop_signal() and status == "unfinished":
                        tell(f"{run.name}: stopped")
                        continue
                    progress.advance(done)
                    if failure is not None:
                        failures[run.name] = f"{failure} ({log_of(run.path)})"
                    seconds = time.perf_counter() - started
                    tell(f"{run.name}: {'failed, ' + failure if failure else status}; {seconds:.0f} s")
                    _write_table(directory, runs)
        finally:
            for _, worker, *_ in running:
                worker.kill()
        if stop_signal():
            raise InterruptedSweepError(stop_signal(), directory)
    return failures


def _write_table(directory, runs):
    """`sweep.csv`: a row a run, with all that its summary says by now."""
    rows = [
        {**run.values, "seed": run.settings.seed, "run": f"runs/{run.name}", **run.summary, **run.values}
        for run in runs
    ]
    write_csv(directory / "sweep.csv", dict.fromkeys(key for row in rows for key in row), rows)
