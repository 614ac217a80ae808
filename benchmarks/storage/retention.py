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
from core.settings import Settings
from infra import migrations
from infra.database import Database
from tests.postgres import Postgres

SERVERS = 500
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


def run() -> list[str]:
    """Measure both; return the lines of a table."""
    lines = [f"## Which index finds old rows ({SERVERS} servers, three cycles)", ""]
    lines += ["| index | its size | a round | a slice removed | oldest slot | last 5 minutes |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    for name, create in INDICES.items():
        lines.append("| " + " | ".join([name, *_measure(create)]) + " |")
        print(lines[-1], flush=True)
    return [*lines, ""]


def _measure(create: str) -> Iterator[str]:
    cluster = Postgres()
    try:
        cluster.start()
        database = Database(Settings(database_url=cluster.url(), statement_timeout_s=900))
        migrations.upgrade(database.engine)
        engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            _prepare(connection, create)
            for number in range(3):
                _record(connection, FIRST + number * DAY)
            rounds, slices = [], []
            for number in range(3):
                rounds += _record(connection, FIRST + (number + 3) * DAY)
                slices += _forget(connection, FIRST + number * DAY)
                world.vacuum(connection)
            size = connection.scalar(text("SELECT pg_relation_size(to_regclass('data_slot'))"))
            yield f"{(size or 0) / 1e6:.2f} MB"
            yield f"{statistics.median(rounds):.1f} ms"
            yield f"{statistics.median(slices):.1f} ms"
            yield f"{_timed(connection, 'SELECT min(datetime) FROM data'):.1f} ms"
            last = "SELECT count(*) FROM data WHERE datetime >= '2026-01-06 23:55:00+00'"
            yield f"{_timed(connection, last):.1f} ms"
        database.engine.dispose()
    finally:
        cluster.close()


def _prepare(connection: Connection, create: str) -> None:
    connection.execute(
        text(
            "INSERT INTO server (id, name, ip, datetime, probe) SELECT number, 's' || number, "
            "'10.0.0.1', :added, 'auto' FROM generate_series(1, :servers) AS number"
        ),
        {"added": FIRST, "servers": SERVERS},
    )
    connection.execute(text("DROP INDEX data_slot"))
    if create:
        connection.execute(text(create))


def _record(connection: Connection, day: datetime) -> list[float]:
    took = []
    for minute in range(1_440):
        began = time.perf_counter()
        connection.execute(ROUND, {"slot": day + minute * SLICE / 10, "servers": SERVERS})
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
