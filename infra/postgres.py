"""What Postgres needs: its driver, TLS, passwords in secrets, its words for our functions."""

import contextlib
import json
import logging
import random
import ssl
import time
from collections.abc import Mapping, Sequence
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

from core.errors import Misconfigured, SettingsError
from core.settings import Settings
from core.sql import by_code_point, epoch_minute, json_item, json_rows, time_at, turn
from infra import aws, libpq, patience, sockets

log = logging.getLogger("pinglet.database")

NO_ROOM_YET = ("53300", "57P03")  # too many connections; it is starting or stopping
READ_ONLY = "25006"


OF_POOLERS = ("08", "0A")  # what a pooler in between says: protocol violated, not supported
WRONG = ("0A", "22", "28", "3D", "3F", "42")
"""How SQLSTATEs begin by which a server refuses a connection that it will never take as it is."""
POOLER_REFUSES = (
    *("unsupported startup parameter", "no such database", "no such user", "does not exist"),
    *("not allowed", "authentication failed", "permission denied", "login rejected"),
    *("SSL required", "bouncer config error"),
)
"""A pooler has one SQLSTATE for everything, 08P01; these of its words tell what comes again."""

LOGIN_REFUSED = {"28P01", "28000"}  # wrong password; no such user, or not from there
REFUSED = "the database refuses what its URL says"
UNKNOWN_YET = "postgresql+pg8000://"  # where a secret says which database it is


def sqlstate(error: BaseException | None) -> str:
    """Return the SQLSTATE of an error of pg8000's; empty where it has none."""
    # pg8000 puts the server's error fields, by letter, into a dictionary: "C" is the SQLSTATE.
    details = error.args[0] if error is not None and error.args else None
    return str(details.get("C", "")) if isinstance(details, dict) else ""


def message(error: BaseException) -> str:
    """Return what an error of the driver's says."""
    details = error.args[0] if error.args else ""
    return str(details.get("M", details) if isinstance(details, dict) else details)


def _is_wrong(error: BaseException) -> bool:
    """Whether a connection was refused for what somebody has to change."""
    said = message(error)
    if isinstance(error, ssl.SSLCertVerificationError) or said == "Server refuses SSL":
        return True
    return sqlstate(error).startswith(WRONG) or any(words in said for words in POOLER_REFUSES)


def database_url(text_url: str) -> URL:
    """Read DATABASE_URL. Raises SettingsError."""
    try:
        url = make_url(libpq.with_first_host(text_url.strip()))
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

    @event.listens_for(engine, "checkin")
    def rest(connection: PostgresConnection | None, _record: object) -> None:
        if connection is not None:
            connection.rests = True

    @event.listens_for(engine, "checkout")
    def wake(connection: PostgresConnection, _record: object, _proxy: object) -> None:
        connection.rests = False

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
        Unavailable, Misconfigured for what trying again won't mend.
        """
        try:
            return self._connected()
        except (pg8000.Error, ssl.SSLCertVerificationError) as error:
            if not _is_wrong(error):
                raise
            told = message(error) if isinstance(error, pg8000.Error) else str(error)
            raise Misconfigured(f"{REFUSED}: {told}") from error

    def _connected(self) -> "PostgresConnection":
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
            given = patience.current(self._settings)
            with given.waiting():
                secret = aws.read_secret(self._settings.database_secret, given.left_s)
            url = url_in_secret(secret, self._settings)
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
        return database_url(text_secret)
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
    said = libpq.words(url)
    url = libpq.with_places(url, said)
    folder, host = _folder_and_host(url, said.get("host", ""))
    port = url.port or 5432
    encrypted = not folder and _wants_tls(said.get("sslmode", ""), host)
    timeout_ms = int(settings.statement_timeout_s * 1000)
    # UTF8: a database in SQL_ASCII takes whatever comes, and tells it as it came.
    startup = {"client_encoding": "UTF8", "statement_timeout": str(timeout_ms)}
    if "search_path" in said:
        startup["search_path"] = said["search_path"]
    startup = libpq.options(said.get("options", "")) | startup
    pooled = said.get("pgbouncer", "").lower() in libpq.TRUE
    return {
        "user": url.username or "postgres",
        "password": url.password,
        "database": url.database,
        "host": host,
        "address": said.get("hostaddr") or host,
        "port": port,
        "unix_sock": f"{folder}/.s.PGSQL.{port}" if folder else None,
        "ssl_context": _ssl_context(said, settings) if encrypted else False,
        "application_name": said.get("application_name", "pinglet"),
        "startup_params": {} if pooled else startup,
        "in_transactions": startup if pooled else {},
        "connect_timeout_s": libpq.connect_timeout_s(said, settings.connect_timeout_s),
    }


def _folder_and_host(url: URL, said: str) -> tuple[str, str]:
    """Where a Unix socket is, or a name or address, as the URL or its word `host` has it."""
    if said.startswith("/"):
        return said, "localhost"
    if said and url.host not in (None, said):
        told = "host must be a socket's folder where a host stands already"
        raise SettingsError(f"DATABASE_URL: {told}, got {said!r}")
    return "", libpq.first(url.host or said) or "localhost"


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


def _ssl_context(said: Mapping[str, str], settings: Settings) -> ssl.SSLContext:
    ca = said.get("sslrootcert", settings.database_ca)
    own = said.get("sslcert", ""), said.get("sslkey"), said.get("sslpassword")
    return _verifying("" if ca == "system" else ca, *own)


@cache
def _verifying(ca: str, own: str, key: str | None, password: str | None) -> ssl.SSLContext:
    # Shared: loading the system's certificates takes longer than connecting.
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        told = "sslrootcert or PINGLET_DATABASE_CA must be a file of CA certificates"
        raise SettingsError(f"{told}, got {ca!r} ({error.strerror})") from None
    try:
        if own:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(own, key, password or "")
    except OSError as error:
        told = "DATABASE_URL: sslcert and sslkey must be files of a certificate and its key"
        raise SettingsError(f"{told}, got {own!r} ({error.strerror})") from None
    return context


class PostgresConnection(pg8000.Connection):  # type: ignore[misc]  # it has no types
    """pg8000's connection with the gaps closed that SQLAlchemy falls through.

    It is pg8000.Connection, not that of pg8000.dbapi: SQLAlchemy is written for this one, which
    alone makes an IntegrityError of a taken name.
    """

    def __init__(
        self, in_transactions: Mapping[str, str], settings: Settings, **arguments: Any
    ) -> None:
        """Connect. Every transaction begins with the settings `in_transactions`."""
        self._begin = _beginning(in_transactions)
        self._settings = settings
        self.rests = False  # in the pool: what answers nothing then costs a look only
        super().__init__(**arguments)

    def _set_timeout(self) -> None:
        left_s = patience.current(self._settings).left_s
        wait_s = min(left_s, PING_S) if self.rests else left_s
        self._usock.settimeout(patience.and_a_little(wait_s))

    def execute_simple(self, statement: str) -> Context:
        """Send a statement without parameters; with a transaction's beginning its settings."""
        if statement != BEGIN:
            return super().execute_simple(statement)
        # The server ends a statement a little before we would give up the connection.
        timeout_ms = int(patience.current(self._settings).left_s * 1000)
        try:
            return super().execute_simple(
                f"{self._begin}; SET LOCAL statement_timeout = {timeout_ms}"
            )
        except pg8000.Error as error:
            if sqlstate(error).startswith(WRONG):
                raise Misconfigured(f"{REFUSED}: {message(error)}") from error
            raise

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Context) -> None:
        """Show a password if one is asked for and there is one; pg8000 fails at some of them."""
        if self.password is None and data[:4] != AUTHENTICATED:
            raise Misconfigured("the database asks for a password, and DATABASE_URL has none")
        super().handle_AUTHENTICATION_REQUEST(data, context)

    def _send_message(self, code: bytes, data: bytes) -> None:
        # Whatever is said begins here; a peer that takes nothing is waited for no longer either.
        self._set_timeout()
        try:
            super()._send_message(code, data)
        except OSError as error:
            raise pg8000.InterfaceError(f"network error: {error}") from error

    def handle_messages(self, context: Any) -> None:
        """Read the server's answer; a time-out or reset is an error of the database's own kind.

        pg8000 lets some of them through as they are, and the pool's ping, which would replace a
        connection that was cut while it lay idle, then fails instead.
        """
        self._set_timeout()
        try:
            with patience.current(self._settings).waiting():
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
        with contextlib.suppress(OSError, AttributeError):
            self._usock.settimeout(patience.LEAST_S)
        with contextlib.suppress(pg8000.Error, OSError):
            super().close()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            file.close()


BEGIN = "begin transaction"  # as the driver says it
PING_S = 1.0  # for a connection that lay idle to show that it lives; else there is time for another
AUTHENTICATED = b"\0\0\0\0"


def _beginning(settings: Mapping[str, str]) -> str:
    """What begins a transaction in which these settings hold: all of it is sent at once."""
    if not settings:
        return BEGIN
    literals = [[part.replace("'", "''") for part in item] for item in settings.items()]
    told = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in literals)
    return f"{BEGIN}; SELECT {told}"


def _connect(arguments: dict[str, Any], settings: Settings) -> PostgresConnection:
    """Connect; while the server has no room or is starting, try again with full jitter.

    What a pooler doesn't take at the start, each transaction begins with from now on: a pooler
    lends the same connection to others, who would else find our settings there.

    Source of the jitter: AWS Architecture Blog, "Exponential Backoff and Jitter".
    """
    given = patience.current(settings)
    most_s = arguments["connect_timeout_s"]
    give_up = time.monotonic() + min(most_s, given.room_s)
    pause_s = 0.05
    while True:
        began = time.monotonic()
        try:
            sent = arguments | {name: dict(arguments[name]) for name in SHIFTED}
            connection = _connect_once(sent, settings, min(most_s, given.left_s))
            _refuse_encoding(connection)
            return connection
        except pg8000.Error as error:
            if _is_put_off(arguments, sent["startup_params"], error):
                continue
            if sqlstate(error) not in NO_ROOM_YET:
                raise
            wait_s = random.uniform(0, pause_s)  # noqa: S311 (spreads load, hides nothing)
            if time.monotonic() + wait_s > give_up:
                raise
            time.sleep(wait_s)
            pause_s = min(2.0, pause_s * 2)
            given.spend_room(time.monotonic() - began)
            began = time.monotonic()  # it answered: nothing hangs
        finally:
            given.spend(time.monotonic() - began)


OF_OURS = ("address", "connect_timeout_s")  # what the driver isn't told
# Read in this order, and written in the other one: a setting that another thread puts off at this
# moment is found in one of them.
SHIFTED = ("startup_params", "in_transactions")


def _is_put_off(arguments: dict[str, Any], sent: Mapping[str, str], error: pg8000.Error) -> bool:
    """Whether the refusal names a start-up parameter that was sent; it then waits for BEGIN."""
    said = message(error)
    if not sqlstate(error).startswith(OF_POOLERS) or "parameter" not in said:
        return False
    refused = [name for name in sent if name in said]
    for name in refused:
        arguments["in_transactions"][name] = sent[name]
        arguments["startup_params"].pop(name, None)
    return bool(refused)


def _refuse_encoding(connection: PostgresConnection) -> None:
    encoding = connection.parameter_statuses.get("server_encoding", "UTF8")
    if encoding not in ("UTF8", "SQL_ASCII"):
        connection.close()
        raise Misconfigured(
            f"the database must be encoded in UTF8, got {encoding}: "
            "make one by CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def _connect_once(
    arguments: dict[str, Any], settings: Settings, timeout_s: float
) -> PostgresConnection:
    given = {name: value for name, value in arguments.items() if name not in OF_OURS}
    given["settings"] = settings
    if arguments["unix_sock"]:
        return PostgresConnection(**given, timeout=timeout_s)
    sock = sockets.connect(arguments["address"], arguments["port"], timeout_s)
    try:
        return PostgresConnection(**given, sock=sock)
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


@compiles(by_code_point, "postgresql")
def _by_code_point_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f'({compiler.process(element.clauses, **options)} COLLATE "C")'


@compiles(time_at, "postgresql")
def _time_at_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    after = compiler.process(element.clauses, **options)
    return f"(TIMESTAMPTZ 'epoch' + {after} * INTERVAL '1 microsecond')"


@compiles(turn, "postgresql")
def _turn_in_postgres(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"pg_advisory_xact_lock({compiler.process(element.clauses, **options)})"
