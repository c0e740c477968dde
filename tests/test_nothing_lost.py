"""That a test which the runs of the suite leave out is noticed."""

import pytest

from tests.nothing_lost import faults_of, read_report

pytestmark = pytest.mark.once

SKIPPED = '<skipped message="{}"/>'
ONCE = '<properties><property name="once" value="True"/></properties>'


def reports_of(folder, **cases):
    """Backend → its report, of `{name: what stands in the entry}`."""
    for backend, tests in cases.items():
        entries = [
            f'<testcase classname="tests.test_a" name="{name}">{text}</testcase>' for name, text in tests.items()
        ]
        whole_file = f'<testcase classname="" name="tests.test_b">{SKIPPED.format("of torch")}</testcase>'
        text = f"<testsuites><testsuite>{whole_file}{''.join(entries)}</testsuite></testsuites>"
        (folder / f"{backend}.xml").write_text(text)
    return {backend: read_report(folder / f"{backend}.xml") for backend in cases}


def test_nothing_is_lost(tmp_path):
    """`b` needs no backend, `c` is about one of them, `d` about what this machine lacks."""
    everywhere = {"a": "", "d": SKIPPED.format("needs Chromium")}
    torch = {**everywhere, "b": ONCE, "c": SKIPPED.format("of jax")}
    assert faults_of(reports_of(tmp_path, torch=torch, jax={**everywhere, "c": ""}), ["tests.test_a"]) == []


@pytest.mark.parametrize(
    ("torch", "jax", "fault"),
    [
        ({"a": "", "b": ""}, {"a": ""}, "::b: not marked `once`, and not run on jax"),
        (
            {"a": SKIPPED.format("of jax")},
            {"a": SKIPPED.format("of torch")},
            "::a: skipped on every backend",
        ),
        ({"a": ONCE + SKIPPED.format("of jax")}, {}, "::a: skipped on every backend"),
        ({}, {}, ": no test of it ran"),
    ],
)
def test_what_is_lost_is_named(tmp_path, torch, jax, fault):
    assert faults_of(reports_of(tmp_path, torch=torch, jax=jax), ["tests.test_a"]) == [f"tests.test_a{fault}"]
