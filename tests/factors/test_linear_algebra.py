"""LAPACK on one thread, whatever the process has set, and what was set is there again afterwards."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from rankscope.factors import FactorPair, measure
from rankscope.factors.linear_algebra import one_blas_thread

ROOT = Path(__file__).resolve().parents[2]


def blas_threads():
    return {library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()}


@pytest.fixture
def two_threads():
    with ThreadpoolController().select(user_api="blas").limit(limits=2):
        if blas_threads() != {2}:
            pytest.skip("NumPy's BLAS here has a single thread")
        yield


def test_one_thread_within_and_the_old_number_after(two_threads):
    with one_blas_thread:
        assert blas_threads() == {1}
        with one_blas_thread:
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_a_failure_within_restores_the_old_number(two_threads):
    with pytest.raises(ZeroDivisionError), one_blas_thread:
        raise ZeroDivisionError
    assert blas_threads() == {2}


def test_the_last_of_several_threads_restores_it(two_threads):
    """The first one in leaves first: the other is still at work, on one thread."""
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))
    seen = []

    def first():
        with one_blas_thread:
            first_is_in.set()
            second_is_in.wait(10)
        first_is_out.set()

    def second():
        first_is_in.wait(10)
        with one_blas_thread:
            second_is_in.set()
            first_is_out.wait(10)
            seen.append(blas_threads())

    workers = [threading.Thread(target=work) for work in (first, second)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert seen == [{1}]
    assert blas_threads() == {2}


def test_a_reading_runs_on_one_thread(two_threads, monkeypatch):
    seen = []
    svd = np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda *given, **named: seen.append(blas_threads()) or svd(*given, **named))
    measure(FactorPair("qk", 0, "attention", *np.random.default_rng(0).standard_normal((2, 2, 20, 4))))
    assert seen
    assert all(threads == {1} for threads in seen)
    assert blas_threads() == {2}


def test_a_process_that_set_nothing_measures_on_one_thread():
    """conftest.py sets one thread for the tests: here nobody does."""
    script = (
        "import numpy as np\n"
        "from threadpoolctl import ThreadpoolController\n"
        "from rankscope.factors import FactorPair, linear_algebra, measure\n"
        "count = lambda: max(one['num_threads'] for one in ThreadpoolController().select(user_api='blas').info())\n"
        "before, seen, svd = count(), [], np.linalg.svd\n"
        "np.linalg.svd = lambda *given, **named: seen.append(count()) or svd(*given, **named)\n"
        "measure(FactorPair('qk', 0, 'attention', *np.ones((2, 2, 20, 4))))\n"
        "print(set(seen), count() == before)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=True)
    assert done.stdout == "{1} True\n"
