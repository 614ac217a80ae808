"""What is not tested is said aloud at the end; in CI it is a failure.

So a test that needs something of the machine only says `pytest.skip("NOT TESTED: ... needs ...")`.
A whole module that is skipped is one, too, and so is a test that is expected to fail.
"""

import os
from collections import Counter
from collections.abc import Generator

import pytest

Report = pytest.TestReport | pytest.CollectReport


def reason_of(report: Report) -> str:
    """Return why a test, or a module of tests, was skipped."""
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}"
    assert isinstance(report.longrepr, tuple)
    return str(report.longrepr[2]).removeprefix("Skipped: ")


def failed_in_ci(report: Report) -> None:
    """Make a skip a failure where everything must be tested."""
    if report.skipped and os.environ.get("CI"):
        report.longrepr = f"nothing is skipped in CI: {reason_of(report)}"
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)  # or the exit code would still be 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test."""
    report = yield
    failed_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge a module."""
    report = yield
    failed_in_ci(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what this machine couldn't test, after everything else, where it is seen."""
    stats = terminalreporter.stats
    skipped = Counter(map(reason_of, [*stats.get("skipped", []), *stats.get("xfailed", [])]))
    for reason, tests in skipped.items():
        line = f"*** {tests} test{'s' if tests > 1 else ''} skipped: {reason} ***"
        terminalreporter.write_line(line, red=True, bold=True)
