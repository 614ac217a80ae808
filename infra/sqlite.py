"""What SQLite needs: real transactions, and its words for our functions."""

import contextlib
import random
import stat
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from core.errors import PlatformError, SettingsError
from core.settings import Settings
from core.sql import by_code_point, epoch_minute, json_item, json_rows, time_at, turn
from infra import patience, platform, sqlite_file

CACHE_KB = 24_000  # of a connection, at most
LOOK_S = 0.01
"""Who waits to write looks at least so often whether it is his turn."""
LONG_S = 0.03
REST_S = 3 * LOOK_S
"""After a turn that was longer than LONG_S the file is left free so long, its commit included."""


def sqlite_engine(url: URL, settings: Settings) -> Engine:
    """Return an engine for a file of SQLite's; it opens nothing yet.

    Raises SettingsError, PlatformError.
    """
    if not url.database or url.database == ":memory:":
        raise SettingsError("DATABASE_URL must name a file: sqlite:///FILE")
    if url.query or url.database.startswith("file:"):
        raise SettingsError(f"DATABASE_URL must be sqlite:///FILE and nothing more, got {url}")
    engine = _engine(url, settings)
    driver: Any = engine.dialect.loaded_dbapi
    platform.check_sqlite(driver)
    file = _file(url.database)
    # INSERT ... WITH ... SELECT: Python's driver counts new rows where INSERT is the first word.
    engine.dialect.cte_follows_insert = True
    sqlite_file.guard(engine, file)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # Python's driver begins transactions late and by itself, which breaks savepoints and
        # locks; it is told not to, and `begin` below does it.
        connection.isolation_level = None
        given = patience.current(settings)
        connection.execute(_busy_timeout(given))
        with given.waiting():  # whoever has the file to themselves keeps even this waiting
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA fullfsync=ON")  # macOS: past the disk's own cache, too
        # A round writes to the page of 4 kB of each server that the last one wrote to; a chart of a
        # year reads a thousand. SQLite alone would keep 500.
        connection.execute(f"PRAGMA cache_size=-{CACHE_KB}")

    turns = Turns()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later would fail when another one wrote in
        # between; IMMEDIATE waits for its turn instead.
        options = connection.get_execution_options()
        given = patience.current(settings)
        driver: Any = connection.connection.driver_connection
        driver.execute(_busy_timeout(given))
        with given.waiting():
            if options.get("reading", False):
                connection.exec_driver_sql("BEGIN")
            else:
                # With WAL both are safe against a crash of ours. FULL waits for the disk at each
                # commit, so that not even a power cut takes what was acknowledged.
                word = "FULL" if options.get("durable", True) else "NORMAL"
                connection.exec_driver_sql(f"PRAGMA synchronous={word}")
                turns.take(connection, options.get("patience_s", given.left_s))

    event.listen(engine, "commit", turns.end)
    event.listen(engine, "rollback", turns.end)
    return engine


def _file(name: str) -> Path:
    """Return the file of that name, there or not yet, in a folder that is. Raises SettingsError."""
    is_other = False
    try:
        file = Path(name).absolute()
        sqlite_file.make_folder(file.parent)
        sqlite_file.check_length(file)
        with contextlib.suppress(FileNotFoundError):
            is_other = not stat.S_ISREG(file.stat().st_mode)
    except OSError as error:
        told = f"DATABASE_URL must name a file that can be made, got {name!r}"
        raise SettingsError(f"{told} ({error.strerror})") from error
    if is_other:
        raise SettingsError(f"DATABASE_URL must name a file, got {name!r}, which is none")
    return file


def _busy_timeout(given: patience.Patience) -> str:
    return f"PRAGMA busy_timeout={int(given.left_s * 1000)}"


class Turns:
    """How this process takes turns with those who write to the same file.

    SQLite has no queue of those who wait: each looks again, by itself every 100 ms, and between two
    of the many short transactions of a long job nobody would ever find the file free. So who waits
    looks more often, and after a long turn this process leaves the file free for a moment.
    """

    def __init__(self) -> None:
        self._began_s = 0.0
        self._rests_until_s = 0.0

    def take(self, connection: Connection, patience_s: float) -> None:
        """Begin to write as soon as nobody else does."""
        driver: Any = connection.connection.driver_connection
        (usual_ms,) = driver.execute("PRAGMA busy_timeout").fetchone()
        give_up_s = time.monotonic() + patience_s
        time.sleep(min(patience_s, max(0.0, self._rests_until_s - time.monotonic())))
        driver.execute("PRAGMA busy_timeout=0")
        try:
            while _is_taken(connection, driver) and time.monotonic() < give_up_s:
                time.sleep(random.uniform(0.001, LOOK_S))  # noqa: S311 (spreads load)
            if not driver.in_transaction:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails, in SQLAlchemy's words
        finally:
            driver.execute(f"PRAGMA busy_timeout={usual_ms}")
        self._began_s = time.monotonic()

    def end(self, connection: Connection) -> None:
        """Rest, if the turn was long."""
        now_s = time.monotonic()
        is_reading = connection.get_execution_options().get("reading", False)
        if not is_reading and now_s - self._began_s > LONG_S:
            self._rests_until_s = now_s + REST_S


def _is_taken(connection: Connection, driver: Any) -> bool:
    """Begin to write; return whether somebody else does."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except connection.dialect.loaded_dbapi.OperationalError as error:
        return str(error.sqlite_errorname).startswith("SQLITE_BUSY")
    return False


def _engine(url: URL, settings: Settings) -> Engine:
    try:
        return create_engine(
            url,
            pool_size=5,
            max_overflow=5,
            pool_timeout=settings.connect_timeout_s,
            hide_parameters=True,  # hashes of passwords and tokens, or a traceback would show them
        )
    except ModuleNotFoundError as error:
        raise PlatformError(f"Python must be built with SQLite, got none ({error})") from error


@compiles(json_rows, "sqlite")
def _json_rows_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(json_item, "sqlite")
def _json_item_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    # ->> came with SQLite 3.38.
    array, place = (compiler.process(part, **options) for part in element.clauses)
    return f"json_extract({array}, '$[{place}]')"


@compiles(epoch_minute, "sqlite")
def _epoch_minute_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(strftime('%s', {compiler.process(element.clauses, **options)}) AS INTEGER) / 60"


@compiles(by_code_point, "sqlite")
def _by_code_point_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)} COLLATE BINARY)"


@compiles(time_at, "sqlite")
def _time_at_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    # Times are text there, in the one form that SQLAlchemy writes.
    after = compiler.process(element.clauses, **options)
    whole = f"strftime('%Y-%m-%d %H:%M:%S.', {after} / 1000000, 'unixepoch')"
    return f"({whole} || printf('%06d', {after} % 1000000))"


@compiles(turn, "sqlite")
def _turn_in_sqlite(_element: Any, _compiler: SQLCompiler, **_options: Any) -> str:
    return "0"  # BEGIN IMMEDIATE took it
