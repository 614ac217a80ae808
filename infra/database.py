"""The database: transactions, and what its errors mean."""

import contextlib
import logging
from collections.abc import Iterator

import pg8000
from sqlalchemy import URL, Connection, Engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.errors import SchemaMismatch, Unavailable
from core.models import SCHEMA_VERSION
from core.settings import Settings
from infra import migrations, platform
from infra.postgres import READ_ONLY, UNKNOWN_YET, database_url, postgres_engine, sqlstate
from infra.sqlite import sqlite_engine

log = logging.getLogger("pinglet.database")
TRANSIENT = (
    "08",  # the connection broke, or a pooler in between gave it up
    READ_ONLY,  # after a failover: this one is a standby now
    "28P01",  # wrong password: somebody is changing it, or must
    "3D000",  # no such database
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53",  # no room: disk, memory, connections
    "55P03",  # lock not available
    "57014",  # statement time-out
    "57P",  # shut down by an administrator, crashed, starting up, idle for too long
    "58030",  # its disk fails
)
"""SQLSTATEs, or their first letters, that say "not now".

Source: www.postgresql.org/docs/17/errcodes-appendix.html
"""
SQLITE_TRANSIENT = tuple(
    f"SQLITE_{kind}"
    for kind in ("BUSY", "LOCKED", "CANTOPEN", "CORRUPT", "FULL", "IOERR", "NOTADB", "READONLY")
)
"""SQLite: the file is taken, or somebody must see to it. Source: sqlite.org/rescode.html"""


class Database:
    """One database. Opens nothing until the first transaction."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for a URL that can't be used, PlatformError for an old SQLite."""
        self.settings = settings
        self.url = make_url(UNKNOWN_YET)
        if settings.database_secret:
            platform.check_boto3()
        else:
            self.url = database_url(settings.database_url)
        self.engine = _engine(self.url, settings)
        self._schema_is_known = False

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction that may write: committed at the end, rolled back by any exception.

        Raises Unavailable when the database can't serve it, SchemaMismatch when its tables are old.
        """
        with self._session(self.engine) as session:
            yield session

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads, and so never waits for a writer.

        Raises as `transaction` does.
        """
        with self._session(self.engine.execution_options(reading=True)) as session:
            yield session

    def upgrade(self) -> None:
        """Bring the tables up to this release. Raises Unavailable, NewerSchema."""
        with _in_our_words():
            # Migrations also use the driver itself, whose errors SQLAlchemy doesn't translate.
            self.engine.connect().close()
            migrations.upgrade(self.engine)

    @contextlib.contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        with _in_our_words():
            self._upgrade_local_file()
            with Session(engine) as session, session.begin():
                self._check_schema(session)
                yield session

    def _upgrade_local_file(self) -> None:
        # Nobody but us uses a local file, so nobody is surprised; and a new user needs no command.
        if self._schema_is_known or self.engine.dialect.name != "sqlite":
            return
        with self.engine.connect() as connection:
            found = schema_version(connection)
        if found is None or found < SCHEMA_VERSION:
            migrations.upgrade(self.engine)

    def _check_schema(self, session: Session) -> None:
        if self._schema_is_known:
            return
        found = schema_version(session.connection())
        if found is None or found < SCHEMA_VERSION:
            raise SchemaMismatch(
                f"the database's tables are at version {found or 'none'}, but this release "
                f"needs {SCHEMA_VERSION}: run `flask db upgrade`"
            )
        if found > SCHEMA_VERSION:
            log.warning(
                "the database's tables are at version %s, newer than this release's %s: "
                "fine while a deploy is under way, otherwise upgrade Pinglet",
                found,
                SCHEMA_VERSION,
            )
        self._schema_is_known = True


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Raise Unavailable for what the database or the way to it can't do now."""
    try:
        yield
    except SQLAlchemyError as error:
        if is_transient(error):
            raise Unavailable(f"the database can't serve this now: {_cause(error)}") from error
        raise
    except OSError as error:
        # pg8000 lets time-outs and resets through as they are.
        raise Unavailable(f"the database can't be reached: {error}") from error


def schema_version(connection: Connection) -> str | None:
    """Return the version of the tables, None where there are none yet."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT max(version_num) FROM alembic_version"))
    return version


def is_transient(error: SQLAlchemyError) -> bool:
    """Whether trying again later may help: the connection was lost, or the database is busy."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error.orig, OSError):
        return True
    if isinstance(error.orig, pg8000.InterfaceError):
        return True
    if sqlstate(error.orig).startswith(TRANSIENT):
        return True
    return str(getattr(error.orig, "sqlite_errorname", "")).startswith(SQLITE_TRANSIENT)


def _cause(error: SQLAlchemyError) -> str:
    orig = getattr(error, "orig", None) or error
    details = orig.args[0] if orig.args else ""
    return str(details.get("M", details) if isinstance(details, dict) else details)


def _engine(url: URL, settings: Settings) -> Engine:
    if url.get_backend_name() == "sqlite":
        return sqlite_engine(url, settings)
    engine = postgres_engine(url, settings)
    event.listen(engine, "connect", platform.check_postgres)
    return engine
