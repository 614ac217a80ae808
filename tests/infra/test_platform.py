"""What Pinglet stands on: what is too old is refused, and told in one line."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from core.errors import PlatformError
from core.settings import Settings
from infra import platform
from infra.database import Database

ROOT = Path(__file__).parents[2]


def driver(version: str, threadsafety: int = 1) -> Any:
    """Return what Python's driver says of such an SQLite, which does all that this one does."""
    told = ModuleType("sqlite3")
    told.connect = sqlite3.connect
    told.sqlite_version = version
    told.sqlite_version_info = tuple(map(int, version.split(".")))
    told.threadsafety = threadsafety
    return told


@pytest.mark.parametrize("version", ["3.31.1", "3.33.0", "2.8.17"])
def test_an_older_sqlite_is_refused(version: str) -> None:
    with pytest.raises(PlatformError) as refused:
        platform.check_sqlite(driver(version))
    assert str(refused.value) == f"SQLite must be 3.34.0 or newer, got {version}"


@pytest.mark.parametrize("version", ["3.34.0", "3.40.1", "4.0.0"])
def test_one_that_is_as_new_will_do(version: str) -> None:
    platform.check_sqlite(driver(version))


def test_an_sqlite_without_threads_is_refused() -> None:
    with pytest.raises(PlatformError, match=r"threads \(no SQLITE_THREADSAFE=0\), got 3.40.1"):
        platform.check_sqlite(driver("3.40.1", threadsafety=0))


class Connection:
    """What pg8000 says of a connection."""

    def __init__(self, version: str) -> None:
        self.parameter_statuses = {"server_version": version}
        self.closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True


@pytest.mark.parametrize("version", ["11.22", "10.23 (Debian 10.23-1)", "9.6.24"])
def test_an_older_postgres_is_refused_and_its_connection_closed(version: str) -> None:
    connection = Connection(version)
    with pytest.raises(PlatformError) as refused:
        platform.check_postgres(connection, None)
    assert str(refused.value) == f"Postgres must be 12 or newer, got {version}"
    assert connection.closed


@pytest.mark.parametrize("version", ["12.0", "17.10 (Debian 17.10-1)", "19devel", "unheard of"])
def test_every_other_postgres_is_tried(version: str) -> None:
    connection = Connection(version)
    platform.check_postgres(connection, None)
    assert not connection.closed


def test_a_pooler_that_tells_no_version_is_tried() -> None:
    connection = Connection("12")
    del connection.parameter_statuses["server_version"]
    platform.check_postgres(connection, None)
    assert not connection.closed


def test_each_connection_to_postgres_is_asked(
    postgres_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "POSTGRES", 99)
    database = Database(postgres_settings)
    with pytest.raises(PlatformError, match="Postgres must be 99 or newer"), database.reading():
        pass
    with pytest.raises(PlatformError, match="Postgres must be 99 or newer"):
        database.upgrade()
    database.engine.dispose()


BEFORE = {
    "an old Python": (
        "sys.version_info = (3, 10, 13)",
        "Error: Python must be 3.11 or newer, got 3.10.13\n",
    ),
    "no SQLite": (
        "sys.modules['sqlite3.dbapi2'] = None",
        "Error: Python must be built with SQLite, got none "
        "(import of sqlite3.dbapi2 halted; None in sys.modules)\n",
    ),
    "no boto3": (
        "sys.modules['boto3'] = None; os.environ['PINGLET_DATABASE_SECRET'] = 'arn:aws:some'",
        "Error: boto3 must be installed where PINGLET_DATABASE_SECRET is set, got none\n",
    ),
}


@pytest.mark.parametrize("lack", BEFORE)
def test_what_python_lacks_is_told_at_the_start_in_one_line(lack: str) -> None:
    lacking, told = BEFORE[lack]
    start = f"import os, sys; {lacking}; from handlers.cli.app import create_app; create_app()"
    done = subprocess.run(
        [sys.executable, "-c", start], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, told)
