"""The last campaign's result, kept in docs/campaign.md: `make campaign` writes it.

As a plugin of pytest this module notes how a run went; run by itself it makes the page of the
notes. What failed, was mended and is run again with PINGLET_CAMPAIGN=1 is a row of its own.
"""

import json
import os
import platform
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from tests import counts
from tests.postgres import bin_dir

ROOT = Path(__file__).parent.parent
NOTES = ROOT / "build" / "campaign"
PAGE = ROOT / "docs" / "campaign.md"
LIBRARIES = ["flask", "sqlalchemy", "pg8000", "serverless-wsgi", "hypothesis", "schemathesis"]
BEGAN = time.monotonic()


@dataclass(frozen=True)
class Note:
    """How one run of the tests went."""

    python: str
    ended: str  # to the minute, UTC
    commit: str
    machine: str
    versions: dict[str, str]
    counts: dict[str, int]
    passed: int
    failed: list[str]  # the names of the tests
    skipped: int
    minutes: float
    whole: bool = True  # nobody stopped it


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Note a campaign's result."""
    if not counts.CAMPAIGN:
        return
    stats = terminalreporter.stats
    note = Note(
        python=platform.python_version(),
        ended=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit=_output("git", "describe", "--always", "--dirty", "--exclude=*"),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        versions=_versions(),
        counts=counts.NAMED,
        passed=len(stats.get("passed", [])),
        failed=sorted(
            {report.nodeid for how in ("failed", "error") for report in stats.get(how, [])}
        ),
        skipped=len(stats.get("skipped", [])),
        minutes=round((time.monotonic() - BEGAN) / 60, 1),
        whole=exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED),
    )
    NOTES.mkdir(parents=True, exist_ok=True)
    (NOTES / f"{note.python} {note.ended}.json").write_text(json.dumps(asdict(note)))


def _versions() -> dict[str, str]:
    postgres = _output(str(bin_dir() / "postgres"), "--version").split()[2]
    return {name: version(name) for name in LIBRARIES} | {"Postgres": postgres}


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "?"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"


def page(notes: list[Note]) -> str:
    """Return the page for the notes of each run."""
    rows = [
        f"| {note.python} | {note.commit} | {note.ended} "
        f"| {note.passed:,} | {len(note.failed)} | {note.skipped} "
        f"| {note.minutes:g} min{'' if note.whole else ', stopped: not all were run'} |"
        for note in notes
    ]
    last = notes[-1]
    failed = [
        f"* Python {note.python}, {note.commit}: `{name}`" for note in notes for name in note.failed
    ]
    return "\n".join(
        [
            "# The last campaign",
            "",
            "`make campaign` runs every test with the full counts and writes this page.",
            "",
            "| Python | commit | ended (UTC) | passed | failed | skipped | took |",
            "|---|---|---|--:|--:|--:|--:|",
            *rows,
            "",
            *(["Failed:", "", *failed, ""] if failed else []),
            f"On {last.machine}, with "
            + ", ".join(f"{name} {number}" for name, number in last.versions.items())
            + ".",
            "",
            "| what is repeated | times |",
            "|---|--:|",
            *(f"| {what} | {times:,} |" for what, times in last.counts.items()),
            "",
        ]
    )


def main() -> None:
    """Write the page."""
    notes = [Note(**json.loads(file.read_text())) for file in sorted(NOTES.glob("*.json"))]
    if not notes:
        raise SystemExit("no campaign has been run: make campaign")
    PAGE.write_text(page(notes))


if __name__ == "__main__":
    main()
