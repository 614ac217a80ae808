"""What Postgres needs: its driver, TLS, passwords in secrets, its words for our functions."""

import contextlib
import json
import logging
import random
import socket
import ssl
import time
from collections.abc import Sequence
from functools import cache
from ipaddress import ip_address
from typing import Any

import pg8000
from pg8000.core import NULL_BYTE, SYNC_MSG, Context, make_params
from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from core.errors import SettingsError
from core.settings import Settings
from core.sql import epoch_minute, json_item, json_rows, time_at
from infra import aws

log = logging.getLogger("pinglet.database")

TOO_MANY_CONNECTIONS = "53300"
READ_ONLY = "25006"


LOGIN_REFUSED = {"28P01", "28000"}  # wrong password; no such user, or not from there
UNKNOWN_YET = "postgresql+pg8000://"  # where a secret says which database it is


def sqlstate(error: BaseException | None) -> str:
    """Return the SQLSTATE of an error of pg8000's; empty where it has none."""
    # pg8000 puts the server's error fields, by letter, into a dictionary: "C" is the SQLSTATE.
    details = error.args[0] if error is not None and error.args else None
    return str(details.get("C", "")) if isinstance(details, dict) else ""


def database_url(text_url: str) -> URL:
    """Read DATABASE_URL. Raises SettingsError."""
    try:
        url = make_url(text_url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise SettingsError(
            "DATABASE_URL must be a URL such as sqlite:///FILE or postgres://..."
        ) from None
    if url.drivername in ("postgres", "postgresql", "postgresql+pg8000"):
        return url.set(drivername="postgresql+pg8000")
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return url
    raise SettingsError(
        f"DATABASE_URL must begin with sqlite:// or postgres://, got {url.drivername}://"
    )


def postgres_engine(url: URL, settings: Settings) -> Engine:
    """Return an engine for Postgres; it opens nothing yet. Raises SettingsError."""
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
        if not isinstance(error, own) or sqlstate(error) == READ_ONLY:
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
            refused = sqlstate(error) in LOGIN_REFUSED
            if not (refused and known and self._settings.database_secret):
                raise
        log.warning("the database refuses the password: reading the secret again")
        self._arguments = {}
        return _connect(self._read(), self._settings)

    def _read(self) -> dict[str, Any]:
        if not self._arguments:
            url = url_in_secret(aws.read_secret(self._settings.database_secret), self._settings)
            self._arguments = _postgres_arguments(url, self._settings)
        return self._arguments


def url_in_secret(text_secret: str, settings: Settings) -> URL:
    """Read a secret: a URL, or JSON with `url`, or JSON with RDS's `username`, `password`, `host`.

    What RDS's leaves out (it does when RDS rotates it) stands in DATABASE_URL. Source:
    docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
    """
    try:
        secret = json.loads(text_secret)
    except ValueError:
        return database_url(text_secret.strip())
    if not isinstance(secret, dict):
        raise SettingsError("PINGLET_DATABASE_SECRET must hold a URL or a JSON object")
    if "url" in secret:
        return database_url(str(secret["url"]))
    known = make_url(UNKNOWN_YET)
    if settings.database_url.startswith("postgres"):
        known = database_url(settings.database_url)
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
        known = "host, sslmode and sslrootcert"
        raise SettingsError(f"DATABASE_URL may have {known} after ?, got {', '.join(query)}")
    if not isinstance(folder, str) or not isinstance(sslmode, str) or not isinstance(ca, str):
        raise SettingsError("a parameter appears twice in DATABASE_URL")
    if folder and not folder.startswith("/"):
        raise SettingsError(f"DATABASE_URL: host must be a socket's folder, got {folder!r}")
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
    known = "disable, allow, prefer, require, verify-ca or verify-full"
    raise SettingsError(f"DATABASE_URL: sslmode must be {known}, got {sslmode!r}")


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
        told = "PINGLET_DATABASE_CA must be a file of CA certificates"
        raise SettingsError(f"{told}, got {ca!r} ({error.strerror})") from None


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
            if sqlstate(error) not in (TOO_MANY_CONNECTIONS, "57P03"):
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


@compiles(json_item, "postgresql")
def _json_item_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    array, place = (compiler.process(part, **options) for part in element.clauses)
    return f"({array} ->> {place})"


@compiles(epoch_minute, "postgresql")
def _epoch_minute_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    # date_part gives a double, EXTRACT a numeric, which takes three times as long.
    moment = compiler.process(element.clauses, **options)
    return f"CAST(floor(date_part('epoch', {moment}) / 60) AS integer)"


@compiles(time_at, "postgresql")
def _time_at_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    after = compiler.process(element.clauses, **options)
    return f"(TIMESTAMPTZ 'epoch' + {after} * INTERVAL '1 microsecond')"
