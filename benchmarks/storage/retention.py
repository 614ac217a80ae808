"""Which index finds old raw rows: a b-tree or a BRIN, after three cycles of retention.

A cycle is a day recorded round by round and the oldest day removed by slices, with vacuum, as
autovacuum would. Afterwards the table's pages are used again in an order of their own, which is
what decides about BRIN.
"""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from benchmarks.storage import world
from benchmarks.storage.report import HEAD, Row, Section
from core.settings import Settings
from infra import migrations
from infra.database import Database
from tests.postgres import Postgres

CYCLES = 3
TOLERATED = 2
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SLICE = timedelta(minutes=10)
INDICES = {
    "b-tree": "CREATE INDEX data_slot ON data (datetime)",
    "BRIN": "CREATE INDEX data_slot ON data USING brin (datetime) WITH (autosummarize = on)",
    "none": "",
}
ROUND = text(
    "INSERT INTO data (server_id, response_time, datetime, sent, received, best_ms, worst_ms, "
    "probe) SELECT server, 12.5, :slot, 4, 4, 12.1, 13.0, 'icmp' "
    "FROM generate_series(1, :servers) AS server"
)


def run(count: int) -> Section:
    """Measure every index with so many servers; return the figures and what follows from them."""
    print(f"\nretention\n{HEAD}", flush=True)
    found: dict[str, dict[str, Row]] = {}
    for name, create in INDICES.items():
        found[name] = {}
        for row in _measure(name, create, count):
            print(row.line(), flush=True)
            found[name][row.what.removeprefix(f"{name}: ")] = row
    rows = [row for of_index in found.values() for row in of_index.values()]
    title = f"Which index finds old raw rows ({count:,} servers, after three cycles of retention)"
    return Section(title, rows, verdict(found))


def verdict(found: dict[str, dict[str, Row]]) -> str:
    """Say whether BRIN has proved itself: it is smaller, so it wins where it is hardly slower."""
    slower = [
        f"{what} ({found['BRIN'][what].figure:.1f} ms against {tree.figure:.1f})"
        for what, tree in found["b-tree"].items()
        if tree.unit == "ms" and found["BRIN"][what].figure > max(TOLERATED * tree.figure, 1.0)
    ]
    if slower:
        return f"So it is a b-tree: BRIN is more than {TOLERATED} x slower at {', '.join(slower)}."
    return f"So BRIN has proved itself: nothing is more than {TOLERATED} x slower than by b-tree."


def _measure(name: str, create: str, count: int) -> Iterator[Row]:
    cluster = Postgres()
    try:
        cluster.start()
        database = Database(Settings(database_url=cluster.url(), statement_timeout_s=900))
        migrations.upgrade(database.engine)
        engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            _prepare(connection, create, count)
            for what, figure, unit in _figures(connection, count):
                yield Row(f"{name}: {what}", figure, unit)
        database.engine.dispose()
    finally:
        cluster.close()


def _figures(connection: Connection, count: int) -> Iterator[tuple[str, float, str]]:
    for number in range(CYCLES):
        _record(connection, FIRST + number * DAY, count)
    rounds, slices = [], []
    for number in range(CYCLES):
        rounds += _record(connection, FIRST + (number + CYCLES) * DAY, count)
        slices += _forget(connection, FIRST + number * DAY)
        world.vacuum(connection)
    size = connection.scalar(text("SELECT pg_relation_size(to_regclass('data_slot'))"))
    yield "its size", (size or 0) / 1e6, "MB"
    yield "a round recorded", statistics.median(rounds), "ms"
    yield "10 minutes removed", statistics.median(slices), "ms"
    yield "the oldest slot found", _timed(connection, "SELECT min(datetime) FROM data"), "ms"
    last = (FIRST + 2 * CYCLES * DAY - 5 * SLICE / 10).isoformat()
    recent = f"SELECT count(*) FROM data WHERE datetime >= '{last}'"
    yield "the last 5 minutes read", _timed(connection, recent), "ms"


def _prepare(connection: Connection, create: str, count: int) -> None:
    connection.execute(
        text(
            "INSERT INTO server (id, name, ip, datetime, probe) SELECT number, 's' || number, "
            "'10.0.0.1', :added, 'auto' FROM generate_series(1, :servers) AS number"
        ),
        {"added": FIRST, "servers": count},
    )
    connection.execute(text("DROP INDEX data_slot"))
    if create:
        connection.execute(text(create))


def _record(connection: Connection, day: datetime, count: int) -> list[float]:
    took = []
    for minute in range(1_440):
        began = time.perf_counter()
        connection.execute(ROUND, {"slot": day + minute * SLICE / 10, "servers": count})
        took.append((time.perf_counter() - began) * 1e3)
    return took


def _forget(connection: Connection, day: datetime) -> list[float]:
    took = []
    for number in range(144):
        began = time.perf_counter()
        connection.execute(
            text("DELETE FROM data WHERE datetime >= :low AND datetime < :high"),
            {"low": day + number * SLICE, "high": day + (number + 1) * SLICE},
        )
        took.append((time.perf_counter() - began) * 1e3)
    return took


def _timed(connection: Connection, query: str) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        connection.execute(text(query)).all()
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)
