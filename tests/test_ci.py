"""What passes on one's desk passes in CI: one command, nothing skipped."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import build

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github" / "workflows"
LEFT_OUT = {  # why, as it is told, and a module that leaves something out for that reason
    "NOT TESTED: mars": 'pytest.skip("NOT TESTED: mars", allow_module_level=True)',
    "could not import 'a_rocket'": 'pytest.importorskip("a_rocket")',
    "NOT TESTED: the moon": 'def test_it(): pytest.skip("NOT TESTED: the moon")',
    "expected to fail: far": '@pytest.mark.xfail(reason="far")\ndef test_it(): assert 0',
    "expected to fail: further": 'def test_it(): pytest.xfail("further")',
}
GROUPED = """
import os, pathlib, pytest
@pytest.mark.xdist_group("one at a time")
@pytest.mark.parametrize("number", range(8))
def test_where_it_runs(number):
    pathlib.Path(__file__).with_name(os.environ["PYTEST_XDIST_WORKER"]).touch()
"""


def text(name: str) -> str:
    return (ROOT / name).read_text()


def test_every_ci_runs_the_one_command_of_the_readme() -> None:
    assert "$ make check\n" in text("README.md")
    assert text(".ci/run").splitlines()[-1] == 'make "${@:-check}"'
    for name in (".travis.yml", ".github/workflows/ci.yml"):
        assert re.search(
            r'sudo --preserve-env env "PATH=\$PATH" \.ci/run($|\s+#)', text(name), re.M
        )
    for name in ("full", "campaign"):
        assert text(f".github/workflows/{name}.yml").count(f".ci/run {name}\n") == 1


def jobs() -> dict[str, str]:
    """Return the text of every job, called `workflow/job`, below the permissions that hold in it.

    What a job says of its own permissions stands instead of what its workflow says.
    """
    found = {}
    for path in GITHUB.glob("*.yml"):
        head, _, body = path.read_text().partition("\njobs:\n")
        _, *parts = re.split(r"^  (\w+):", body, flags=re.MULTILINE)
        for name, job in zip(parts[::2], parts[1::2], strict=True):
            found[f"{path.stem}/{name}"] = job if "permissions:" in job else f"{head}\n{job}"
    return found


def permissions(job: str) -> dict[str, str]:
    """Return what a job may do."""
    [block] = re.findall(r"^ *permissions:\n((?: +[\w-]+: (?:read|write).*\n)+)", job, re.MULTILINE)
    return dict(re.findall(r"^ +([\w-]+): (read|write)", block, re.MULTILINE))


def test_an_action_is_the_commit_that_was_looked_at() -> None:
    """A tag can be moved to something else, and has been, by whoever took an account over."""
    for path in GITHUB.glob("*.yml"):
        for action in re.findall(r"uses: (.*)", path.read_text()):
            assert re.fullmatch(r"\./.*|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


def test_a_job_that_may_write_runs_nothing_of_this_repository() -> None:
    rights = {name: permissions(job) for name, job in jobs().items()}
    more = {name: right for name, right in rights.items() if right != {"contents": "read"}}
    assert more == {
        "campaign/keep": {"contents": "write"},
        "deploy/deploy": {"contents": "read", "id-token": "write"},
    }
    assert not re.search(r"\.ci/|make |python|npm", jobs()["campaign/keep"])


def test_only_the_job_that_pushes_leaves_its_token_in_the_clone() -> None:
    for name, job in jobs().items():
        clones = job.count("actions/checkout@") - (name == "campaign/keep")
        assert job.count("persist-credentials: false") == clones


def test_nothing_is_deployed_before_ci_has_passed_on_the_same_commit() -> None:
    every = jobs()
    assert "uses: ./.github/workflows/ci.yml\n" in every["deploy/ci"]
    assert re.search(r"^    needs: ci\b", every["deploy/deploy"], re.MULTILINE)
    # always() would not wait for success.
    assert not re.search(r"^    if:", every["deploy/deploy"], re.MULTILINE)
    assert re.search(r"^on: .*\bworkflow_call\b", text(".github/workflows/ci.yml"), re.MULTILINE)


def test_no_setting_of_the_repository_is_run_as_part_of_a_script() -> None:
    for job in jobs().values():
        scripts = re.findall(r"run: (\|\n(?: {10}.*\n)+|.*)", job)
        assert not [script for script in scripts if "${{" in script]


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


def run_pytest(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder with the plugins that are named: loading all takes seconds."""
    (folder / "pytest.ini").write_text("[pytest]\npython_files = *.py")
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": ".ci", "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, str(folder)],
        cwd=ROOT,
        env=os.environ | alone | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_left_out_in_ci_in_any_way(tmp_path: Path) -> None:
    for number, tests in enumerate(LEFT_OUT.values()):
        (tmp_path / f"module_{number}.py").write_text(f"import pytest\n{tests}\n")
    done = run_pytest(tmp_path, "-p", "skips", "--continue-on-collection-errors", CI="true")
    for reason in LEFT_OUT:
        assert f"nothing is skipped in CI: {reason}" in done.stdout
    assert "3 failed, 2 errors" in done.stdout
    assert done.returncode not in (0, pytest.ExitCode.INTERNAL_ERROR)


def test_tests_that_share_something_run_one_at_a_time(tmp_path: Path) -> None:
    """With pytest 9.2, --dist loadgroup groups nothing."""
    (tmp_path / "grouped.py").write_text(GROUPED)
    done = run_pytest(tmp_path, "-p", "xdist.plugin", "-n", "2", "--dist", "loadgroup")
    assert done.returncode == 0, done.stdout
    assert len(list(tmp_path.glob("gw?"))) == 1
