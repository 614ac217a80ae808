"""The database: transactions, and what its errors mean."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pg8000
from sqlalchemy import URL, Connection, Engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.errors import Misconfigured, SchemaMismatch, Unavailable, WrongRequest
from core.models import SCHEMA_VERSION
from core.settings import Settings
from infra import migrations, patience, platform
from infra.postgres import READ_ONLY, UNKNOWN_YET, database_url, message, postgres_engine, sqlstate
from infra.sqlite import sqlite_engine

log = logging.getLogger("pinglet.database")
T = TypeVar("T")
TRANSIENT = (
    "08",  # the connection broke, or a pooler in between gave it up
    READ_ONLY,  # after a failover: this one is a standby now
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
CONNECTIONS = 10  # at once, of a process: what both pools hold
LACKS_RIGHTS = "42501"
NO_SCHEMA = "3F000"  # none of search_path is there, or none that this user may use
GRANT_ANY = "let the owner of the tables upgrade, or grant it what it needs"
GRANTS = {
    "schema": "GRANT USAGE, CREATE ON SCHEMA public TO {to}",
    "permission denied for table": "GRANT ALL ON ALL TABLES IN SCHEMA public TO {to}",
    "sequence": "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {to}",
    "permission denied for database": "GRANT CONNECT ON DATABASE ... TO {to}",
}
"""What mends a lack of rights, by words of Postgres's complaint."""
TOO_LONG = "22001"  # a name is at most 255 characters: only SQL_ASCII takes each octet for one
COLLIDED = {"40001", "40P01"}
"""Serialization failure, deadlock: nothing was done, and it may be done at once."""
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
        self._free = threading.BoundedSemaphore(CONNECTIONS)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True, waits: bool = True) -> Iterator[Session]:
        """One transaction that may write: committed at the end, rolled back by any exception.

        What is `durable` a power cut doesn't take. On SQLite that waits for the disk, so what can
        be done again or missed does without; on Postgres its `synchronous_commit` decides.
        Raises Unavailable when the database can't serve it, SchemaMismatch when its tables are old.
        What would rather stay undone than have its caller wait says so: then it is Unavailable at
        once where SQLite, which has one writer at a time, has one.
        """
        engine = self.engine.execution_options(durable=durable)
        if waits:
            with self._session(engine) as session:
                yield session
            return
        hurried = engine.execution_options(patience_s=0)
        with patience.of(patience.brief()), self._session(hurried) as session:
            yield session

    def write(self, work: Callable[[Session], T], *, durable: bool = True) -> T:
        """Do work in one transaction, and once more where it had to make way for another.

        So it must be a function of what the database holds: Postgres ends one of several that wait
        for each other. Raises as `transaction` does, and what `work` raises.
        """
        try:
            with self.transaction(durable=durable) as session:
                return work(session)
        except Unavailable as error:
            if not _made_way(error):
                raise
            log.info("a transaction made way for another one and is tried once more: %s", error)
        with self.transaction(durable=durable) as session:
            return work(session)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads, and so never waits for a writer.

        Raises as `transaction` does.
        """
        with self._session(self.engine.execution_options(reading=True)) as session:
            yield session

    def upgrade(self) -> None:
        """Bring the tables up to this release. Raises Unavailable, NewerSchema."""
        given = patience.of_job(self.settings)
        with patience.of(given), _in_our_words(self.url.username):
            # Migrations also use the driver itself, whose errors SQLAlchemy doesn't translate.
            self.engine.connect().close()
            migrations.upgrade(self.engine)

    @contextlib.contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        with _in_our_words(self.url.username), self._turn():
            self._upgrade_local_file()
            with Session(engine) as session, session.begin():
                self._check_schema(session)
                yield session

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for one of the connections; the pool's own wait is the same for everybody."""
        given = patience.current(self.settings)
        if given.is_spent:  # whoever asks for many things, one after the other, has one answer
            raise Unavailable("this request has waited for the database as long as it may")
        with given.waiting():
            is_free = self._free.acquire(timeout=min(given.left_s, self.settings.connect_timeout_s))
        if not is_free:
            raise Unavailable(f"all {CONNECTIONS} connections to the database are in use")
        try:
            yield
        finally:
            self._free.release()

    def _upgrade_local_file(self) -> None:
        # Nobody but us uses a local file, so nobody is surprised; and a new user needs no command.
        if self._schema_is_known or self.engine.dialect.name != "sqlite":
            return
        # A reader doesn't wait for a writer, nor does a process that has just begun.
        with self.engine.execution_options(reading=True).connect() as connection:
            found = schema_version(connection)
        if found is None or found < SCHEMA_VERSION:
            migrations.upgrade(self.engine)

    def _check_schema(self, session: Session) -> None:
        if self._schema_is_known:
            return
        found = schema_version(session.connection())
        if found is None:
            raise SchemaMismatch("the database has no tables yet: run `flask db upgrade`")
        if found < SCHEMA_VERSION:
            raise SchemaMismatch(
                f"the database's tables are at version {found}, but this release "
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
def _in_our_words(user: str | None) -> Iterator[None]:
    """Raise Unavailable for what the database or the way to it can't do now.

    Misconfigured says what to grant where its `user` lacks rights; WrongRequest a text that is too
    long for a database which counts octets.
    """
    try:
        yield
    except SQLAlchemyError as error:
        state = sqlstate(getattr(error, "orig", None))
        if state == LACKS_RIGHTS:
            raise Misconfigured(_what_to_grant(_cause(error), user)) from error
        if state == NO_SCHEMA:
            raise Misconfigured(_what_to_create(_cause(error), user)) from error
        if state == TOO_LONG:
            raise WrongRequest("a text is too long for this database: it counts octets") from error
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


def _made_way(error: Unavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and sqlstate(cause.orig) in COLLIDED


def _cause(error: SQLAlchemyError) -> str:
    orig = getattr(error, "orig", None) or error
    return message(orig)


def _what_to_grant(cause: str, user: str | None) -> str:
    to = _quoted(user)
    statements = (line.format(to=to) for words, line in GRANTS.items() if words in cause)
    return f"the database's user lacks rights: {cause}: {next(statements, GRANT_ANY)}"


def _what_to_create(cause: str, user: str | None) -> str:
    grant = GRANTS["schema"].format(to=_quoted(user))
    return (
        f"{cause}: the schema in search_path doesn't exist and must be created; "
        f"or, if it does exist, this user may not use it: {grant}"
    )


def _quoted(user: str | None) -> str:
    # Postgres quotes a name by doubling the quotes in it.
    doubled = (user or "postgres").replace('"', '""')
    return f'"{doubled}"'


def _engine(url: URL, settings: Settings) -> Engine:
    if url.get_backend_name() == "sqlite":
        return sqlite_engine(url, settings)
    engine = postgres_engine(url, settings)
    event.listen(engine, "connect", platform.check_postgres)
    return engine
