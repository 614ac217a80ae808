"""`python setup.py lint` and `python setup.py test`; everything else is in pyproject.toml."""

import os
import subprocess
import sys
from typing import ClassVar

from setuptools import Command, setup

# What is deployed runs on this Python. Pages, packages and deploy are tested there, once.
DEPLOYED = (3, 13)
DEPLOY = ["browser", "test_cloud.py", "test_package.py", "infra/test_template.py"]
ROOMS = ["core", "handlers", "infra"]
HERE = sys.version_info[:2]


class Checks(Command):
    """Run programs one after the other; end with the first failure's exit code."""

    user_options: ClassVar[list[tuple[str, str | None, str]]] = []

    def initialize_options(self) -> None:
        """Nothing to set."""

    def finalize_options(self) -> None:
        """Nothing to compute."""

    def programs(self) -> list[list[str]]:
        """Return the arguments after `python -m` for each program."""
        raise NotImplementedError

    def run(self) -> None:
        """Run them."""
        for program in self.programs():
            print("$", *program, flush=True)
            code = subprocess.run([sys.executable, "-m", *program], check=False).returncode
            if code:
                sys.exit(code)


class Lint(Checks):
    """Style by ruff, flake8 and pylint (10.00 of 10), types by mypy."""

    description = "check style and types"

    def programs(self) -> list[list[str]]:
        return [
            ["ruff", "format", "--check", "--quiet", "."],
            ["ruff", "check", "--quiet", "."],
            ["flake8", *ROOMS, "tests", "benchmarks", "setup.py"],
            ["mypy"],
            ["pylint", "--fail-under=10", *ROOMS],
        ]


class Test(Checks):
    """All tests, by pytest, with the share of lines they run."""

    description = "run the tests"
    user_options: ClassVar = [("workers=", "n", "how many processes to spread the tests over")]

    def initialize_options(self) -> None:
        self.workers = "2"

    def programs(self) -> list[list[str]]:
        pytest = ["pytest", "-q", "-n", self.workers, "--dist", "loadgroup"]
        ignored = [f"--ignore=tests/{name}" for name in DEPLOY] if HERE != DEPLOYED else []
        # The full counts of a campaign take as long as they take.
        patience = ["--timeout=14400"] if os.environ.get("PINGLET_CAMPAIGN") else []
        return [[*pytest, *ignored, *patience, "--cov", "--cov-report=term", "--durations=10"]]


setup(cmdclass={"lint": Lint, "test": Test})
