"""What every test stands on: two real databases, an application, a client."""

import logging
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from core.accounts import users
from core.rounds import gateway
from core.settings import Settings
from handlers.http.app import create_app
from infra import migrations
from infra.database import Database
from tests import leaks, people
from tests.cloud import cloud
from tests.counts import CAMPAIGN, FULL
from tests.postgres import Postgres

__all__ = ["cloud"]
pytest_plugins = ["skips", "campaign"]  # from .ci
INFRA = Path(__file__).parent / "infra"


# A Python brings its own SQLite and runs our code anew; Postgres is the same one under each. What a
# Python may change there is the driver: tests of the database, and one file of each room above it,
# which is marked. On Pythons other than the deploy's, `make check` runs only these on Postgres.
# What is slow by nature is marked, too, and has a quicker sibling that always runs.


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --postgres."""
    parser.addoption("--postgres", choices=["all", "driver"], default="all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this run isn't for; nothing of it is a skip."""
    wanted = [item for item in items if _is_wanted(item, config.getoption("--postgres"))]
    config.hook.pytest_deselected(items=list(set(items) - set(wanted)))
    items[:] = wanted


def _is_wanted(item: pytest.Item, postgres: str) -> bool:
    if item.get_closest_marker("slow") and not (FULL or CAMPAIGN):
        return False
    if postgres == "all" or item.get_closest_marker("driver") or INFRA in item.path.parents:
        return True
    return not _needs_postgres(item)


def _needs_postgres(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    kinds = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "postgres" in kinds or "postgres" in item.fixturenames


@pytest.fixture(scope="session", autouse=True)
def passwords_cost_little() -> Iterator[None]:
    """A hash at full cost takes 61 ms of CPU; that cost is a matter of tests/core/accounts."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "HASHER", cheap)
        patch.setattr(users, "DUMMY_HASH", cheap.hash("nobody's"))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_gateway_is_asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """By default a round asks this machine's gateway whether our own network works."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway, "ROUTES", tmp_path_factory.mktemp("proc") / "route")
        patch.setenv("PINGLET_WITNESSES", "none")
        yield


@pytest.fixture(autouse=True)
def no_secret_shows(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[None]:
    """No test's log and no reply shows a password, a token, a hash, or what is planted for it."""
    for name, secret in leaks.PLANTED.items():
        monkeypatch.setenv(name, secret)
    caplog.set_level(logging.INFO, "pinglet")
    with leaks.replies_that_leak() as replies:
        yield
    records = [record for phase in ("setup", "call") for record in caplog.get_records(phase)]
    if request.function.__name__ in leaks.OF_REDACTION:
        records = []
    assert [*leaks.lines_that_leak(records), *replies] == []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A Postgres with the tables of this release in its database `postgres`."""
    cluster = Postgres()
    try:
        cluster.start()
        database = Database(Settings(database_url=cluster.url()))
        migrations.upgrade(database.engine)
        database.engine.dispose()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables of this release and nothing in them."""
    file = tmp_path_factory.mktemp("template") / "pinglet.db"
    database = Database(Settings(database_url=f"sqlite:///{file}"))
    migrations.upgrade(database.engine)
    database.engine.dispose()
    return file


@pytest.fixture
def sqlite_settings(tmp_path: Path, sqlite_template: Path) -> Settings:
    """Settings for an empty SQLite file of the test's own."""
    file = tmp_path / "pinglet.db"
    shutil.copy(sqlite_template, file)
    return Settings(database_url=f"sqlite:///{file}")


@pytest.fixture
def postgres_settings(postgres: Postgres) -> Settings:
    """Settings for an emptied Postgres."""
    settings = Settings(database_url=postgres.url())
    database = Database(settings)
    with database.transaction() as session:
        session.execute(
            text(
                "TRUNCATE server, round, stretch, incident, event, incident_server, rule, witness, "
                "maintenance RESTART IDENTITY CASCADE"
            )
        )
    people.forget_everybody(database)
    database.engine.dispose()
    return settings


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """Settings for an empty database: the test runs once on each kind."""
    empty: Settings = request.getfixturevalue(f"{request.param}_settings")
    return replace(empty, echo_timeout_s=3.0, echo_gap_s=0.0, authentication=False)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The same, opened."""
    opened = Database(settings)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application on an empty database."""
    made = create_app(settings)
    yield made
    made.extensions["pinglet"].database.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the application, in the same process."""
    return app.test_client()


@pytest.fixture
def accepting() -> Iterator[tuple[str, int]]:
    """Where a service accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()
