"""The database: engine, transactions, and all that Postgres and SQLite do differently."""

import contextlib
import json
import logging
import random
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pg8000
from pg8000.core import NULL_BYTE, SYNC_MSG, Context, make_params
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

from core.errors import SchemaMismatch, SettingsError, Unavailable
from core.models import SCHEMA_VERSION, epoch_minute, json_rows, time_at
from core.settings import Settings
from infra import aws, migrations

log = logging.getLogger("pinglet.database")

TOO_MANY_CONNECTIONS = "53300"
READ_ONLY = "25006"
CACHE_KB = 24_000  # of a connection, at most
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


LOGIN_REFUSED = {"28P01", "28000"}  # wrong password; no such user, or not from there
UNKNOWN_YET = "postgresql+pg8000://"  # where a secret says which database it is


class Database:
    """One database. Opens nothing until the first transaction."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for a URL that can't be used."""
        self.settings = settings
        self.url = make_url(UNKNOWN_YET)
        if not settings.database_secret:
            self.url = _database_url(settings.database_url)
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
                f"the database's tables are at version {found or 'none'}, this release needs "
                f"{SCHEMA_VERSION}: run `flask db upgrade`"
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
    if _sqlstate(error.orig).startswith(TRANSIENT):
        return True
    return str(getattr(error.orig, "sqlite_errorname", "")).startswith(SQLITE_TRANSIENT)


def _cause(error: SQLAlchemyError) -> str:
    orig = getattr(error, "orig", None) or error
    details = orig.args[0] if orig.args else ""
    return str(details.get("M", details) if isinstance(details, dict) else details)


def _sqlstate(error: BaseException | None) -> str:
    # pg8000 puts the server's error fields, by letter, into a dictionary: "C" is the SQLSTATE.
    details = error.args[0] if error is not None and error.args else None
    return str(details.get("C", "")) if isinstance(details, dict) else ""


def _database_url(text_url: str) -> URL:
    try:
        url = make_url(text_url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise SettingsError(
            "DATABASE_URL is no URL: expected sqlite:///FILE or postgres://..."
        ) from None
    if url.drivername in ("postgres", "postgresql", "postgresql+pg8000"):
        return url.set(drivername="postgresql+pg8000")
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return url
    raise SettingsError(f"DATABASE_URL is for {url.drivername}: Pinglet knows sqlite and postgres")


def _engine(url: URL, settings: Settings) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, settings)
    return _postgres_engine(url, settings)


# SQLite


def _sqlite_engine(url: URL, settings: Settings) -> Engine:
    if not url.database or url.database == ":memory:":
        raise SettingsError("DATABASE_URL needs a file: sqlite:///FILE")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"DATABASE_URL={url}: there can be no such file: {error}") from error
    engine = create_engine(
        url,
        connect_args={"timeout": settings.statement_timeout_s},
        pool_timeout=settings.connect_timeout_s,
        hide_parameters=True,  # hashes of passwords and tokens, or a traceback would show them
    )
    # INSERT ... WITH ... SELECT: Python's driver counts new rows where INSERT is the first word.
    engine.dialect.cte_follows_insert = True

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # Python's driver begins transactions late and by itself, which breaks savepoints and
        # locks; it is told not to, and `begin` below does it.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")  # with WAL: safe against a crash of ours
        # A round writes to the page of 4 kB of each server that the last one wrote to; a chart of a
        # year reads a thousand. SQLite alone would keep 500.
        connection.execute(f"PRAGMA cache_size=-{CACHE_KB}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later would fail when another one wrote in
        # between; IMMEDIATE waits for its turn instead.
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


@compiles(json_rows, "sqlite")
def _json_rows_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(epoch_minute, "sqlite")
def _epoch_minute_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(strftime('%s', {compiler.process(element.clauses, **options)}) AS INTEGER) / 60"


@compiles(time_at, "sqlite")
def _time_at_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    # Times are text there, in the one form that SQLAlchemy writes.
    after = compiler.process(element.clauses, **options)
    whole = f"strftime('%Y-%m-%d %H:%M:%S.', {after} / 1000000, 'unixepoch')"
    return f"({whole} || printf('%06d', {after} % 1000000))"


# Postgres


def _postgres_engine(url: URL, settings: Settings) -> Engine:
    login = Login(url, settings)
    pool: dict[str, Any] = {"poolclass": NullPool}
    if settings.database_pool == "keep":
        pool = {"pool_size": 1, "max_overflow": 9, "pool_pre_ping": True}
        pool["pool_timeout"] = settings.connect_timeout_s
    engine = create_engine(
        "postgresql+pg8000://",
        creator=login.connect,
        hide_parameters=True,  # as above
        **pool,
    )

    @event.listens_for(engine, "handle_error")
    def distrust(context: ExceptionContext) -> None:
        # An error that isn't the database's own (a text the driver can't encode, a reset) leaves
        # the protocol out of step: whatever comes next on that connection would be a lie. And one
        # to a standby must go, or a process that keeps its connections never finds the new primary.
        error = context.original_exception
        own = engine.dialect.loaded_dbapi.Error
        if not isinstance(error, own) or _sqlstate(error) == READ_ONLY:
            context.is_disconnect = True

    return engine


class Login:
    """Connects as the settings say, or as the secret they name; that is read at the first need."""

    def __init__(self, url: URL, settings: Settings) -> None:
        """Raises SettingsError."""
        self._settings = settings
        self._arguments: dict[str, Any] = {}
        if not settings.database_secret:
            self._arguments = _postgres_arguments(url, settings)

    def connect(self) -> "PostgresConnection":
        """Return a new connection.

        When the database refuses the password, the secret is read again, once: a password that is
        changed while containers are warm costs nobody a request. Raises pg8000.Error, OSError,
        Unavailable.
        """
        known = bool(self._arguments)
        try:
            return _connect(self._read(), self._settings)
        except pg8000.Error as error:
            refused = _sqlstate(error) in LOGIN_REFUSED
            if not (refused and known and self._settings.database_secret):
                raise
        log.warning("the database refuses the password: the secret is read again")
        self._arguments = {}
        return _connect(self._read(), self._settings)

    def _read(self) -> dict[str, Any]:
        if not self._arguments:
            url = _url_in_secret(aws.read_secret(self._settings.database_secret), self._settings)
            self._arguments = _postgres_arguments(url, self._settings)
        return self._arguments


def _url_in_secret(text_secret: str, settings: Settings) -> URL:
    """Read a secret: a URL, or JSON with `url`, or JSON with RDS's `username`, `password`, `host`.

    What RDS's leaves out (it does when RDS rotates it) stands in DATABASE_URL. Source:
    docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
    """
    try:
        secret = json.loads(text_secret)
    except ValueError:
        return _database_url(text_secret.strip())
    if not isinstance(secret, dict):
        raise SettingsError("the database's secret is neither a URL nor an object")
    if "url" in secret:
        return _database_url(str(secret["url"]))
    known = make_url(UNKNOWN_YET)
    if settings.database_url.startswith("postgres"):
        known = _database_url(settings.database_url)
    return known.set(
        username=secret.get("username", known.username),
        password=secret.get("password", known.password),
        host=secret.get("host", known.host),
        port=secret.get("port", known.port),
        database=secret.get("dbname", known.database),
    )


def _postgres_arguments(url: URL, settings: Settings) -> dict[str, Any]:
    query = dict(url.query)
    folder = query.pop("host", "")
    sslmode = query.pop("sslmode", "")
    ca = query.pop("sslrootcert", settings.database_ca)
    if query:
        raise SettingsError(f"DATABASE_URL has parameters Pinglet doesn't know: {', '.join(query)}")
    if not isinstance(folder, str) or not isinstance(sslmode, str) or not isinstance(ca, str):
        raise SettingsError("DATABASE_URL has a parameter twice")
    if folder and not folder.startswith("/"):
        raise SettingsError(f"DATABASE_URL: host={folder} is no folder that holds a socket")
    host = url.host or "localhost"
    port = url.port or 5432
    encrypted = not folder and _wants_tls(sslmode, host)
    timeout_ms = int(settings.statement_timeout_s * 1000)
    return {
        "user": url.username or "postgres",
        "password": url.password,
        "database": url.database,
        "host": host,
        "port": port,
        "unix_sock": f"{folder}/.s.PGSQL.{port}" if folder else None,
        "ssl_context": _verifying(ca) if encrypted else False,
        "application_name": "pinglet",
        "startup_params": {"statement_timeout": str(timeout_ms)},
    }


def _wants_tls(sslmode: str, host: str) -> bool:
    """Whether to encrypt; where we do we verify, so "require" is as strict as "verify-full"."""
    if sslmode in ("require", "verify-ca", "verify-full"):
        return True
    if sslmode in ("", "allow", "prefer"):
        return not _is_local(host)
    if sslmode == "disable":
        return False
    raise SettingsError(f"DATABASE_URL: Postgres knows no sslmode={sslmode}")


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _verifying(ca: str) -> ssl.SSLContext:
    # Shared: loading the system's certificates takes longer than connecting.
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise SettingsError(f"PINGLET_DATABASE_CA={ca!r} can't be read: {error}") from None


class PostgresConnection(pg8000.Connection):  # type: ignore[misc]
    """pg8000's connection with the gaps closed that SQLAlchemy falls through.

    It is pg8000.Connection, not that of pg8000.dbapi: SQLAlchemy is written for this one, which
    alone makes an IntegrityError of a taken name.
    """

    def set_timeout(self, timeout_s: float) -> None:
        """Wait for the server this long from now on."""
        self._usock.settimeout(timeout_s)

    def handle_messages(self, context: Any) -> None:
        """Read the server's answer; a time-out or reset is an error of the database's own kind.

        pg8000 lets some of them through as they are, and the pool's ping, which would replace a
        connection that was cut while it lay idle, then fails instead.
        """
        try:
            super().handle_messages(context)
        except OSError as error:
            raise pg8000.InterfaceError(f"network error: {error}") from error

    def execute_unnamed(
        self, statement: str, vals: Sequence[Any] = (), oids: Sequence[int] = (), stream: Any = None
    ) -> Context:
        """Send all that a statement needs at once, and wait for the answers once instead of thrice.

        Source: www.postgresql.org/docs/current/protocol-flow.html, "Pipelining"
        """
        context = Context(statement, stream=stream)
        parameters = make_params(self.py_types, vals)  # may be refused: before anything is sent
        self.send_PARSE(NULL_BYTE, statement, oids)
        self.send_DESCRIBE_STATEMENT(NULL_BYTE)
        self.send_BIND(NULL_BYTE, parameters)
        self.send_EXECUTE()
        try:
            self._sock.write(SYNC_MSG)
            self._sock.flush()
        except OSError as error:
            raise pg8000.InterfaceError(f"network error: {error}") from error
        self.handle_messages(context)
        return context

    def close(self) -> None:
        """Say goodbye if anybody still listens, and leave no file open."""
        file = self._sock
        with contextlib.suppress(pg8000.Error):
            super().close()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            file.close()


def _connect(arguments: dict[str, Any], settings: Settings) -> PostgresConnection:
    """Connect; while the server has no room or is starting, try again with full jitter.

    Source of the jitter: AWS Architecture Blog, "Exponential Backoff and Jitter".
    """
    give_up = time.monotonic() + settings.connect_timeout_s
    pause_s = 0.05
    while True:
        try:
            connection = _connect_once(arguments, max(0.1, give_up - time.monotonic()))
            # Ours must outlast the server's own, or it would cut off the server's answer.
            connection.set_timeout(settings.statement_timeout_s + 5)
            return connection
        except pg8000.Error as error:
            if _sqlstate(error) not in (TOO_MANY_CONNECTIONS, "57P03"):
                raise
            wait_s = random.uniform(0, pause_s)  # noqa: S311 (spreads load, hides nothing)
            if time.monotonic() + wait_s > give_up:
                raise
            time.sleep(wait_s)
            pause_s = min(2.0, pause_s * 2)


def _connect_once(arguments: dict[str, Any], timeout_s: float) -> PostgresConnection:
    if arguments["unix_sock"]:
        return PostgresConnection(**arguments, timeout=timeout_s)
    address = (arguments["host"], arguments["port"])
    sock = socket.create_connection(address, timeout=timeout_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return PostgresConnection(**arguments, sock=sock)
    except BaseException:
        sock.close()
        raise


@compiles(json_rows, "postgresql")
def _json_rows_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **options)} AS jsonb))"


@compiles(epoch_minute, "postgresql")
def _epoch_minute_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    # date_part gives a double, EXTRACT a numeric, which takes three times as long.
    moment = compiler.process(element.clauses, **options)
    return f"CAST(floor(date_part('epoch', {moment}) / 60) AS integer)"


@compiles(time_at, "postgresql")
def _time_at_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    after = compiler.process(element.clauses, **options)
    return f"(TIMESTAMPTZ 'epoch' + {after} * INTERVAL '1 microsecond')"
