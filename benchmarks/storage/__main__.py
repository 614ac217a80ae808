"""python -m benchmarks.storage [--servers 1000 --raw-rows 20000000 --days 365] [--write]

Prints a table for each database; `--write` keeps it in docs/benchmarks-storage.md, together with
the plan of every query on Postgres.
"""

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from benchmarks.storage import retention, world
from benchmarks.storage.world import NOW, Size
from core import days, fleet, pings, servers
from core.models import Server
from core.schema import HistoryRequest
from core.settings import Settings
from handlers import night
from infra import migrations
from infra.database import Database
from tests.postgres import Postgres

DAY = timedelta(days=1)
REPORT = Path(__file__).parent.parent.parent / "docs" / "benchmarks-storage.md"
CALLS = 15
OPTIONS = ("-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB", "-c", "checkpoint_timeout=30min")
Read = Callable[[Session, Server], object]
Row = tuple[str, str, str, str]
Readings = dict[str, tuple[Read, float | None]]
"""What is read, and how many ms it may take."""

LISTS: Readings = {
    "list with state": (lambda session, _server: fleet.standings(session, NOW), 20),
    "list with state, all columns": (lambda session, _server: servers.states(session, NOW), None),
    "GET /: all names": (lambda session, _server: servers.names(session), None),
}
READINGS: Readings = {
    "chart of 1 day, 300 points": (
        lambda session, server: pings.series(session, server, NOW - DAY, NOW, 300, NOW),
        15,
    ),
    "chart of 30 days, 300 points": (
        lambda session, server: pings.series(session, server, NOW - 30 * DAY, NOW, 300, NOW),
        30,
    ),
    "chart of 1 year, 400 points": (
        lambda session, server: pings.series(session, server, NOW - 365 * DAY, NOW, 400, NOW),
        80,
    ),
    "p95 (and all of summary) of 30 days": (
        lambda session, server: pings.summary(session, server, NOW - 30 * DAY, NOW, NOW),
        20,
    ),
    "summary of 1 year": (
        lambda session, server: pings.summary(session, server, NOW - 365 * DAY, NOW, NOW),
        None,
    ),
    "GET /?server=...: the newest 1,440": (
        lambda session, server: pings.history(session, server, HistoryRequest(server.name)),
        None,
    ),
    "1,440 pings of 200 days ago": (
        lambda session, server: pings.history(
            session, server, HistoryRequest(server.name, until=NOW - 200 * DAY)
        ),
        None,
    ),
    "fleet: 24 h of 100 servers": (
        lambda session, server: pings.fleet(session, NOW, range(server.id, server.id + 100)),
        None,
    ),
}


def timed_ms(database: Database, read: Read, server_id: int) -> float:
    """Return how long one reading takes, with its own transaction."""
    with database.reading() as session:
        server = session.get_one(Server, server_id)
        began = time.perf_counter()
        read(session, server)
        return (time.perf_counter() - began) * 1e3


def readings(
    database: Database,
    size: Size,
    cool_down: Callable[[], None],
    reads: Readings,
) -> Iterator[Row]:
    """Time readings, on servers that nobody has read yet and once more."""
    for place, (name, (read, budget_ms)) in enumerate(reads.items()):
        ids = [
            1 + (place * 31 + number * 7) % max(1, size.servers - 100) for number in range(CALLS)
        ]
        timed_ms(database, read, ids[0])  # statements are compiled once in a process's life
        cool_down()
        cold = timed_ms(database, read, ids[1])
        for server_id in ids:
            timed_ms(database, read, server_id)
        warm = [timed_ms(database, read, server_id) for server_id in ids]
        figures = f"{statistics.median(warm):.1f} ms (fastest {min(warm):.1f})"
        yield name, figures, f"{cold:.0f} ms", f"{budget_ms} ms" if budget_ms else ""


def night_work(database: Database, size: Size) -> Iterator[Row]:
    """Time packing and forgetting a whole day of every server; then removing one server."""
    day = (NOW - DAY).date()
    with database.transaction() as session:
        session.execute(text("DELETE FROM day WHERE date = :day"), {"day": _sql(database, day)})
    ids = range(1, size.servers + 1)
    began = time.perf_counter()
    longest = 0.0
    for start in range(0, size.servers, night.SERVERS_AT_ONCE):
        step = time.perf_counter()
        with database.transaction() as session:
            days.pack(session, day, ids[start : start + night.SERVERS_AT_ONCE])
        longest = max(longest, time.perf_counter() - step)
    each_ms = (time.perf_counter() - began) / size.servers * 1e3
    yield "pack one server's day", f"{each_ms:.2f} ms", f"step {longest * 1e3:.0f} ms", ""
    yield "  so 10,000 servers' day", f"{each_ms * 10:.0f} s", "", "a few minutes"
    yield from _forgetting(database, size, day)
    began = time.perf_counter()
    with database.transaction() as session:
        servers.remove(session, f"server-{size.servers // 2}")
    took = time.perf_counter() - began
    yield (
        f"remove a server ({size.slots} raw rows, {size.days} days)",
        f"{took * 1e3:.0f} ms",
        "",
        "1 s",
    )


def _forgetting(database: Database, size: Size, day: Any) -> Iterator[Row]:
    minutes = max(1, night.ROWS_AT_ONCE // size.all_servers)
    began = time.perf_counter()
    longest = rows = 0
    for low in range(0, 1_440, minutes):
        step = time.perf_counter()
        with database.transaction() as session:
            rows += days.forget_pings(session, day, low, min(1_440, low + minutes))
        longest = max(longest, time.perf_counter() - step)
    took = time.perf_counter() - began
    figure = f"{took / max(1, rows) * 1e6:.1f} us"
    yield f"remove one of {rows} packed raw rows", figure, f"step {longest * 1e3:.0f} ms", ""


def _sql(database: Database, day: Any) -> Any:
    return day.isoformat() if database.engine.dialect.name == "sqlite" else day


def plans(database: Database) -> Iterator[str]:
    """Yield the statements of every reading, each with its plan."""
    for name, (read, _budget_ms) in (LISTS | READINGS).items():
        sent: list[tuple[str, Any]] = []

        def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
            sent.append((statement, parameters))  # noqa: B023 (called before the loop goes on)

        event.listen(database.engine, "before_cursor_execute", note)
        timed_ms(database, read, 5)
        event.remove(database.engine, "before_cursor_execute", note)
        yield f"### {name}\n"
        with database.reading() as session:
            for statement, parameters in sent[1:]:
                explained = session.connection().exec_driver_sql(
                    f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, SUMMARY OFF) {statement}", parameters
                )
                lines = [line for (line,) in explained]
                yield "\n".join(["```", *[line[:160] for line in lines], "```", ""])


@contextmanager
def postgres_world() -> Iterator[tuple[Database, Callable[[], None]]]:
    """A Postgres, and a way to make it forget what it has read."""
    cluster = Postgres()
    try:
        cluster.start(*OPTIONS)
        database = Database(Settings(database_url=cluster.url(), statement_timeout_s=900))
        migrations.upgrade(database.engine)

        def cool_down() -> None:
            database.engine.dispose()
            cluster.stop()
            forget_pages(Path(cluster.data))
            cluster.start(*OPTIONS)
            with database.reading() as session:
                session.execute(text("SELECT 1"))

        yield database, cool_down
        database.engine.dispose()
    finally:
        cluster.close()


@contextmanager
def sqlite_world() -> Iterator[tuple[Database, Callable[[], None]]]:
    """An SQLite file, and a way to make it forget what it has read."""
    folder = Path(tempfile.mkdtemp(prefix="pinglet-sqlite-"))
    database = Database(Settings(database_url=f"sqlite:///{folder}/pinglet.db"))
    migrations.upgrade(database.engine)

    def cool_down() -> None:
        database.engine.dispose()
        forget_pages(folder)

    try:
        yield database, cool_down
        database.engine.dispose()
    finally:
        shutil.rmtree(folder)


def forget_pages(folder: Path) -> None:
    """Ask the kernel to drop what it holds of these files; other programs' pages stay."""
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def sizes(database: Database) -> Iterator[Row]:
    """Return how much room a server's day takes, indices and all."""
    for what, table, budget in [
        ("bytes of a server's packed day", "day", "8,000 B"),
        ("bytes of a raw row", "data", ""),
    ]:
        query = f"SELECT pg_total_relation_size('{table}')"
        if database.engine.dialect.name == "sqlite":
            query = (
                "SELECT sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) "
                f"WHERE tbl_name = '{table}'"
            )
        with database.reading() as session:
            rows = session.scalar(text(f"SELECT count(*) FROM {table}"))
            yield what, f"{session.scalar(text(query)) / rows:.0f} B", "", budget


def told(rows: Iterator[Row]) -> list[str]:
    """Print rows as they come; return them as lines of a table."""
    lines = []
    for row in rows:
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    return lines


def _of_session(read: Callable[[Session], object]) -> Read:
    return lambda session, _server: read(session)


def run(name: str, size: Size) -> tuple[list[str], list[str]]:
    """Fill one kind of database and measure; return the lines of its table, and of its plans."""
    lines = [f"## {name}", "", "| what | warm | cold, or longest | budget |", "|---|--:|--:|--:|"]
    explained: list[str] = []
    with (sqlite_world if name == "SQLite" else postgres_world)() as (database, cool_down):
        began = time.perf_counter()
        everyone = partial(pings.fleet, now=NOW, ids=range(1, size.servers + 1))
        strips: Readings = {f"fleet: 24 h of {size.servers} servers": (_of_session(everyone), None)}
        world.add_servers(database.engine, size)
        lines += told(readings(database, size, cool_down, LISTS))
        world.fill(database.engine, size)
        print(f"{name} is filled in {time.perf_counter() - began:.0f} s", flush=True)
        lines += told(sizes(database))
        lines += told(readings(database, size, cool_down, READINGS | strips))
        lines += told(night_work(database, size))
        if name == "Postgres":
            explained = list(plans(database))
    return [*lines, ""], explained


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage")
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--raw-rows", type=int, default=800_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--only", choices=["Postgres", "SQLite", "retention"])
    parser.add_argument(
        "--write", action="store_true", help=f"keep the result in docs/{REPORT.name}"
    )
    given = parser.parse_args(arguments)
    size = Size(given.servers, given.raw_rows, given.days)
    head = (
        f"{size.servers:,} servers with {size.days} packed days each; {size.raw_rows:,} raw rows "
        f"of {size.all_servers:,} servers. Python {platform.python_version()}, {os.cpu_count()} "
        f"cores, {platform.machine()}; the machine's load as it began: {os.getloadavg()[0]:.1f}."
    )
    print(head, flush=True)
    parts, explained = [], []
    for name in ("Postgres", "SQLite"):
        if given.only in (None, name):
            lines, more = run(name, size)
            parts += lines
            explained += more
    if given.only in (None, "retention"):
        parts += retention.run()
    if given.write:
        text_parts = ["# What history costs", "", head, "", world.__doc__ or "", *parts]
        text_parts += ["## Plans", ""]
        REPORT.write_text("\n".join([*text_parts, *explained]))


if __name__ == "__main__":
    main()
