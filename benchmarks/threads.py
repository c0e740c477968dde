"""A reading in a process that has set nothing, alone and beside two processes that want both cores.

Run from the root, one to five minutes, most of them for two readings with threads:

    python benchmarks/threads.py

Turns alternate: with one thread, as `measure` has it, and with a thread for each core, as the process has it; each
while nothing else of ours runs and beside two processes that spin. Beside each reading, a loop in one thread takes the
CPU time that a quiet reading takes: its wall clock is `fair`, what any work of this size gets at that moment, whatever
else runs on the machine. The ratio to it is what waiting for threads adds; the aim is 1.5 at most.
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


def fair(cpu):
    """Wall clock of a loop in one thread that takes so many CPU seconds."""
    wall, end = time.perf_counter(), time.thread_time() + cpu
    while time.thread_time() < end:
        pass
    return time.perf_counter() - wall


def main():
    """Print medians of the four kinds of turns, and the ratios."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    pair = FactorPair("qk", 0, "attention", *np.random.default_rng(0).standard_normal((2, *SHAPE)).astype("float32"))
    measure(pair)  # the draws of the null are kept
    cpu = statistics.median(reading(pair)[1] for _ in range(ROUNDS))
    ways = {"one, as measure has it": (contextlib.nullcontext, ROUNDS), f"{cores}, the default": (unlimited, FEW)}
    found = {(way, processes): [] for way in ways for processes in (0, BUSY)}
    for number in range(ROUNDS):
        for processes in (0, BUSY):
            with busy(processes):
                for way, (context, rounds) in ways.items():
                    with context():
                        turns = [(*reading(pair), fair(cpu)) for _ in range(READINGS) if number < rounds]
                    found[way, processes] += turns
    print(f"a reading of {SHAPE}: {cores} cores, load {load:.1f} before and {os.getloadavg()[0]:.1f} after,")
    print(f"medians of wall clock (CPU time); fair: a loop of {1e3 * cpu:.0f} ms CPU time in one thread")
    print("threads of BLAS                             reading         fair  reading / fair   longest")
    for (way, processes), turns in found.items():
        wall, cpu_taken, loop = (statistics.median(column) for column in zip(*turns, strict=True))
        print(
            f"{way:<22} {f'beside {processes} busy' if processes else 'quiet':<14} {1e3 * wall:6.0f} "
            f"({1e3 * cpu_taken:4.0f}) ms {1e3 * loop:6.0f} ms {wall / loop:13.2f} {max(turns)[0]:10.2f} s"
        )


if __name__ == "__main__":
    main()
