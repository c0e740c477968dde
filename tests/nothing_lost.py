"""Whether the runs of the suite on several backends leave out no test: from the JUnit reports that pytest writes.

python tests/nothing_lost.py REPORT.xml …, one report a backend, called by its name.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

#: A skipped test names what is missing on the machine in this way; every other reason is that of a backend.
MISSING = "needs"


def read_report(path: Path) -> dict[str, ElementTree.Element]:
    """Test → its entry; without files that are skipped as a whole, of which pytest makes an entry, too."""
    cases = ElementTree.parse(path).getroot().iter("testcase")
    return {f"{case.get('classname')}::{case.get('name')}": case for case in cases if case.get("classname")}


def faults_of(reports: Mapping[str, Mapping[str, ElementTree.Element]], files: Iterable[str]) -> list[str]:
    """What is lost, one line each.

    Args:
        reports: backend → tests, of `read_report`.
        files: modules of tests, as `tests.zoo.test_vit`, each of which must have run.
    """
    everything = {name: case for report in reports.values() for name, case in report.items()}
    ran = {name for name, case in everything.items() for report in reports.values() if _ran(report.get(name))}
    once = {name for name, case in everything.items() if case.find(".//property[@name='once']") is not None}
    faults = [f"{file}: no test of it ran" for file in files if not any(n.startswith(f"{file}::") for n in everything)]
    for name, case in everything.items():
        if name not in ran and not case.find("skipped").get("message", "").startswith(MISSING):
            faults.append(f"{name}: skipped on every backend")
        absent = [backend for backend, report in reports.items() if name not in report]
        if absent and name not in once:
            faults.append(f"{name}: not marked `once`, and not run on {', '.join(absent)}")
    return faults


def _ran(case):
    return case is not None and case.find("skipped") is None


def main(paths: Sequence[str]) -> int:
    """Print what is lost, or how many tests ran."""
    tests = Path(__file__).parent
    files = [".".join(path.relative_to(tests.parent).with_suffix("").parts) for path in tests.rglob("test_*.py")]
    reports = {Path(path).stem: read_report(Path(path)) for path in paths}
    faults = faults_of(reports, files)
    counts = ", ".join(f"{len(report):,} on {backend}" for backend, report in reports.items())
    print("\n".join([*faults, f"{len(set().union(*reports.values())):,} tests: {counts}; {len(faults)} left out"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
