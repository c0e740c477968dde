"""Runs in processes of their own: how one is started, watched and stopped."""

import os
import re
import signal
import subprocess
from pathlib import Path

from rankscope.data.cores import SHARE, cores
from rankscope.program import own_process
from rankscope.training.settings import Settings

_STEP = re.compile(rb"step (\d+)(?:/| of )\d+")  # of a line of progress, or of a resume


class Worker:
    """A process that trains one run, or goes on with it; what it says goes to a log file beside the run.

    It is in a process group of its own, so that Ctrl-C reaches it through `stop` only. It stops, with its state saved,
    when its standard input ends: that is held here, so that a worker does not outlive a parent that was killed.

    Args:
        run: the run directory, to be made or gone on with.
        settings: of a new run.
        environment: of the process, as from `worker_environment`.
        lock: file descriptor that the worker holds open as long as it lives.
    """

    def __init__(self, run: Path, settings: Settings, environment: dict[str, str], lock: int):
        self.run = run
        self.log = log_of(run)
        self._draft = run.with_name(f".{run.name}.yaml")
        self._stopped = False
        if run.exists():
            arguments = ["--resume", str(run)]
        else:
            self._draft.write_text(settings.to_yaml(), encoding="utf-8")
            arguments = [str(self._draft), "--run-dir", str(run)]
        command, variables = own_process("fit", *arguments, "--stop-with-input")
        with open(self.log, "ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, **variables},
                pass_fds=(lock,),
                start_new_session=True,
            )

    def step(self) -> int:
        """Updates that the run has told of."""
        found = _STEP.findall(self._said(4096))
        return int(found[-1]) if found else 0

    def ended(self) -> bool:
        """Whether the process has ended; cleans up after it."""
        if self._process.poll() is None:
            return False
        self._process.stdin.close()
        self._draft.unlink(missing_ok=True)
        return True

    def failure(self) -> str | None:
        """Of a process that has ended: what went wrong, in a line, or None."""
        code = self._process.returncode
        if code == 0:
            return None
        if code < 0:
            hint = "; was the memory enough?" if code == -signal.SIGKILL else ""
            return f"killed by {signal.Signals(-code).name}{hint}"
        lines = self._said(4096).decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return f"exit code {code}: {lines[-1].removeprefix('Error: ')}"

    def stop(self) -> None:
        """Ask the run, once, to save its state at the next step and to stop: a second time would break it off."""
        if not self._stopped:
            self._stopped = True
            self._process.terminate()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()
        self.ended()

    def _said(self, size):
        """The end of what this process has written to the log."""
        with open(self.log, "rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - size))
            return log.read()


def log_of(run: Path) -> Path:
    """The log file of a run of a sweep."""
    return run.with_name(f"{run.name}.log")


def worker_environment(jobs: int) -> dict[str, str]:
    """The environment of one of `jobs` workers side by side; what the user has set himself stays.

    Each gets its share of the cores: threads that wait for one another's core make two runs slower than one after the
    other. On a GPU none takes all memory at once, as JAX and TensorFlow would.
    """
    threads = str(max(1, cores() // jobs))
    shares = {
        "OMP_NUM_THREADS": threads,  # torch
        "TF_NUM_INTRAOP_THREADS": threads,
        "NPROC": threads,  # XLA's own thread pool, on JAX
        SHARE: threads,  # our own
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    return {**shares, **os.environ}
