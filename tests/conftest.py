"""What every test relies on: one backend a process, no network, TensorFloat-32 off, one thread."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

# One thread each: they spin while they wait, and slow small models down wherever another process, such as a second
# worker of pytest, wants the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("NPROC", "1")  # XLA's own thread pool, on JAX
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"

# torch must be loaded before TensorFlow where both are installed: the other order ends in a segmentation fault.
if os.environ.get("KERAS_BACKEND") == "torch" and importlib.util.find_spec("torch") is not None:
    import torch  # noqa: F401

import hypothesis
import pytest

# The same examples each time: a run that fails on one machine fails on all.
hypothesis.settings.register_profile("same-examples", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same-examples")

ROOT = Path(__file__).parent.parent
#: Folders whose tests need no backend, or any; other tests that run once mark themselves.
ONCE = {"analysis", "factors", "files", "recipes", "records", "reports"}


@pytest.hookimpl(tryfirst=True)  # before pytest selects by markers
def pytest_collection_modifyitems(items):
    """Mark the tests of whole folders, and note for tests/nothing_lost.py which tests run once."""
    for item in items:
        if item.path.relative_to(ROOT / "tests").parts[0] in ONCE:
            item.add_marker("once")
        if item.get_closest_marker("once"):
            item.user_properties.append(("once", True))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """A test that reaches for another machine fails at once, instead of hanging until a time-out."""

    def refuse(self, address, *rest):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address, *rest)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def run_cli():
    """Run the application as its user does: in a process of its own, on this test process's backend."""

    def run(*arguments, environment=None, check=True, timeout=300):
        result = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{arguments} exited with {result.returncode}:\n{result.stdout}\n{result.stderr}")
        return result

    return run


@pytest.fixture
def start_cli():
    """Start the application without waiting for it; whatever a test leaves running is killed."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def browser():
    """Chromium of the system, driven by playwright; skips where either is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test-browser")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium: make test-browser")
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox is refused inside most containers; the pages are ours.
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()
