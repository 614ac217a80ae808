"""What is imported is listed, and every place that says what is needed says the same."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra import platform

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "handlers", "infra")
OURS = {*ROOMS, "tests", "benchmarks", *(path.stem for path in (ROOT / ".ci").glob("*.py"))}
AWS = {"boto3", "botocore"}
"""AWS Lambda has them; infra/platform.py says so elsewhere."""
UNSEEN = {"python-dotenv", "tzdata"}
"""Flask reads .flaskenv with the one, Python's zoneinfo the other."""

SAID = {
    "the oldest Python": {
        "pyproject.toml": r'requires-python = ">=([\d.]+)"|^python_version = "(.*)"',
        "Makefile": r"^VERSIONS := (\S+)",
        "README.md": r"Python ([\d.]+) or newer",
        "core/__init__.py": r"must be ([\d.]+) or newer",
    },
    "the Python of the deploy": {
        "infra/build.py": r'^PYTHON = "(.*)"',
        "serverless.yml": r"runtime: python(.*)",
        "docs/deploy.md": r"\* Python ([\d.]+),",
        "Makefile": r"^VERSIONS := .* (\S+)$",
    },
    "Node": {
        "package.json": r'"node": ">=([\d.]+)"',
        "docs/deploy.md": r"Node ([\d.]+) or newer",
        "tests/infra/npm.py": r"Node ([\d.]+) or newer",
    },
    "SQLite": {"docs/settings.md": r"SQLite ([\d.]+) or newer"},
    "Postgres": {"docs/settings.md": r"Postgres (\d+) or newer"},
}
IS = {
    "the oldest Python": "3.11",
    "the Python of the deploy": "3.13",
    "Node": "20.19",
    "SQLite": ".".join(map(str, platform.SQLITE[:2])),
    "Postgres": str(platform.POSTGRES),
}


def listed(name: str) -> dict[str, Requirement]:
    """Return the requirements of a file, by name."""
    lines = (ROOT / name).read_text().splitlines()
    stated = [line for line in lines if re.match(r"\w", line)]
    found = [Requirement(re.sub(r" *\\$", "", line)) for line in stated]
    return {one.name.lower(): one for one in found}


def modules(folders: Iterable[str]) -> set[str]:
    """Return the top-level names that are imported there, but for Python's own and ours."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {name.partition(".")[0] for path in files for name in _imported(path)}
    return found - sys.stdlib_module_names - OURS


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def distributions(names: Iterable[str]) -> set[str]:
    """Return what is to be installed for these modules."""
    known = packages_distributions()
    return {known[name][0].lower().replace("_", "-") for name in names}


def test_what_is_imported_is_listed_and_nothing_else() -> None:
    needed = distributions(modules(ROOMS) - AWS)
    assert needed | UNSEEN == set(listed("requirements.txt"))


def test_every_lower_bound_is_said() -> None:
    bare = [
        name
        for name, one in listed("requirements.txt").items()
        if not any(bound.operator == ">=" for bound in one.specifier)
    ]
    assert bare == []


def test_what_is_deployed_is_what_is_allowed() -> None:
    allowed, locked = listed("requirements.txt"), listed("infra/requirements.lock")
    assert allowed.keys() - locked.keys() == {"python-dotenv", "rich"}  # of a terminal
    for name in allowed.keys() & locked.keys():
        [exact] = locked[name].specifier
        assert exact.version in allowed[name].specifier, name


@pytest.mark.parametrize("what", SAID)
def test_what_is_needed_is_said_alike_everywhere(what: str) -> None:
    for file, said in SAID[what].items():
        found = re.findall(said, (ROOT / file).read_text(), re.M)
        versions = {"".join(one) for one in found}
        assert versions == {IS[what]}, file
