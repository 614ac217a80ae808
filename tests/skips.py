"""What is not tested is said aloud at the end; in CI it is a failure.

So a test that needs something of the machine only says `pytest.skip("NOT TESTED: ... needs ...")`.
"""

import os
from collections import Counter
from collections.abc import Generator

import pytest


def reason_of(report: pytest.TestReport) -> str:
    """Return why a test was skipped."""
    assert isinstance(report.longrepr, tuple)
    return str(report.longrepr[2]).removeprefix("Skipped: ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skipped test a failed one where everything must be tested."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"nothing is skipped in CI: {reason_of(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what this machine couldn't test, after everything else, where it is seen."""
    skipped = Counter(map(reason_of, terminalreporter.stats.get("skipped", [])))
    for reason, tests in skipped.items():
        line = f"*** {tests} test{'s' if tests > 1 else ''} skipped: {reason} ***"
        terminalreporter.write_line(line, red=True, bold=True)
