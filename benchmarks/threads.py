"""A reading in a process that has set nothing, alone and beside two processes that want both cores.

Run from the root, one to five minutes, most of them for two readings with threads:

    python benchmarks/threads.py

Four kinds of turns alternate: with one thread, as `measure` has it, and with a thread for each core, as the process has
it; each while nothing else of ours runs and beside two processes that spin. A reading beside them cannot have
more than its fair share of the cores: with one thread among three that want two cores, two thirds of one. So `fair` is
the wall clock of the quiet reading divided by that share, and the ratio to it is what waiting for threads adds. CPU
seconds stand beside: threads that wait for each other spin. Other work on the machine counts as busy processes do;
the load average is printed.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

os.environ.pop("OPENBLAS_NUM_THREADS", None)  # as in a user's own process
os.environ.pop("OMP_NUM_THREADS", None)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from rankscope.blas import one_blas_thread
from rankscope.factors import FactorPair, measure

SHAPE = (12, 768, 64)
ROUNDS, READINGS = 15, 3
FEW = 2  # rounds of what may take minutes
BUSY = 2


@contextlib.contextmanager
def busy(processes):
    """Processes that do nothing but want a core each."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    time.sleep(0.3)  # until they spin
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def unlimited():
    """`measure` without its limit: as many threads of BLAS as there are cores."""
    nothing = {"__enter__": lambda self: None, "__exit__": lambda self, *failure: None}
    return mock.patch.multiple(type(one_blas_thread), **nothing)


def reading(pair):
    """Wall clock and CPU seconds of one reading."""
    wall, cpu = time.perf_counter(), time.process_time()
    measure(pair)
    return time.perf_counter() - wall, time.process_time() - cpu


def main():
    """Print medians of the four kinds of turns, and the ratios."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    pair = FactorPair("qk", 0, "attention", *np.random.default_rng(0).standard_normal((2, *SHAPE)).astype("float32"))
    measure(pair)  # the draws of the null are kept
    ways = {"one, as measure has it": (contextlib.nullcontext, ROUNDS), f"{cores}, the default": (unlimited, FEW)}
    found = {(way, processes): [] for way in ways for processes in (0, BUSY)}
    for number in range(ROUNDS):
        for processes in (0, BUSY):
            with busy(processes):
                for way, (context, rounds) in ways.items():
                    with context():
                        found[way, processes] += [reading(pair) for _ in range(READINGS) if number < rounds]
    share = min(1.0, cores / (1 + BUSY))
    print(f"a reading of {SHAPE}: {cores} cores, load {load:.1f} before and {os.getloadavg()[0]:.1f} after,")
    print(
        f"medians of wall clock (CPU time); the fair share of one thread beside {BUSY} others is {share:.2f} of a core"
    )
    print("threads of BLAS                   quiet        beside busy  busy / quiet  busy / fair  longest")
    for way in ways:
        quiet, quiet_cpu = (statistics.median(column) for column in zip(*found[way, 0], strict=True))
        beside, beside_cpu = (statistics.median(column) for column in zip(*found[way, BUSY], strict=True))
        print(
            f"{way:<24} {1e3 * quiet:6.0f} ({1e3 * quiet_cpu:4.0f}) ms {1e3 * beside:8.0f} ({1e3 * beside_cpu:4.0f}) ms"
            f" {beside / quiet:13.2f} {beside / quiet * share:12.2f} {max(found[way, BUSY])[0]:6.2f} s"
        )


if __name__ == "__main__":
    main()
