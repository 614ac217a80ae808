"""The oldest and the newest that Pinglet stands on: a walk through all of it on each."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.settings import Settings
from infra import platform
from tests import oldest
from tests.handlers.conftest import environment, flask_command
from tests.postgres import Postgres

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / ".ci" / "smoke.py"

pytestmark = pytest.mark.xdist_group("platforms")  # what one builds, the next one takes


def walk(database_url: str, python: str = sys.executable, **variables: str) -> str:
    """Walk through Pinglet on this database; return what was found to be well."""
    done = subprocess.run(
        [python, str(SMOKE)],
        env=environment(database_url, **variables),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of an old SQLite."""
    return oldest.sqlite_source(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture
def installed(tmp_path: Path) -> Callable[[str], str]:
    """Install what requirements.txt asks for, and nothing else; return the Python that has it."""

    def install(resolution: str) -> str:
        uv = [sys.executable, "-m", "uv", "--quiet"]
        python = str(tmp_path / "venv" / "bin" / "python")
        subprocess.run([*uv, "venv", "-p", sys.executable, tmp_path / "venv"], check=True)
        wanted = ["--resolution", resolution, "-r", str(ROOT / "requirements.txt")]
        subprocess.run([*uv, "pip", "install", "-p", python, *wanted], check=True)
        return python

    return install


def test_here_all_is_well(postgres_settings: Settings) -> None:
    walk(postgres_settings.database_url)


def test_the_oldest_sqlite_does_all_of_it(source: Path, tmp_path: Path) -> None:
    old = oldest.sqlite(source, tmp_path / "old", *oldest.WHOLE)
    assert f"SQLite {oldest.SQLITE}" in walk(f"sqlite:///{tmp_path}/pinglet.db", **old)


def test_an_sqlite_that_lacks_something_is_refused_at_the_start_in_one_line(
    source: Path, tmp_path: Path
) -> None:
    crippled = oldest.sqlite(source, tmp_path / "crippled", *oldest.CRIPPLED)
    file = tmp_path / "folder" / "pinglet.db"
    done = subprocess.run(
        flask_command("servers", "list"),
        cwd=ROOT,
        env=environment(f"sqlite:///{file}", **crippled),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "Error: SQLite must be compiled with threads (no SQLITE_THREADSAFE=0), "
        "JSON (SQLITE_ENABLE_JSON1), foreign keys (no SQLITE_OMIT_FOREIGN_KEY), "
        "got 3.34.0 without\n"
    )
    assert not file.parent.exists()


def test_the_lowest_versions_that_are_allowed_will_do(
    installed: Callable[[str], str], tmp_path: Path
) -> None:
    walk(f"sqlite:///{tmp_path}/pinglet.db", installed("lowest-direct"))


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_lowest_and_the_newest_versions_will_do(
    installed: Callable[[str], str], settings: Settings, resolution: str
) -> None:
    walk(settings.database_url, installed(resolution))


@pytest.mark.slow
def test_the_oldest_postgres_does_all_of_it(tmp_path: Path) -> None:
    cluster = Postgres(oldest.postgres(tmp_path))
    try:
        walk(cluster.start().url())
    finally:
        cluster.close()


def test_what_is_called_the_oldest_is_what_was_walked_on() -> None:
    assert tuple(map(int, oldest.SQLITE.split("."))) == platform.SQLITE
    assert int(oldest.POSTGRES.split(".")[0]) == platform.POSTGRES
