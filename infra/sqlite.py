"""What SQLite needs: real transactions, and its words for our functions."""

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from core.errors import PlatformError, SettingsError
from core.settings import Settings
from core.sql import epoch_minute, json_item, json_rows, time_at
from infra import platform

CACHE_KB = 24_000  # of a connection, at most


def sqlite_engine(url: URL, settings: Settings) -> Engine:
    """Return an engine for a file of SQLite's; it opens nothing yet.

    Raises SettingsError, PlatformError.
    """
    if not url.database or url.database == ":memory:":
        raise SettingsError("DATABASE_URL must name a file: sqlite:///FILE")
    engine = _engine(url, settings)
    driver: Any = engine.dialect.loaded_dbapi
    platform.check_sqlite(driver)
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = f"DATABASE_URL must name a file that can be made, got {url.database!r}"
        raise SettingsError(f"{told} ({error.strerror})") from error
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


def _engine(url: URL, settings: Settings) -> Engine:
    try:
        return create_engine(
            url,
            connect_args={"timeout": settings.statement_timeout_s},
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


@compiles(time_at, "sqlite")
def _time_at_in_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    # Times are text there, in the one form that SQLAlchemy writes.
    after = compiler.process(element.clauses, **options)
    whole = f"strftime('%Y-%m-%d %H:%M:%S.', {after} / 1000000, 'unixepoch')"
    return f"({whole} || printf('%06d', {after} % 1000000))"
