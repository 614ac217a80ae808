"""Record a round of 10,000 pings on Postgres, against psql's \\copy of the same rows, in one run.

    python -m benchmarks.record [--rounds 15]

Prints a table and exits 1 where a budget is exceeded. Absolute times are this machine's; the ratios
are what counts. psql's own start is measured apart and taken off; fsync is off for all.
"""

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import event, insert, select, text

from benchmarks.storage.report import HEAD, Row
from core.checks.records import Ping, Probe
from core.models import Server
from core.rounds.measure import Measured
from core.settings import Settings
from handlers.worker import rounds
from infra import migrations
from infra.database import Database
from tests.postgres import Postgres

SERVERS = 10_000
BATCH = 100
BATCHES = 10
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
SLOT = timedelta(minutes=1)
WARM_UP = 2
COLUMNS = "server_id, response_time, datetime, sent, received, best_ms, worst_ms, probe"


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="how often each way is measured")
    rows = run(parser.parse_args().rounds)
    print(HEAD)
    for row in rows:
        print(row.line())
    return int(any(row.verdict == "EXCEEDED" for row in rows))


def run(rounds: int) -> list[Row]:
    """Measure each way so many times, on a Postgres of its own; return the medians."""
    cluster = Postgres()
    try:
        cluster.start()
        database = Database(Settings(database_url=cluster.url()))
        migrations.upgrade(database.engine)
        took = _measure(cluster, database, _add_servers(database), rounds)
        database.engine.dispose()
        return _rows(took)
    finally:
        cluster.close()


def _add_servers(database: Database) -> list[int]:
    addresses = [(f"server {n}", _ip(n)) for n in range(1, SERVERS + 1)]
    new = [{"name": name, "ip": ip, "added": FIRST, "probe": "auto"} for name, ip in addresses]
    with database.transaction() as session:
        session.execute(insert(Server), new)
        session.execute(text("ANALYZE server"))  # or Postgres would guess until autovacuum comes
        return list(session.scalars(select(Server.id).order_by(Server.id)))


def _ip(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250}"


def _measure(
    cluster: Postgres, database: Database, ids: Sequence[int], rounds: int
) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {}
    inserts = _clock_inserts(database)
    slot = FIRST
    # The ways take turns, so that a growing table and a busy neighbour slow all of them alike.
    for number in range(WARM_UP + rounds):
        measured = [_ping(server_id, number) for server_id in ids]
        ways: dict[str, Callable[[], object]] = {
            "start psql": partial(_psql, cluster, "SELECT 1"),
            "copy": partial(_psql, cluster, _copy_command(cluster, measured, slot)),
            "everything": partial(_record, database, slot + SLOT, measured),
            "batches": partial(_record_in_batches, database, slot + 2 * SLOT, measured),
        }
        slot += 3 * SLOT
        for name, way in ways.items():
            inserts.clear()
            took.setdefault(name, []).append(_ms(way))
            if name == "everything":
                took.setdefault("insert", []).append(inserts[0])
    return {name: times[WARM_UP:] for name, times in took.items()}


def _ms(work: Callable[[], object]) -> float:
    gc.disable()  # as timeit does: else one of many pays for the garbage of all
    try:
        began = time.perf_counter()
        work()
        return (time.perf_counter() - began) * 1000
    finally:
        gc.enable()


def _clock_inserts(database: Database) -> list[float]:
    """Return a list that gets the ms of every INSERT into data, its answer read."""
    took: list[float] = []
    began = [0.0]

    @event.listens_for(database.engine, "before_cursor_execute")
    def start(*_about: object) -> None:
        began[0] = time.perf_counter()

    @event.listens_for(database.engine, "after_cursor_execute")
    def stop(_connection: object, _cursor: object, statement: str, *_about: object) -> None:
        if "INSERT INTO data" in statement:
            took.append((time.perf_counter() - began[0]) * 1000)

    return took


def _ping(server_id: int, number: int) -> Ping:
    ms = 20 + (server_id * 37 + number) % 5000 / 100
    return Ping(server_id, _ip(server_id), 4, 4, ms, ms - 0.5, ms + 0.5, Probe.ICMP)


def _copy_command(cluster: Postgres, measured: Sequence[Ping], slot: datetime) -> str:
    lines = []
    for p in measured:
        values = (p.server_id, p.response_ms, slot.isoformat(), p.sent, p.received)
        lines.append(",".join(map(str, (*values, p.best_ms, p.worst_ms, p.probe))))
    file = cluster.write("round.csv", "\n".join(lines).encode())
    return f"\\copy data ({COLUMNS}) FROM '{file}' CSV"


def _record(database: Database, slot: datetime, measured: Sequence[Ping]) -> None:
    new = rounds.store(database, slot, Measured(measured, []), slot)
    assert new == len(measured), f"{new} of {len(measured)} rows are new"


def _record_in_batches(database: Database, slot: datetime, measured: Sequence[Ping]) -> None:
    """One after the other, as they come from the queue."""
    for first in range(0, BATCHES * BATCH, BATCH):
        _record(database, slot, measured[first : first + BATCH])


def _psql(cluster: Postgres, command: str) -> None:
    program = str(cluster.programs / "psql")
    subprocess.run(
        [program, "-qX", "-v", "ON_ERROR_STOP=1", cluster.url(), "-c", command],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _rows(took: dict[str, list[float]]) -> list[Row]:
    """Everything as multiples of \\copy, but the batch: its budget is in ms."""
    ms = {name: statistics.median(times) for name, times in took.items()}
    copy_ms = ms["copy"] - ms["start psql"]
    batches_ms = ms["batches"] / BATCHES
    return [
        Row(f"psql \\copy of {SERVERS:,} rows, psql's start off", copy_ms, "ms"),
        Row(
            f"the INSERT of {SERVERS:,} pings, with locks and conflict rule",
            ms["insert"] / copy_ms,
            "x \\copy",
            1.7,
            {"absolute_ms": ms["insert"]},
        ),
        Row(
            "everything: last_*, commit",
            ms["everything"] / copy_ms,
            "x \\copy",
            2.5,
            {"absolute_ms": ms["everything"]},
        ),
        Row(f"a batch of {BATCH}, everything, one of {BATCHES} in a row", batches_ms, "ms", 5.0),
    ]


if __name__ == "__main__":
    sys.exit(main())
