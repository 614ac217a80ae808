"""What a function loads before it can answer: the cold start is mostly that.

How long it takes is measured by `python -m benchmarks.import_cost`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOOR = "flask, sqlalchemy.orm, pg8000.dbapi, serverless_wsgi"


def loaded_by(modules: str) -> set[str]:
    """Return what a bare process holds after importing `modules`."""
    code = f"import sys, {modules}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=250
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def by_api() -> set[str]:
    return loaded_by("handlers.functions.api")


@pytest.fixture(scope="module")
def by_floor() -> set[str]:
    return loaded_by(FLOOR)


@pytest.mark.parametrize(
    "module",
    [
        "alembic",
        "rich",
        "boto3",
        "botocore",
        "graphql",
        "ariadne",
        "handlers.http.graphql",
        "strawberry",
        "pydantic",
        "requests",
        "dotenv",
        "sqlite3",
        "sqlalchemy.dialects.sqlite",
        "core.probe",
        "core.rounds.measure",
        "core.history.lately",
        "core.export.give",
        "csv",
        "handlers.http.bulk",
        "handlers.http.metrics",
        "handlers.http.openapi",
        "handlers.http.ping_now",
        "handlers.http.export",
        "handlers.cli.commands",
        "handlers.worker.rounds",
        "handlers.cli.demo",
        "handlers.cli.app",
    ],
)
def test_the_function_that_answers_does_not_load(
    by_api: set[str], by_floor: set[str], module: str
) -> None:
    assert module not in by_api - by_floor  # Python 3.11's own importlib.metadata loads csv


def test_the_function_that_answers_loads_asyncio_only_if_its_libraries_do(
    by_api: set[str], by_floor: set[str]
) -> None:
    assert {"asyncio", "multiprocessing", "unittest"} & (by_api - by_floor) == set()


def test_the_function_that_answers_loads_few_libraries_more(
    by_api: set[str], by_floor: set[str]
) -> None:
    at_top = {module.split(".")[0] for module in by_api}
    known = {module.split(".")[0] for module in by_floor} | {"core", "handlers", "infra"}
    more = {name.lstrip("_") for name in at_top - known - sys.stdlib_module_names}
    assert more <= {"msgspec", "argon2", "argon2_cffi_bindings", "cffi_backend"}


def test_the_prober_loads_neither_a_database_nor_a_web_framework() -> None:
    loaded = loaded_by("handlers.functions.probe")
    assert loaded & {"sqlalchemy", "pg8000", "sqlite3", "flask", "werkzeug", "alembic"} == set()


def test_the_engine_loads_nothing_but_the_standard_library() -> None:
    loaded = {name.split(".")[0] for name in loaded_by("core.probe") - loaded_by("sys")}
    assert loaded - sys.stdlib_module_names == {"core"}
