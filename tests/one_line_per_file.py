"""A pytest plugin for logs: one line for each test file, when its last test is done, with its time and outcomes.

`python -m pytest -p tests.one_line_per_file -n 2`. Failures are reported at the end, as always. Times are those of the
tests and of their fixtures, so that files side by side add up to more than the clock shows.
"""

from collections import Counter, defaultdict

import pytest


class _Files:
    def __init__(self, terminal):
        self.terminal = terminal
        self.left: Counter[str] = Counter()  # tests of a file that are still to come
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.seconds: Counter[str] = Counter()

    def expect(self, node_ids):
        self.left = Counter(name.partition("::")[0] for name in node_ids)

    def pytest_collection_finish(self, session):
        if session.items:  # pytest-xdist's controller collects nothing itself
            self.expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids):
        self.expect(ids)  # all workers collect the same tests, before the first of them runs

    def pytest_runtest_logreport(self, report):
        file = report.nodeid.partition("::")[0]
        self.seconds[file] += report.duration
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[file][report.outcome] += 1
        if report.when == "teardown":
            self.left[file] -= 1
            if self.left[file] == 0:
                self.terminal.ensure_newline()
                outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes[file].items()))
                self.terminal.write_line(f"{self.seconds[file]:7.1f} s  {file}: {outcomes}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report):
        if report.outcome == "passed" and report.when == "call":
            return "passed", "", "PASSED"  # no dot
        return ("skipped", "", "SKIPPED") if report.outcome == "skipped" and not hasattr(report, "wasxfail") else None


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Files(config.pluginmanager.getplugin("terminalreporter")))
