"""What both databases agree on: transactions, what their errors mean, which URLs are taken."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import TextClause, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core import models
from core.errors import NameTaken, SettingsError, Unavailable
from core.servers import change
from core.servers.records import ServerWanted
from core.settings import Settings
from infra.database import Database
from tests.infra.databases import names, opened, works
from tests.infra.rows import IP, SLOT, add

ROOT = Path(__file__).parents[2]


def test_an_exception_rolls_everything_back(database: Database) -> None:
    def fail() -> None:
        with database.transaction() as session:
            change.add(session, ServerWanted(name="web", ip=IP), database.settings, SLOT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(database) == []


def test_a_savepoint_that_fails_takes_only_its_own_rows(database: Database) -> None:
    with database.transaction() as session:
        change.add(session, ServerWanted(name="web", ip=IP), database.settings, SLOT)
        with pytest.raises(NameTaken):
            change.add(session, ServerWanted(name="web", ip=IP), database.settings, SLOT)
        change.add(session, ServerWanted(name="mail", ip=IP), database.settings, SLOT)
    assert names(database) == ["web", "mail"]


def test_a_released_savepoint_is_undone_with_its_transaction(database: Database) -> None:
    def fail() -> None:
        with database.transaction() as session:
            with session.begin_nested():
                change.add(session, ServerWanted(name="web", ip=IP), database.settings, SLOT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(database) == []


def test_a_lone_surrogate_fails_alone_and_poisons_nothing_afterwards(database: Database) -> None:
    add(database)
    for _time in range(5):
        with pytest.raises(UnicodeEncodeError), database.transaction() as session:
            session.scalar(select(models.Server).where(models.Server.name == "a\ud800"))
        assert [names(database) for _read in range(10)] == [["web"]] * 10


def test_a_text_with_a_nul_never_reaches_the_database(client: FlaskClient) -> None:
    for body in (b'{"server": "a\\u0000"}', b'{"server": "\\ud800"}'):
        assert client.delete("/", data=body).status_code == 400
        assert [client.get("/").status_code for _read in range(50)] == [200] * 50


def test_many_threads_share_one_database(database: Database) -> None:
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda number: add(database, f"web-{number}"), range(40)))
    assert len(names(database)) == 40


def after(settings: Settings, sqlstate: str) -> None:
    """Have a statement end with that error of the server's."""
    with opened(settings) as database, database.transaction() as session:
        session.execute(raised(sqlstate))


def raised(sqlstate: str) -> TextClause:
    return text(f"DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{sqlstate}'; END $$")


TRY_AGAIN = ["08006", "08P01", "25006", "40001", "40P01", "53100", "53200", "55P03", "58030"]


@pytest.mark.parametrize("sqlstate", [*TRY_AGAIN, "57014", "57P01", "57P05"])
def test_what_passes_by_itself_is_unavailable(postgres_settings: Settings, sqlstate: str) -> None:
    with pytest.raises(Unavailable):
        after(postgres_settings, sqlstate)


@pytest.mark.parametrize("sqlstate", ["22P02", "23514", "42P01", "XX000"])
def test_what_comes_again_each_time_is_not(postgres_settings: Settings, sqlstate: str) -> None:
    with pytest.raises(DBAPIError):
        after(postgres_settings, sqlstate)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_what_had_to_make_way_is_tried_once_more_and_only_once(
    postgres_settings: Settings, sqlstate: str
) -> None:
    tries: list[int] = []

    def collide(times: int) -> Callable[[Session], int]:
        def work(session: Session) -> int:
            tries.append(times)
            wanted = ServerWanted(name=f"web {times} {len(tries)}", ip=IP)
            change.add(session, wanted, postgres_settings, SLOT)
            if tries.count(times) <= times:
                session.execute(raised(sqlstate))
            return times

        return work

    with opened(postgres_settings) as database:
        assert [database.write(collide(times)) for times in (0, 1)] == [0, 1]
        with pytest.raises(Unavailable):
            database.write(collide(2))
        assert tries == [0, 1, 1, 2, 2]
        assert names(database) == ["web 0 1", "web 1 3"]


def test_what_is_locked_is_not_tried_at_once_again(postgres_settings: Settings) -> None:
    tries = []

    def wait(session: Session) -> None:
        tries.append(1)
        session.execute(raised("55P03"))

    with opened(postgres_settings) as database, pytest.raises(Unavailable):
        database.write(wait)
    assert tries == [1]


def test_all_that_writes_is_tried_once_more_but_what_would_rather_stay_undone() -> None:
    rooms = [path for room in ("core", "handlers") for path in (ROOT / room).rglob("*.py")]
    plain = [
        (path.relative_to(ROOT).as_posix(), line.rpartition("database.")[2])
        for path in rooms
        for line in path.read_text().splitlines()
        if "transaction(" in line
    ]
    assert plain == [("handlers/http/gate.py", "transaction(waits=False) as session:")]


def test_more_callers_at_once_than_connections_are_unavailable_not_a_defect(
    settings: Settings,
) -> None:
    with opened(settings, connect_timeout_s=2) as database:
        with contextlib.ExitStack() as held:
            pool = database.engine.pool
            for _caller in range(pool.size() + pool._max_overflow):
                held.enter_context(database.reading()).execute(text("SELECT 1"))
            with pytest.raises(Unavailable):
                works(database)
        assert works(database)


@pytest.mark.parametrize(
    "url",
    [
        "pinglet.db",
        "",
        "mysql://localhost/pinglet",
        "postgresql+psycopg://localhost/pinglet",
        "postgres://localhost:port/pinglet",
        "postgres://localhost/pinglet?sslmode=perhaps",
        "postgres://localhost/pinglet?host=db.example",
        "postgres://db.example/pinglet?sslrootcert=/no/such/file",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////dev/null/pinglet.db",
    ],
)
def test_a_url_that_cant_be_used_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE"):
        Database(Settings(database_url=url))


def test_opening_a_database_connects_to_nothing() -> None:
    Database(Settings(database_url="postgres://192.0.2.1/pinglet")).engine.dispose()
