"""`python setup.py lint` and `python setup.py test`; everything else is in pyproject.toml."""

import os
import subprocess
import sys
from typing import ClassVar

from setuptools import Command, setup

# What is deployed runs on this Python: pages, packages, deploy and benchmarks are tested there.
DEPLOYED = (3, 13)
ONCE = [
    "benchmarks",
    "tests/browser",
    *(f"tests/test_{name}.py" for name in ("ci", "cloud", "package", "readme")),
    *(f"tests/test_{name}_benchmark.py" for name in ("fleet", "storage", "storms")),
    *(f"tests/infra/test_{name}.py" for name in ("build", "template")),
]
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
            ["flake8", *ROOMS, "tests", "benchmarks", ".ci", "setup.py"],
            ["mypy"],
            ["pylint", "--fail-under=10", *ROOMS],
        ]


class Test(Checks):
    """All tests, by pytest."""

    description = "run the tests"
    user_options: ClassVar = [
        ("workers=", None, "how many processes to spread the tests over"),
        ("postgres=", None, "all: every test on it; driver: those that a Python's driver may fail"),
        ("coverage", None, "show the share of lines they run, which takes half as long again"),
    ]

    def initialize_options(self) -> None:
        self.workers = "2"
        self.postgres = "all"
        self.coverage = 0

    def programs(self) -> list[list[str]]:
        pytest = ["pytest", "-q", "-n", self.workers, "--dist", "loadgroup", "--durations=10"]
        ignored = [f"--ignore={path}" for path in ONCE] if HERE != DEPLOYED else []
        # The full counts of a campaign take as long as they take.
        patience = ["--timeout=14400"] if os.environ.get("PINGLET_CAMPAIGN") else []
        coverage = ["--cov", "--cov-report=term"] if self.coverage else []
        return [[*pytest, f"--postgres={self.postgres}", *ignored, *patience, *coverage]]


setup(cmdclass={"lint": Lint, "test": Test})
