"""What the tests of the border share: rows to look at, the command line, processes."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask as Application
from flask.testing import FlaskCliRunner
from sqlalchemy import insert, select, text

from core.models import Base, StoredPing
from core.servers import find
from core.settings import Settings
from handlers.cli import app as local
from handlers.http.app import create_app
from infra.database import Database
from tests import people
from tests.handlers.calls import SLOTS, mean_ms

ROOT = Path(__file__).parents[2]
Rows = dict[str, list[tuple[object, ...]]]
Flask = Callable[..., subprocess.CompletedProcess[str]]


def standing_settings(request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> Settings:
    """Return settings for an empty database of the kind `request.param`, for a module's tests."""
    if request.param == "sqlite":
        file = folders.mktemp("standing") / "pinglet.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        return open_to_all(f"sqlite:///{file}")
    settings = open_to_all(request.getfixturevalue("postgres").url())
    database = Database(settings)
    with database.transaction() as session:
        session.execute(text("TRUNCATE server, round, stretch RESTART IDENTITY CASCADE"))
    people.forget_everybody(database)
    database.engine.dispose()
    return settings


def open_to_all(database_url: str) -> Settings:
    """Return settings under which whoever sits at this machine may do everything."""
    return Settings.from_env({"DATABASE_URL": database_url, "PINGLET_AUTHENTICATION": "0"})


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def standing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    """An application whose database stays for a module's tests."""
    settings = standing_settings(request, tmp_path_factory)
    app = create_app(replace(settings, echo_timeout_s=0.05, echo_gap_s=0.0))
    yield app
    app.extensions["pinglet"].database.engine.dispose()


@pytest.fixture
def rows(database: Database) -> Callable[[], Rows]:
    """Return all rows of all tables, to see that nothing changed."""

    def read() -> Rows:
        with database.reading() as session:
            return {
                table.name: [tuple(row) for row in session.execute(select(table))]
                for table in Base.metadata.sorted_tables
            }

    return read


@pytest.fixture
def pinged(database: Database) -> Callable[..., None]:
    """Give a server pings in as many slots, one a minute; every third of them unanswered."""

    def add(name: str, count: int, first: int = 0) -> None:
        with database.transaction() as session:
            server_id = find.by_name(session, name).id
            rows = [
                {
                    "server_id": server_id,
                    "slot": SLOTS[number],
                    "response_ms": mean_ms(number),
                    "sent": 4,
                    "received": 0 if number % 3 == 2 else 4,
                    "best_ms": None,
                    "worst_ms": None,
                    "probe": "icmp",
                }
                for number in range(first, first + count)
            ]
            # RETURNING makes it few statements; without it pg8000 sends one for each row.
            session.execute(insert(StoredPing).returning(StoredPing.id), rows)

    return add


@pytest.fixture
def cli(settings: Settings) -> Iterator[FlaskCliRunner]:
    """The command line on an empty database, in this process: it runs on both kinds."""
    app = local.create_app(settings)
    yield app.test_cli_runner()
    app.extensions["pinglet"].database.engine.dispose()


def environment(database_url: str = "", **more: str) -> dict[str, str]:
    """Return this process's environment without anything that was set for Pinglet or Flask."""
    ours = ("PINGLET_", "FLASK_", "DATABASE_", "AWS_", "WERKZEUG_", "COLUMNS", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # No test asks this machine's gateway.
    given = {"PINGLET_WITNESSES": "none"}
    if database_url:
        given["DATABASE_URL"] = database_url
    return kept | given | more


def flask_command(*arguments: str) -> list[str]:
    """Return the command that a user types as `flask ...`."""
    return [sys.executable, "-m", "flask", *arguments]


@pytest.fixture
def flask(sqlite_settings: Settings) -> Flask:
    """Run `flask ...` as a process of its own, on an empty SQLite file unless told otherwise."""

    def run(
        *arguments: str, database_url: str = sqlite_settings.database_url, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            flask_command(*arguments),
            cwd=ROOT,
            env=environment(database_url),
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=250,
        )

    return run


@pytest.fixture
def no_database(tmp_path: Path) -> Path:
    """A file that doesn't exist, in a folder that doesn't either."""
    return tmp_path / "instance" / "pinglet.db"


@pytest.fixture
def not_a_database(tmp_path: Path) -> Path:
    """A file that is no database."""
    file = tmp_path / "letter.txt"
    file.write_text("Dear Sir or Madam, this is no database. " * 100)
    with closing(sqlite3.connect(file)) as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute("SELECT 1 FROM sqlite_master")
    return file
