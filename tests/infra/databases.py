"""A database opened for a test, and what it says for itself."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection, NullPool, create_engine, event, text

from core.errors import Unavailable
from core.servers import find
from core.settings import Settings
from infra.database import Database
from tests.postgres import Postgres


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


def unseen(_label: str) -> contextlib.AbstractContextManager[None]:
    """Show nobody how far a backup is."""
    return contextlib.nullcontext()


def why_not(settings: Settings) -> str:
    """Return the reason that the database gives for not serving."""
    with opened(settings) as database, pytest.raises(Unavailable) as refusal:
        works(database)
    return str(refusal.value)


def administer(postgres: Postgres, *statements: str) -> None:
    """Run these outside any transaction, as CREATE DATABASE wants it."""
    url = postgres.url().replace("postgresql:", "postgresql+pg8000:")
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


READ_ONLY = """
CREATE FUNCTION read_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM server) THEN
        RAISE EXCEPTION 'read-only' USING ERRCODE = '25006';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER read_only BEFORE INSERT ON server FOR EACH STATEMENT EXECUTE FUNCTION read_only()
"""


@contextlib.contextmanager
def away_after_the_first(database: Database) -> Iterator[None]:
    """Within, no transaction that begins when there are servers adds any: it is read-only."""
    if database.engine.dialect.name == "sqlite":
        event.listen(database.engine, "begin", _forbid)
        yield
        event.remove(database.engine, "begin", _forbid)
        database.engine.dispose()  # a connection that was told so stays so
        return
    with database.transaction() as session:
        session.execute(text(READ_ONLY))
    yield
    with database.transaction() as session:
        session.execute(text("DROP FUNCTION read_only CASCADE"))


def _forbid(connection: Connection) -> None:
    if connection.exec_driver_sql("SELECT count(*) FROM server").scalar():
        connection.exec_driver_sql("PRAGMA query_only=1")


@contextlib.contextmanager
def no_address_twice(database: Database) -> Iterator[None]:
    """Within, the database refuses a second server of one address, which we know nothing of."""
    with database.transaction() as session:
        session.execute(text("CREATE UNIQUE INDEX no_address_twice ON server (ip)"))
    try:
        yield
    finally:
        with database.transaction() as session:
            session.execute(text("DROP INDEX no_address_twice"))


C = "LC_COLLATE 'C' LC_CTYPE 'C'"


@contextlib.contextmanager
def database_in(postgres: Postgres, encoding: str, locale: str = C) -> Iterator[str]:
    """Make a database without tables in this encoding; yield its URL."""
    made = f"CREATE DATABASE encoded ENCODING '{encoding}' TEMPLATE template0"
    administer(postgres, f"{made} {locale}")
    try:
        yield postgres.url("encoded")
    finally:
        administer(postgres, "DROP DATABASE encoded WITH (FORCE)")


@contextlib.contextmanager
def role(postgres: Postgres, name: str) -> Iterator[None]:
    """Make a role that may log in and nothing else."""
    administer(postgres, f"CREATE ROLE {name} LOGIN")
    try:
        yield
    finally:
        administer(postgres, f"DROP OWNED BY {name}", f"DROP ROLE {name}")
