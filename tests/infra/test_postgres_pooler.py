"""A pooler between us and Postgres: pgbouncer as it is by default."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pg8000
import pytest
from sqlalchemy import text

from core.errors import Misconfigured, Unavailable
from core.settings import Settings
from handlers.http.app import create_app
from tests.infra.databases import names, opened, works
from tests.infra.rows import IP, SLOT, add, add_many, ping, record
from tests.pgbouncer import pgbouncer, through
from tests.postgres import Postgres

MODES = ["transaction", "session"]
REFUSAL = "unsupported startup parameter"


@pytest.fixture(scope="module", params=MODES)
def port(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[int]:
    """The port of a pooler in each mode."""
    with pgbouncer(postgres, request.param) as listening:
        yield listening


@pytest.fixture
def pooled(port: int, postgres_settings: Settings) -> Settings:
    """Settings for an emptied Postgres behind the pooler."""
    return through(port, replace(postgres_settings, authentication=False))


def refusals(postgres: Postgres) -> int:
    """Return how often a pooler refused a connection for its parameters."""
    return (postgres.folder / "pgbouncer.log").read_text().count(f"closing because: {REFUSAL}")


@pytest.mark.parametrize("pool", ["keep", "none"])
def test_everything_works_through_a_pooler(pooled: Settings, pool: str) -> None:
    with opened(pooled, database_pool=pool) as database:
        database.upgrade()
        ids = add_many(database, ["web", "Zürich"])
        assert record(database, SLOT, [ping(one) for one in ids]) == 2
        assert names(database) == ["web", "Zürich"]


def test_the_contract_is_answered_through_a_pooler(pooled: Settings) -> None:
    app = create_app(pooled)
    client = app.test_client()
    body = {"server": {"name": "web", "IP": IP}}
    assert [client.post("/", json=body).status_code for _time in range(2)] == [201, 409]
    assert client.get("/?server=web").status_code == 200
    app.extensions["pinglet"].database.engine.dispose()


def test_a_pooler_is_asked_once_for_what_it_refuses(postgres: Postgres, pooled: Settings) -> None:
    before = refusals(postgres)
    with opened(pooled, database_pool="none") as database:
        for _time in range(3):
            assert works(database)
    assert refusals(postgres) - before <= 1


def test_a_url_that_names_the_pooler_is_not_refused_at_all(
    postgres: Postgres, port: int, postgres_settings: Settings
) -> None:
    before = refusals(postgres)
    with opened(through(port, postgres_settings, "?pgbouncer=true")) as database:
        assert works(database)
    assert refusals(postgres) == before


def test_a_statement_that_takes_too_long_ends_behind_a_pooler_as_well(pooled: Settings) -> None:
    with opened(pooled, statement_timeout_s=0.5) as database:
        for _time in range(2):
            with pytest.raises(Unavailable, match="timeout"), database.reading() as session:
                session.execute(text("SELECT pg_sleep(60)"))
            assert works(database)


def test_our_settings_stay_with_our_transactions(postgres: Postgres, pooled: Settings) -> None:
    """A pooler lends the same connection to other programs."""
    with pgbouncer(postgres, "transaction", connections=1) as port:
        with opened(through(port, pooled), statement_timeout_s=0.5) as database:
            assert works(database)
        other = pg8000.connect("postgres", host="127.0.0.1", port=port, database="postgres")
        assert other.cursor().execute("SHOW statement_timeout").fetchone() == ["0"]
        other.close()


def waits_of_a_transaction(settings: Settings) -> int:
    """Return how often a transaction of one statement waits for the server."""
    waits = []
    with opened(settings) as database:
        assert works(database)
        with database.engine.connect() as connection:
            wire: Any = connection.connection.driver_connection
            wait = wire.handle_messages
            wire.handle_messages = lambda context: (waits.append(context), wait(context))
            connection.execute(text("SELECT 1"))
            connection.commit()
    return len(waits)


def test_a_pooler_costs_no_more_waiting(pooled: Settings, postgres_settings: Settings) -> None:
    assert waits_of_a_transaction(pooled) == waits_of_a_transaction(postgres_settings)


def test_many_share_the_few_connections_of_a_pooler(postgres: Postgres, pooled: Settings) -> None:
    with (
        pgbouncer(postgres, "transaction") as port,
        opened(through(port, pooled)) as database,
        ThreadPoolExecutor(8) as threads,
    ):
        list(threads.map(lambda number: add(database, f"web-{number}"), range(24)))
        assert len(names(database)) == 24


def test_options_hold_behind_a_pooler(pooled: Settings, port: int) -> None:
    query = "?options=-c%20lock_timeout%3D4321%20--work-mem%3D5MB&search_path=pg_catalog,public"
    with opened(through(port, pooled, query)) as database, database.reading() as session:
        shown = [session.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "work_mem")]
        assert shown == ["4321ms", "5MB"]
        assert session.scalar(text("SHOW search_path")) == "pg_catalog,public"


@pytest.mark.parametrize(
    ("user", "rest", "reason"),
    [
        ("postgres", "nobody-made-it", "does not exist"),
        ("stranger", "postgres", "authentication failed"),
        ("postgres", "postgres?sslmode=require", "SSL"),
        ("postgres", "postgres?options=-cnonsense%3D1", "unrecognized"),
        ("postgres", "postgres?options=-clock_timeout%3Dsoon", "invalid value"),
    ],
)
def test_what_is_set_wrongly_is_not_called_transient(
    port: int, user: str, rest: str, reason: str
) -> None:
    settings = Settings(database_url=f"postgres://{user}@127.0.0.1:{port}/{rest}")
    # Once: a pooler that was refused lets everybody wait for some seconds.
    with opened(settings) as wrong, pytest.raises(Misconfigured, match=reason) as refusal:
        works(wrong)
    assert "now" not in str(refusal.value).split()


def test_a_pooler_that_cant_reach_its_server_is_transient() -> None:
    elsewhere = Postgres()
    try:
        elsewhere.start()
        with pgbouncer(elsewhere, "transaction", more="query_wait_timeout = 1") as port:
            settings = through(port, Settings(database_url=elsewhere.url()))
            with opened(settings, database_pool="none") as database:
                database.upgrade()
                elsewhere.stop()
                with pytest.raises(Unavailable) as refusal:
                    works(database)
        assert not isinstance(refusal.value, Misconfigured)
    finally:
        elsewhere.close()
