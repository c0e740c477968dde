"""The runs of a sweep that are waiting, trained some at a time."""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rankscope.files import write_csv
from rankscope.sweeps.grid import SweepRun
from rankscope.sweeps.workers import Worker, log_of, worker_environment
from rankscope.training.signals import stop_signals

ENDED = ("complete", "did_not_learn")


class InterruptedSweepError(Exception):
    """A signal stopped the sweep; the runs that were under way have saved their states."""

    def __init__(self, signal_number: int, directory: Path):
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number
        self.directory = directory


@dataclass(frozen=True)
class _Running:
    """A run whose process is at work, its bar, and when it was started."""

    run: SweepRun
    worker: Worker
    bar: TaskID
    started: float


class RunQueue:
    """Trains runs in processes of their own, shows a bar for each, and keeps `sweep.csv` up to date.

    Args:
        directory: of the sweep.
        runs: all of them, for `sweep.csv`.
        waiting: those to be trained, or gone on with.
        jobs: int ≥ 1, runs side by side.
        echo: function that shows a line to the user.
    """

    def __init__(
        self,
        directory: Path,
        runs: Sequence[SweepRun],
        waiting: Sequence[SweepRun],
        jobs: int,
        echo: Callable[[str], None],
    ):
        self.directory, self.runs, self.jobs = directory, runs, jobs
        self._waiting = deque(waiting)
        self._running: list[_Running] = []
        self._failures: dict[str, str] = {}
        columns = (
            *(TextColumn("{task.description}", markup=False), BarColumn()),
            *(MofNCompleteColumn(), TimeElapsedColumn()),
        )
        self._progress = Progress(*columns, disable=not sys.stdout.isatty())
        self._all = self._progress.add_task("runs", total=len(runs), completed=len(runs) - len(waiting))
        # Over bars that are being drawn only their own console can write.
        over_bars = partial(self._progress.console.print, markup=False, highlight=False)
        self._echo = echo if self._progress.disable else over_bars

    def train(self, lock: int) -> dict[str, str]:
        """Train all runs; one that fails does not stop the others.

        Args:
            lock: file descriptor that each process holds open as long as it lives.

        Returns:
            Name of a run that failed → why, in a line.

        Raises:
            InterruptedSweepError: after SIGINT or SIGTERM, once the workers have stopped.
        """
        write_table(self.directory, self.runs)
        with stop_signals() as stop_signal, self._progress:
            try:
                while self._running or (self._waiting and not stop_signal()):
                    while self._waiting and len(self._running) < self.jobs and not stop_signal():
                        self._start(self._waiting.popleft(), lock)
                    time.sleep(0.1)
                    for running in list(self._running):
                        self._look_at(running, stopping=stop_signal() is not None)
            finally:
                for running in self._running:
                    running.worker.kill()
            if stop_signal():
                raise InterruptedSweepError(stop_signal(), self.directory)
        return self._failures

    def _start(self, run, lock):
        self._echo(f"{run.name}: {'going on' if run.path.exists() else 'started'}")
        bar = self._progress.add_task(run.name, total=run.settings.training.steps)
        worker = Worker(run.path, run.settings, worker_environment(self.jobs), lock)
        self._running.append(_Running(run, worker, bar, time.perf_counter()))

    def _look_at(self, running, stopping):
        """Move a run's bar; ask it to stop where all are to; see whether it has ended."""
        if stopping:
            running.worker.stop()
        self._progress.update(running.bar, completed=running.worker.step())
        if running.worker.ended():
            self._running.remove(running)
            self._progress.remove_task(running.bar)
            self._note_end(running, stopping)

    def _note_end(self, running, stopping):
        run = running.run
        status = run.summary["status"]
        if stopping and status == "unfinished":
            self._echo(f"{run.name}: stopped")
            return
        failure = None if status in ENDED else running.worker.failure() or status
        if failure is not None:
            self._failures[run.name] = f"{failure} ({log_of(run.path)})"
        seconds = time.perf_counter() - running.started
        self._echo(f"{run.name}: {'failed, ' + failure if failure else status}; {seconds:.0f} s")
        self._progress.advance(self._all)
        write_table(self.directory, self.runs)


def write_table(directory: Path, runs: Sequence[SweepRun]) -> None:
    """Write `sweep.csv`: a row a run, with all that its summary says by now."""
    rows = [
        {**run.values, "seed": run.settings.seed, "run": f"runs/{run.name}", **run.summary, **run.values}
        for run in runs
    ]
    write_csv(directory / "sweep.csv", dict.fromkeys(key for row in rows for key in row), rows)
