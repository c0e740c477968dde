"""BLAS on one thread, whatever the process has set, and what was set is there again afterwards."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from rankscope.blas import one_blas_thread
from rankscope.data.regression import load_regression
from rankscope.factors import FactorPair, measure
from rankscope.settings import Section
from rankscope.studies.study import Study, run_study

ROOT = Path(__file__).resolve().parents[1]


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


def output_of(script):
    """Of a process whose environment sets nothing: conftest.py sets one thread for the tests."""
    script = "from threadpoolctl import ThreadpoolController\n" + textwrap.dedent(script)
    command = [sys.executable, "-W", "error", "-c", script]
    return subprocess.run(command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=True).stdout


def test_a_process_that_set_nothing_measures_on_one_thread():
    assert (
        output_of(
            """
            import numpy as np
            from rankscope.factors import FactorPair, measure
            count = lambda: max(one["num_threads"] for one in ThreadpoolController().select(user_api="blas").info())
            before, seen, svd = count(), [], np.linalg.svd
            np.linalg.svd = lambda *given, **named: seen.append(count()) or svd(*given, **named)
            measure(FactorPair("qk", 0, "attention", *np.ones((2, 2, 20, 4))))
            print(set(seen), count() == before)
            """
        )
        == "{1} True\n"
    )


def test_a_blas_that_is_loaded_later_is_held_at_one_thread_too():
    """SciPy brings an OpenBLAS of its own, with a function of an optimizer or of statistics that a study uses."""
    lines = output_of(
        """
        import numpy
        from rankscope.blas import one_blas_thread
        counts = lambda: [one["num_threads"] for one in ThreadpoolController().select(user_api="blas").info()]
        with one_blas_thread:
            print(len(counts()))
        import scipy.linalg
        before = counts()
        with one_blas_thread:
            print(*counts())
        print(counts() == before)
        """
    ).split("\n")
    assert set(lines[1].split()) == {"1"}
    assert lines[2] == "True"


def test_a_study_runs_on_one_thread(two_threads, tmp_path):
    seen = []

    def run(settings, writer):
        seen.append(blas_threads())
        return []

    run_study(Study("idle", Section, run), run_dir=tmp_path / "study", echo=lambda line: None)
    assert seen == [{1}]
    assert blas_threads() == {2}


def test_whitening_runs_on_one_thread(two_threads, tmp_path, monkeypatch):
    seen = []
    for name in ("qr", "svd"):
        function = getattr(np.linalg, name)
        monkeypatch.setattr(
            np.linalg, name, lambda *given, call=function, **named: seen.append(blas_threads()) or call(*given, **named)
        )
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "xy.npz", x=rng.standard_normal((50, 4)), y=rng.standard_normal((50, 3)))
    load_regression(tmp_path / "xy.npz", whiten=True)
    assert seen == [{1}] * 3
    assert blas_threads() == {2}
