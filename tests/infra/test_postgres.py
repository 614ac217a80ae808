"""Postgres: away, full, slow, encrypted, and what its driver leaves to us."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.errors import SettingsError, Unavailable
from core.rounds.messages import Results
from core.servers import change
from core.servers.records import ServerWanted
from core.settings import Settings
from handlers.functions.record import Recorder
from handlers.http.app import create_app
from infra import patience
from infra.database import Database
from tests.cloud import event_of, failed
from tests.infra.conftest import TLS_NAME
from tests.infra.databases import names, opened, why_not, works
from tests.infra.rows import IP, SLOT, add, add_many, ping, record
from tests.postgres import Postgres, free_port


def test_a_refused_connection_is_unavailable_and_says_so() -> None:
    url = f"postgres://postgres@127.0.0.1:{free_port()}/postgres"
    assert "refused" in why_not(Settings(database_url=url))


def test_a_listener_that_never_speaks_is_given_up_in_the_time_to_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://postgres@127.0.0.1:{silent.getsockname()[1]}/postgres"
        settings = Settings(database_url=url, connect_timeout_s=0.2, statement_timeout_s=250)
        assert "timed out" in why_not(settings)


def test_a_database_that_is_starting_up_is_waited_for(cluster: Postgres) -> None:
    cluster.stop()
    let_in = cluster.begin_to_start()
    settings = Settings(database_url=cluster.url(), connect_timeout_s=250)
    with opened(settings) as database, ThreadPoolExecutor(1) as one:
        waiting = one.submit(works, database)
        cluster.await_refusals(3)
        assert not waiting.done()
        let_in()
        assert waiting.result(250)


def test_a_database_that_goes_on_starting_up_is_given_up_in_the_time_to_connect(
    cluster: Postgres,
) -> None:
    cluster.stop()
    cluster.begin_to_start()
    assert "the database system is" in why_not(
        Settings(database_url=cluster.url(), connect_timeout_s=0.5)
    )


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


def test_a_request_waits_for_a_free_connection_longer_than_for_what_hangs(
    postgres: Postgres, limited: Settings
) -> None:
    first, second = Database(limited), Database(replace(limited, request_timeout_s=0.1))
    before = refusals(postgres)

    def request() -> bool:
        with patience.of(patience.of_request(second.settings)):
            return works(second)

    with ThreadPoolExecutor(1) as threads:
        with first.reading() as session:
            session.execute(text("SELECT 1"))
            waiting = threads.submit(request)
            while refusals(postgres) < before + 10:
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


def test_a_socket_file_serves_as_well(postgres: Postgres) -> None:
    url = f"postgresql:///postgres?host={postgres.folder}".replace(
        ":///", f"://postgres@:{postgres.port}/"
    )
    with opened(Settings(database_url=url)) as database:
        assert works(database)


def test_a_missing_socket_file_is_unavailable(tmp_path: Path) -> None:
    assert why_not(Settings(database_url=f"postgresql:///postgres?host={tmp_path}"))


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


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+pg8000"])
def test_every_spelling_of_a_postgres_url_is_taken(postgres: Postgres, scheme: str) -> None:
    url = postgres.url().replace("postgresql:", f"{scheme}:")
    with opened(Settings(database_url=url)) as database:
        assert works(database)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_authorities_that_cant_be_used_is_a_wrong_setting(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"ca\.pem"):
        Database(Settings(database_url="postgres://db.example/pinglet", database_ca=str(file)))
