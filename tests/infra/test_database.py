"""What the two databases must agree on, and how each fails."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, StatementError

from core import models
from core.errors import NameTaken, SettingsError, Unavailable
from core.rounds.messages import Results
from core.servers import change, find
from core.servers.records import ServerWanted
from core.settings import Settings
from handlers.functions.record import Recorder
from handlers.http.app import create_app
from infra.database import Database
from tests.cloud import event_of, failed
from tests.infra.conftest import TLS_NAME
from tests.infra.rows import IP, SLOT, add, add_many, ping, record, stored
from tests.postgres import Postgres, free_port


@contextlib.contextmanager
def opened(settings: Settings, **more: object) -> Iterator[Database]:
    database = Database(replace(settings, **more))
    try:
        yield database
    finally:
        database.engine.dispose()


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return list(find.names(session))


def works(database: Database) -> bool:
    return names(database) is not None


def why_not(settings: Settings) -> str:
    """Return the reason that the database gives for not serving."""
    with opened(settings) as database, pytest.raises(Unavailable) as refusal:
        works(database)
    return str(refusal.value)


# What both agree on


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    record(database, SLOT.astimezone(east), [ping(add(database))])
    [(_id, slot, _ms)] = stored(database)
    assert (slot, slot.tzinfo) == (SLOT, UTC)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = select(models.Ping).where(models.Ping.slot == SLOT.replace(tzinfo=None))
    with pytest.raises(StatementError, match="no time zone"), database.reading() as session:
        session.scalars(naive)
    assert works(database)


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


def test_a_ping_of_no_server_is_refused_by_the_database_itself(database: Database) -> None:
    orphan = text(
        "INSERT INTO data (server_id, datetime, sent, received, probe) "
        "VALUES (7, '2026-01-02 07:01:00', 4, 4, 'tcp')"
    )
    with pytest.raises(Exception, match=r"(?i)foreign key"), database.transaction() as session:
        session.execute(orphan)


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


# SQLite


def test_sqlite_takes_its_write_lock_at_the_start_so_that_nobody_loses_what_he_read(
    sqlite_settings: Settings,
) -> None:
    with opened(sqlite_settings) as database:
        add(database, "0")

        def increment(_number: int) -> None:
            with database.transaction() as session:
                server = session.scalars(select(models.Server)).one()
                server.name = str(int(server.name) + 1)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(increment, range(80)))
        assert names(database) == ["80"]


def test_sqlite_readers_dont_wait_for_a_writer(sqlite_settings: Settings) -> None:
    with opened(sqlite_settings, statement_timeout_s=0.1) as database:
        add(database)
        with database.transaction() as session:
            session.execute(text("UPDATE server SET name = 'other'"))
            assert names(database) == ["web"]


def test_sqlite_is_in_wal_mode_with_foreign_keys_on(sqlite_settings: Settings) -> None:
    with opened(sqlite_settings) as database, database.reading() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_an_sqlite_file_that_stays_locked_is_unavailable(sqlite_settings: Settings) -> None:
    with opened(sqlite_settings, statement_timeout_s=0.1) as database:
        with database.transaction(), pytest.raises(Unavailable, match="locked"):
            add(database)
        assert add(database)


# Postgres: away, full, slow


def test_a_refused_connection_is_unavailable_and_says_so() -> None:
    url = f"postgres://postgres@127.0.0.1:{free_port()}/postgres"
    assert "refused" in why_not(Settings(database_url=url))


def test_a_listener_that_never_speaks_is_given_up_in_the_time_to_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://postgres@127.0.0.1:{silent.getsockname()[1]}/postgres"
        settings = Settings(database_url=url, connect_timeout_s=0.2, statement_timeout_s=250)
        assert "timed out" in why_not(settings)


@pytest.mark.parametrize("wrong", ["user", "database"])
def test_a_login_that_is_refused_is_unavailable_and_names_the_reason(
    postgres: Postgres, wrong: str
) -> None:
    url = postgres.url(**{wrong: "nobody-knows-it"})
    assert "nobody-knows-it" in why_not(Settings(database_url=url))


def test_a_statement_that_takes_too_long_is_unavailable_and_the_next_one_works(
    postgres_settings: Settings,
) -> None:
    with opened(postgres_settings, statement_timeout_s=1) as database:
        for _time in range(3):
            with pytest.raises(Unavailable, match="timeout"), database.reading() as session:
                session.execute(text("SELECT pg_sleep(60)"))
            assert works(database)


def test_waiting_for_a_lock_ends_with_the_statement_timeout(postgres_settings: Settings) -> None:
    with opened(postgres_settings, statement_timeout_s=1) as database:
        [server_id] = add_many(database, ["web"])
        with database.transaction() as session:
            change.remove(session, "web")
            with pytest.raises(Unavailable):
                record(database, SLOT, [ping(server_id)])
        assert works(database)


def test_a_statement_waits_for_the_server_once(postgres_settings: Settings) -> None:
    with opened(postgres_settings) as database, database.engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # the transaction has begun
        wire: Any = connection.connection.driver_connection
        wait, waits = wire.handle_messages, []

        def wait_and_count(context: object) -> None:
            waits.append(context)
            wait(context)

        wire.handle_messages = wait_and_count
        for number in (7, None):
            query = text("SELECT CAST(:number AS integer)")
            assert connection.execute(query, {"number": number}).scalar_one() == number
        assert len(waits) == 2


def test_a_connection_that_was_cut_while_idle_is_replaced_unnoticed(
    postgres_settings: Settings,
) -> None:
    with opened(postgres_settings) as database, opened(postgres_settings) as other:
        for _time in range(3):
            assert works(database)
            cut(other)
            assert works(database)


def test_a_connection_that_is_cut_in_a_transaction_is_unavailable_and_the_next_works(
    postgres_settings: Settings,
) -> None:
    with opened(postgres_settings) as database, opened(postgres_settings) as other:

        def be_cut() -> None:
            with database.transaction() as session:
                change.add(session, ServerWanted(name="web", ip=IP), database.settings, SLOT)
                cut(other)
                session.execute(text("SELECT 1"))

        with pytest.raises(Unavailable):
            be_cut()
        assert names(database) == []


def after(settings: Settings, sqlstate: str) -> None:
    """Have a statement end with that error of the server's."""
    raised = text(f"DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{sqlstate}'; END $$")
    with opened(settings) as database, database.transaction() as session:
        session.execute(raised)


TRY_AGAIN = ["08006", "08P01", "25006", "40001", "40P01", "53100", "53200", "55P03", "58030"]


@pytest.mark.parametrize("sqlstate", [*TRY_AGAIN, "57014", "57P01", "57P05"])
def test_what_passes_by_itself_is_unavailable(postgres_settings: Settings, sqlstate: str) -> None:
    with pytest.raises(Unavailable):
        after(postgres_settings, sqlstate)


@pytest.mark.parametrize("sqlstate", ["22P02", "23514", "42P01", "42501", "XX000"])
def test_what_comes_again_each_time_is_not(postgres_settings: Settings, sqlstate: str) -> None:
    with pytest.raises(DBAPIError):
        after(postgres_settings, sqlstate)


@pytest.fixture
def primary(postgres_settings: Settings) -> Iterator[Settings]:
    """Settings of a user whose connections are to the primary, until the user is demoted."""
    with opened(postgres_settings) as database:
        with database.transaction() as session:
            session.execute(text("CREATE ROLE watcher LOGIN SUPERUSER"))
        yield replace(
            postgres_settings,
            database_url=postgres_settings.database_url.replace("//postgres:", "//watcher:"),
            database_pool="keep",
            authentication=False,
        )
        with database.transaction() as session:
            session.execute(text("DROP ROLE watcher"))


def let_it_be_read_only(settings: Settings, read_only: bool) -> None:
    """From the next connection on it answers as a standby does, or no longer."""
    on = "on" if read_only else "off"
    with opened(settings) as database, database.transaction() as session:
        session.execute(text(f"ALTER ROLE watcher SET default_transaction_read_only = {on}"))


def test_what_a_standby_does_not_take_waits_for_the_primary(
    postgres_settings: Settings, primary: Settings
) -> None:
    """After a failover; and a kept connection to the standby is given up."""
    app = create_app(primary)
    database: Database = app.extensions["pinglet"].database
    recorder, message = Recorder(database), a_message(add(database))
    database.engine.dispose()
    let_it_be_read_only(postgres_settings, True)
    assert works(database)
    body = {"server": {"name": "new", "IP": IP}}
    refused = app.test_client().post("/", json=body)
    assert (refused.status_code, refused.get_json()) == (503, {"status": "SERVICE_UNAVAILABLE"})
    assert failed(recorder.answer(event_of(message))) == ["0"]
    let_it_be_read_only(postgres_settings, False)
    assert failed(recorder.answer(event_of(message))) == []
    assert app.test_client().post("/", json=body).status_code == 201
    database.engine.dispose()


def a_message(server_id: int) -> str:
    return next(iter(Results(SLOT, [ping(server_id)], []).texts()))


def cut(database: Database) -> None:
    """End every other connection to the database, as an administrator would."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with database.transaction() as session:
        session.execute(text(f"{others} AND backend_type = 'client backend'"))


@pytest.fixture
def limited(postgres_settings: Settings) -> Iterator[Settings]:
    """Settings of a user who may have one connection at a time."""
    with opened(postgres_settings) as database:
        with database.transaction() as session:
            session.execute(text("CREATE ROLE limited LOGIN CONNECTION LIMIT 1"))
            session.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO limited"))
        url = postgres_settings.database_url.replace("//postgres:", "//limited:")
        yield replace(postgres_settings, database_url=url)
        with database.transaction() as session:
            session.execute(text("DROP OWNED BY limited"))
            session.execute(text("DROP ROLE limited"))


@pytest.mark.parametrize("pool", ["keep", "none"])
def test_too_many_connections_are_waited_for(
    postgres: Postgres, limited: Settings, pool: str
) -> None:
    first, second = Database(limited), Database(replace(limited, database_pool=pool))
    before = refusals(postgres)
    with ThreadPoolExecutor(1) as threads:
        with first.reading() as session:
            session.execute(text("SELECT 1"))
            waiting = threads.submit(works, second)
            while refusals(postgres) < before + 3:
                assert not waiting.done()
        first.engine.dispose()
        assert waiting.result(250)
    second.engine.dispose()


def refusals(postgres: Postgres) -> int:
    """Return how often the server had no room; its log is the only one to know."""
    return (postgres.folder / "log").read_text().count("too many connections")


def test_too_many_connections_for_too_long_are_unavailable(limited: Settings) -> None:
    with opened(limited) as first, opened(limited, connect_timeout_s=2) as second:
        with first.reading() as session:
            session.execute(text("SELECT 1"))
            with pytest.raises(Unavailable, match="too many connections"):
                works(second)
        first.engine.dispose()
        assert works(second)


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


def test_a_socket_file_serves_as_well(postgres: Postgres) -> None:
    url = f"postgresql:///postgres?host={postgres.folder}".replace(
        ":///", f"://postgres@:{postgres.port}/"
    )
    with opened(Settings(database_url=url)) as database:
        assert works(database)


def test_a_missing_socket_file_is_unavailable(tmp_path: Path) -> None:
    assert why_not(Settings(database_url=f"postgresql:///postgres?host={tmp_path}"))


# TLS


def tls_url(postgres: Postgres, host: str = TLS_NAME, query: str = "") -> str:
    return postgres.url().replace("127.0.0.1", host) + query


def uses_tls(database: Database) -> bool:
    with database.reading() as session:
        own = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return bool(session.scalar(own))


def test_a_name_that_isnt_local_is_reached_by_verified_tls(
    encrypted: Postgres, authority: Path
) -> None:
    settings = Settings(database_url=tls_url(encrypted), database_ca=str(authority / "ca.pem"))
    with opened(settings) as database:
        assert uses_tls(database)


def test_the_ca_can_stand_in_the_url(encrypted: Postgres, authority: Path) -> None:
    query = f"?sslmode=verify-full&sslrootcert={authority}/ca.pem"
    with opened(Settings(database_url=tls_url(encrypted, query=query))) as database:
        assert uses_tls(database)


@pytest.mark.parametrize("ca", ["", "other.pem"])
def test_a_certificate_of_an_unknown_authority_is_refused(
    encrypted: Postgres, authority: Path, ca: str
) -> None:
    file = str(authority / ca) if ca else ""
    settings = Settings(database_url=tls_url(encrypted), database_ca=file)
    assert "certificate verify" in why_not(settings)


def test_a_certificate_for_another_name_is_refused(encrypted: Postgres, authority: Path) -> None:
    url = tls_url(encrypted, "127.0.0.1", "?sslmode=verify-full")
    settings = Settings(database_url=url, database_ca=str(authority / "ca.pem"))
    assert "IP address mismatch" in why_not(settings)


def test_a_server_without_tls_is_refused_where_tls_is_due(postgres: Postgres) -> None:
    for url in (tls_url(postgres), tls_url(postgres, "127.0.0.1", "?sslmode=require")):
        assert "SSL" in why_not(Settings(database_url=url))


def test_a_local_server_is_spoken_to_in_plain(encrypted: Postgres) -> None:
    for host in ("127.0.0.1", "localhost"):
        with opened(Settings(database_url=tls_url(encrypted, host))) as database:
            assert not uses_tls(database)


def test_who_asks_for_plain_gets_plain(encrypted: Postgres) -> None:
    with opened(Settings(database_url=tls_url(encrypted, query="?sslmode=disable"))) as database:
        assert not uses_tls(database)


# Settings


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+pg8000"])
def test_every_spelling_of_a_postgres_url_is_taken(postgres: Postgres, scheme: str) -> None:
    url = postgres.url().replace("postgresql:", f"{scheme}:")
    with opened(Settings(database_url=url)) as database:
        assert works(database)


@pytest.mark.parametrize(
    "url",
    [
        "pinglet.db",
        "",
        "mysql://localhost/pinglet",
        "postgresql+psycopg://localhost/pinglet",
        "postgres://localhost:port/pinglet",
        "postgres://localhost/pinglet?sslmod=require",
        "postgres://localhost/pinglet?sslmode=perhaps",
        "postgres://localhost/pinglet?sslmode=require&sslmode=disable",
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


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_authorities_that_cant_be_used_is_a_wrong_setting(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"ca\.pem"):
        Database(Settings(database_url="postgres://db.example/pinglet", database_ca=str(file)))


def test_opening_a_database_connects_to_nothing() -> None:
    Database(Settings(database_url="postgres://192.0.2.1/pinglet")).engine.dispose()
