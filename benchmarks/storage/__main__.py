"""python -m benchmarks.storage [--servers 1000 --raw-rows 20000000 --days 365] [--write]

Prints a table for each database and exits 1 where a budget is exceeded; `--write` keeps it all in
docs/benchmarks/storage.md and .json, and the plan of every query on Postgres beside them.
"""

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from benchmarks import record
from benchmarks.storage import report, retention, world
from benchmarks.storage.report import FOLDER, HEAD, Row, Section
from benchmarks.storage.world import NOW, Size
from core.checks.records import Ping, Probe
from core.history import figures, slices, today
from core.history import upkeep as history_upkeep
from core.history.records import HistoryRequest
from core.models import Server
from core.rounds import record as rounds_record
from core.servers import change, find
from core.settings import Settings
from core.slots import SLOT
from handlers.worker import upkeep as worker_upkeep
from infra import migrations
from infra.database import Database
from tests.postgres import Postgres, bin_dir

DAY = timedelta(days=1)
CALLS = 15
OPTIONS = ("-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB", "-c", "checkpoint_timeout=30min")
Read = Callable[[Session, Server], object]
Readings = dict[str, tuple[Read, float | None]]
"""What is read, and how many ms it may take."""

LISTS: Readings = {
    "list with state": (lambda session, _server: find.standings(session, NOW), 20),
    "GET /: all names": (lambda session, _server: find.names(session), None),
}
READINGS: Readings = {
    "chart of 1 day, 300 points": (
        lambda session, server: figures.series(session, server, NOW - DAY, NOW, 300, NOW),
        15,
    ),
    "chart of 30 days, 300 points": (
        lambda session, server: figures.series(session, server, NOW - 30 * DAY, NOW, 300, NOW),
        30,
    ),
    "chart of 1 year, 400 points": (
        lambda session, server: figures.series(session, server, NOW - 365 * DAY, NOW, 400, NOW),
        80,
    ),
    "p95 (and all of summary) of 30 days": (
        lambda session, server: figures.summary(session, server, NOW - 30 * DAY, NOW, NOW),
        20,
    ),
    "summary of 1 year": (
        lambda session, server: figures.summary(session, server, NOW - 365 * DAY, NOW, NOW),
        None,
    ),
    "GET /?server=...: the newest 1,440": (
        lambda session, server: slices.history(session, server, HistoryRequest(server.name)),
        None,
    ),
    "1,440 pings of 200 days ago": (
        lambda session, server: slices.history(
            session, server, HistoryRequest(server.name, until=NOW - 200 * DAY)
        ),
        None,
    ),
    "fleet: 24 h of 100 servers": (
        lambda session, server: today.fleet(session, NOW, range(server.id, server.id + 100)),
        None,
    ),
}

NEXT_SLOT = NOW.replace(second=0) + SLOT
WRITES: dict[str, Read] = {
    "record a batch of 100": lambda session, server: rounds_record.record(
        session, NEXT_SLOT, [_ping(server.id + number) for number in range(100)]
    ),
    "remove 10 minutes of packed raw rows": lambda session, _server: history_upkeep.forget_pings(
        session, (NOW - DAY).date(), 0, 10
    ),
    "remove a server": lambda session, server: change.remove_id(session, server.id),
}


def _ping(server_id: int) -> Ping:
    return Ping(server_id, world.ip_of(server_id), 4, 4, 12.5, 12.1, 13.0, Probe.ICMP)


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
        beside = {"fastest_ms": min(warm), "cold_ms": cold}
        yield Row(name, statistics.median(warm), "ms", budget_ms, beside)


def night_work(database: Database, size: Size, cool_down: Callable[[], None]) -> Iterator[Row]:
    """Time removing two servers; then packing and forgetting a whole day of all others."""
    day = (NOW - DAY).date()
    with database.transaction() as session:
        session.execute(text("DELETE FROM day WHERE date = :day"), {"day": _sql(database, day)})
    cool_down()
    yield _removing(database, size, 1, "cold")
    yield _removing(database, size, 2, "warm")
    ids = range(3, size.servers + 1)
    began = time.perf_counter()
    longest = 0.0
    for start in range(0, len(ids), worker_upkeep.SERVERS_AT_ONCE):
        step = time.perf_counter()
        with database.transaction() as session:
            history_upkeep.pack(session, day, ids[start : start + worker_upkeep.SERVERS_AT_ONCE])
        longest = max(longest, time.perf_counter() - step)
    each_ms = (time.perf_counter() - began) / len(ids) * 1e3
    steps = {"longest_step_ms": longest * 1e3, "so_10,000_servers_s": each_ms * 10}
    yield Row("pack one server's day", each_ms, "ms", None, steps)
    yield from _forgetting(database, size, day)


def _removing(database: Database, size: Size, server_id: int, how: str) -> Row:
    began = time.perf_counter()
    with database.transaction() as session:
        change.remove(session, f"server-{server_id}")
    took_ms = (time.perf_counter() - began) * 1e3
    what = f"remove a server ({size.slots:,} raw rows, {size.days} days), {how}"
    return Row(what, took_ms, "ms", 1_000)


def _forgetting(database: Database, size: Size, day: Any) -> Iterator[Row]:
    minutes = max(1, worker_upkeep.ROWS_AT_ONCE // size.all_servers)
    began = time.perf_counter()
    longest = rows = 0
    for low in range(0, 1_440, minutes):
        step = time.perf_counter()
        with database.transaction() as session:
            rows += history_upkeep.forget_pings(session, day, low, min(1_440, low + minutes))
        longest = max(longest, time.perf_counter() - step)
    took = time.perf_counter() - began
    steps = {"longest_step_ms": longest * 1e3}
    yield Row(
        f"remove one of {rows:,} packed raw rows", took / max(1, rows) * 1e6, "us", None, steps
    )


def _sql(database: Database, day: Any) -> Any:
    return day.isoformat() if database.engine.dialect.name == "sqlite" else day


def plans(database: Database) -> Iterator[str]:
    """Yield the statements of everything that is measured, each with its plan; nothing changes."""
    reads = {name: read for name, (read, _budget_ms) in (LISTS | READINGS).items()}
    for name, work in (reads | WRITES).items():
        sent: list[tuple[str, Any]] = []

        def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
            sent.append((statement, parameters))  # noqa: B023 (called before the loop goes on)

        with undone(database) as session:
            server = session.get_one(Server, 5)
            event.listen(database.engine, "before_cursor_execute", note)
            work(session, server)
            event.remove(database.engine, "before_cursor_execute", note)
        yield f"## {name}\n"
        with undone(database) as session:
            for statement, parameters in sent:
                yield _plan(session, statement, parameters)


@contextmanager
def undone(database: Database) -> Iterator[Session]:
    """A session whose work is taken back."""
    with Session(database.engine) as session:
        yield session
        session.rollback()


def _plan(session: Session, statement: str, parameters: Any) -> str:
    explained = session.connection().exec_driver_sql(
        f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, SUMMARY OFF) {statement}", parameters
    )
    lines = [line[:160] for (line,) in explained]
    return "\n".join(["```sql", statement, "```", "```", *lines, "```", ""])


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
    """Tell how much room things take."""
    for what, table, budget in [
        ("a server's packed day, indices and all", "day", 8_000),
        ("a raw row, indices and all", "data", None),
    ]:
        query = f"SELECT pg_total_relation_size('{table}')"
        if database.engine.dialect.name == "sqlite":
            query = (
                "SELECT sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) "
                f"WHERE tbl_name = '{table}'"
            )
        with database.reading() as session:
            rows = session.scalar(text(f"SELECT count(*) FROM {table}"))
            yield Row(what, session.scalar(text(query)) / rows, "B", budget)


def told(rows: Iterable[Row]) -> list[Row]:
    """Print rows as they come; return them."""
    found = []
    for row in rows:
        found.append(row)
        print(row.line(), flush=True)
    return found


def _of_session(read: Callable[[Session], object]) -> Read:
    return lambda session, _server: read(session)


def run(name: str, size: Size) -> tuple[Section, list[str]]:
    """Fill one kind of database and measure; return its section, and its plans."""
    explained: list[str] = []
    print(f"\n{name}\n{HEAD}", flush=True)
    with (sqlite_world if name == "SQLite" else postgres_world)() as (database, cool_down):
        began = time.perf_counter()
        everyone = partial(today.fleet, now=NOW, ids=range(1, size.servers + 1))
        strips: Readings = {f"24 h of {size.servers:,} servers": (_of_session(everyone), None)}
        lists: Readings = {
            f"{what} of {size.servers:,} servers": reading for what, reading in LISTS.items()
        }
        world.add_servers(database.engine, size)
        rows = told(readings(database, size, cool_down, lists))
        world.fill(database.engine, size)
        print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
        rows += told(sizes(database))
        rows += told(readings(database, size, cool_down, READINGS | strips))
        if name == "Postgres":
            explained = list(plans(database))
        rows += told(night_work(database, size, cool_down))
    return Section(name, rows), explained


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all; return 1 where a budget is exceeded."""
    given = _parser().parse_args(arguments)
    size = Size(given.servers, given.raw_rows, given.days, given.made_up_days)
    about = report.machine() | _databases() | {"size": _told(size)}
    print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    sections, explained = [], []
    for name in ("Postgres", "SQLite"):
        if given.only in (None, name):
            section, more = run(name, size)
            sections.append(section)
            explained += more
    if given.only in (None, "record"):
        print(f"\nrecord\n{HEAD}")
        rows = told(record.run(given.rounds))
        sections.append(Section("Recording a round, on Postgres", rows, RECORDED))
    if given.only in (None, "retention"):
        sections.append(retention.run(given.retention_servers))
    if given.write:
        report.save(given.into, about, INTRODUCTION, sections, explained)
    return int(bool(report.exceeded(sections)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage")
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--raw-rows", type=int, default=800_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--made-up-days", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of 10,000 that are recorded")
    parser.add_argument("--retention-servers", type=int, default=500)
    parser.add_argument("--only", choices=["Postgres", "SQLite", "record", "retention"])
    parser.add_argument("--write", action="store_true", help="keep the result in --into")
    parser.add_argument("--into", type=Path, default=FOLDER, help="default: docs/benchmarks")
    return parser


def _databases() -> dict[str, str]:
    program = [str(bin_dir() / "postgres"), "--version"]
    return {
        "postgres": subprocess.check_output(program, text=True).split()[2],
        "sqlite": sqlite3.sqlite_version,
    }


def _told(size: Size) -> str:
    return (
        f"{size.servers:,} servers with {size.days} packed days each; {size.raw_rows:,} raw rows "
        f"of {size.all_servers:,} servers"
    )


INTRODUCTION = (
    "Made by `python -m benchmarks.storage --write`; do not edit. Budgets are those of DESIGN: "
    "median of 15 readings, warm; *cold* is one reading with the database just started and its "
    "files dropped from the system's memory. Postgres runs with 1 GB of shared buffers and "
    "without fsync. Times are this machine's, ratios hold anywhere. The plan of every query is in "
    "[storage-plans.md](storage-plans.md).\n",
    f"{world.__doc__}\n",
)
RECORDED = (
    "Each way is measured in turn, on one table; the ratios are taken of the medians. psql's own "
    "start is measured apart and taken off."
)


if __name__ == "__main__":
    sys.exit(main())
