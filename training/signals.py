"""How a process is asked to stop, and stops in good order."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals() -> Iterator[Callable[[], int | None]]:
    """Note SIGINT and SIGTERM for the next good moment; a second one acts at once, as if nobody listened.

    Yields:
        Function that returns the number of the signal that has arrived, or None.
    """
    arrived: list[int] = []

    def note(number, frame):
        arrived.append(number)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: arrived[0] if arrived else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_when_input_ends() -> None:
    """Send this process SIGTERM once its standard input is closed, as it is when the process that holds it dies."""

    def watch():
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as held:
            held.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
