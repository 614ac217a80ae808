"""What passes on one's desk passes in CI: one command, nothing skipped, the same counts."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from infra import build
from tests import campaign
from tests.campaign import ROOT, Note

TESTS = ROOT / "tests"
SOME = """
import pytest
def test_that_passes(): pass
def test_that_cannot_run(): pytest.skip("NOT TESTED: the moon; needs a rocket")
@pytest.mark.skipif(True, reason="NOT TESTED: the moon; needs a rocket")
def test_that_may_not_run(): raise AssertionError
"""
GROUPED = """
import os, pathlib, pytest
@pytest.mark.xdist_group("one at a time")
@pytest.mark.parametrize("number", range(20))
def test_where_it_runs(number):
    pathlib.Path(__file__).with_name(os.environ["PYTEST_XDIST_WORKER"]).touch()
"""
NOTE = Note(
    python="3.13.0",
    ended="2026-11-25 02:30",
    commit="1234567",
    machine="Linux x86_64, 2 cores",
    versions={"flask": "3.1.3"},
    counts={"kills": 2_000},
    passed=1_234,
    failed=[],
    skipped=0,
    minutes=61.5,
)


def text(name: str) -> str:
    return (ROOT / name).read_text()


def test_every_ci_runs_the_one_command_of_the_readme() -> None:
    assert "$ make check\n" in text("README.md")
    assert text(".ci/run").splitlines()[-1] == 'make "${@:-check}"'
    for name in (".travis.yml", ".github/workflows/ci.yml"):
        assert re.search(
            r'sudo --preserve-env env "PATH=\$PATH" \.ci/run($|\s+#)', text(name), re.M
        )
    assert text(".github/workflows/campaign.yml").count(".ci/run campaign\n") == 1


def test_the_python_of_the_deploy_is_the_one_that_tests_it() -> None:
    setup = re.search(r"^DEPLOYED = \((\d), (\d+)\)", text("setup.py"), re.M)
    versions = re.search(r"^VERSIONS := (.*)", text("Makefile"), re.M)
    assert setup
    assert versions
    assert ".".join(setup.groups()) == build.PYTHON
    assert build.PYTHON in versions[1].split()


def test_a_python_on_the_path_is_enough_for_make_run(tmp_path: Path) -> None:
    """Nobody's home has a pyenv in it."""
    if not (make := shutil.which("make")):
        pytest.skip("NOT TESTED: the Makefile; needs make")
    found = Path(sys.base_prefix, "bin")
    done = subprocess.run(
        [make, "--dry-run", "--always-make", ".venv/installed"],
        cwd=ROOT,
        env={"HOME": str(tmp_path), "PATH": f"{found}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"^python3\S* -m venv \.venv$", done.stdout, re.M), done.stdout


OURS = ("CI", "PYTEST_ADDOPTS")  # what this run was told doesn't hold for those


def run_some(
    folder: Path, tests: str = SOME, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run some tests: of these three, this machine can't run two."""
    (folder / "test_some.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-n", "1", str(folder)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in OURS} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_can_not_be_tested_is_said_aloud(tmp_path: Path) -> None:
    done = run_some(tmp_path)
    assert "*** 2 tests skipped: NOT TESTED: the moon; needs a rocket ***" in done.stdout
    assert "1 passed, 2 skipped" in done.stdout
    assert done.returncode == 0


def test_what_can_not_be_tested_is_a_failure_in_ci(tmp_path: Path) -> None:
    done = run_some(tmp_path, CI="true")
    assert "1 passed" in done.stdout
    assert "nothing is skipped in CI: NOT TESTED: the moon; needs a rocket" in done.stdout
    assert done.returncode == 1


def test_tests_that_share_something_run_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(GROUPED)
    (tmp_path / "pytest.ini").write_text("[pytest]")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert len(list(tmp_path.glob("gw?"))) == 1


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ('pytest.skip("NOT TESTED: mars", allow_module_level=True)', "NOT TESTED: mars"),
        ('pytest.importorskip("a_rocket")', "could not import 'a_rocket'"),
        ('@pytest.mark.xfail(reason="far")\ndef test_it(): assert 0', "expected to fail: far"),
        ('def test_it(): pytest.xfail("far")', "expected to fail: far"),
    ],
    ids=["module", "import", "xfail mark", "xfail call"],
)
def test_nothing_is_left_out_in_another_way(tmp_path: Path, tests: str, reason: str) -> None:
    tests = f"import pytest\n{tests}\n"
    at_the_desk = run_some(tmp_path, tests)
    assert f"*** 1 test skipped: {reason}" in at_the_desk.stdout
    assert "INTERNALERROR" not in at_the_desk.stdout
    in_ci = run_some(tmp_path, tests, CI="true")
    assert f"nothing is skipped in CI: {reason}" in in_ci.stdout
    assert in_ci.returncode == 1


def test_counts_of_a_campaign_stand_in_one_place() -> None:
    reads = "environ.get(" + '"PINGLET_CAMPAIGN")'
    found = {file.name for file in TESTS.rglob("*.py") if reads in file.read_text()}
    assert found == {"counts.py"}


def full_counts(campaign_on: bool) -> dict[str, object]:
    """Return the names of tests/counts.py, at the desk or in a campaign."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINGLET_CAMPAIGN", "1" if campaign_on else "")
        return runpy.run_path(str(TESTS / "counts.py"))


def test_a_campaign_repeats_as_often_as_the_issues_say() -> None:
    full = full_counts(campaign_on=True)
    assert (full["TRANSACTIONS"], full["KILLS"], full["EVENTS"]) == (2_000, 20, 5_000)
    assert (full["MESSAGES"], full["PASSWORDS"], full["CUTS"]) == (1_000, 1_000, 30)
    assert (full["FLEET"], full["ROUNDS"]) == (1_000, 1_440)
    few = full_counts(campaign_on=False)
    assert all(
        few[name] < full[name]  # type: ignore[operator]
        for name in ("TRANSACTIONS", "KILLS", "MESSAGES", "PASSWORDS", "CUTS", "FLEET", "ROUNDS")
    )


def test_the_page_of_a_campaign_says_what_passed_and_how_often_it_was_repeated() -> None:
    page = campaign.page([replace(NOTE, python="3.11.7", passed=1_100), NOTE])
    assert "| 3.11.7 | 1234567 | 2026-11-25 02:30 | 1,100 | 0 | 0 | 61.5 min |" in page
    assert "| 3.13.0 | 1234567 | 2026-11-25 02:30 | 1,234 | 0 | 0 | 61.5 min |" in page
    assert "| kills | 2,000 |" in page
    assert "On Linux x86_64, 2 cores, with flask 3.1.3." in page
    assert "* Python" not in page


def test_the_page_of_a_campaign_that_was_stopped_says_so() -> None:
    assert "| 0 | 0 | 61.5 min, stopped: not all were run |" in campaign.page(
        [replace(NOTE, whole=False)]
    )


def test_the_page_of_a_campaign_names_what_failed() -> None:
    page = campaign.page([replace(NOTE, failed=["tests/test_some.py::test_it"])])
    assert "| 1,234 | 1 | 0 |" in page
    assert "* Python 3.13.0, 1234567: `tests/test_some.py::test_it`" in page
