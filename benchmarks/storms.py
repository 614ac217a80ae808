"""All servers turn bad in one slot, against rounds in which nothing turns, on both databases.

    python -m benchmarks.storms [--servers 10000] [--storms 5] [--write]

Prints a table for each and exits 1 where a budget is exceeded; `--write` keeps it in
docs/benchmarks/storms.md.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, insert, select, text

from benchmarks.storage import report
from benchmarks.storage.report import FOLDER, Row, Section
from core.checks.records import Ping, Probe, Reason
from core.models import INCIDENT, Schedule, Server
from core.rounds.measure import Measured
from core.settings import Settings
from core.slots import SLOT
from handlers.worker import rounds
from infra import migrations
from infra.database import Database
from tests.postgres import Postgres

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
CALM = "nothing turns"
STORM = (
    ("all turn bad", False),
    ("all are bad for the second time: incidents open", False),
    ("all stay bad", False),
    ("all turn good", True),
    ("all are good for the second time: incidents are resolved", True),
)
CALM_ROUNDS = 3
"""Before each storm."""
BUDGET, BUDGET_MS = 2.0, 5_000
INTRODUCTION = (
    "Made by `python -m benchmarks.storms --write`; do not edit. A round is what a worker does in "
    "it, but for looking: it closes what is behind the fence, records and announces. All servers "
    "are due each minute. Absolute times are this machine's; the ratios are what counts, each of "
    "medians in one run. Postgres runs without fsync.\n"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, judge."""
    given = _parser().parse_args(arguments)
    sections = []
    for name, world in (("Postgres", _postgres), ("SQLite", _sqlite)):
        with world() as database:
            sections.append(Section(name, run(database, given.servers, given.storms)))
        print("\n".join(sections[-1].lines()), flush=True)
    if given.write:
        _save(given.into, given.servers, sections)
    return int(bool(report.exceeded(sections)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storms")
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--storms", type=int, default=5, help="how many are measured")
    parser.add_argument("--write", action="store_true", help="keep the result in --into")
    parser.add_argument("--into", type=Path, default=FOLDER, help="default: docs/benchmarks")
    return parser


@contextmanager
def _postgres() -> Iterator[Database]:
    cluster = Postgres()
    try:
        cluster.start()
        with _opened(cluster.url()) as database:
            yield database
    finally:
        cluster.close()


@contextmanager
def _sqlite() -> Iterator[Database]:
    with (
        tempfile.TemporaryDirectory(prefix="pinglet-storms-") as folder,
        _opened(f"sqlite:///{folder}/pinglet.db") as database,
    ):
        yield database


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database(Settings(database_url=url))
    migrations.upgrade(database.engine)
    yield database
    database.engine.dispose()


def run(database: Database, servers: int, storms: int) -> list[Row]:
    """Measure so many storms, and the calm before each; return the medians."""
    ids = _add_servers(database, servers)
    took: dict[str, list[float]] = {}
    slot = FIRST
    # The first one warms up. Storms are a day apart, so each opens incidents of its own.
    for number in range(1 + storms):
        slot = FIRST + timedelta(days=number)
        rounds.close(database, slot)  # the day in which nobody looked
        for what, is_good in [(CALM, True)] * CALM_ROUNDS + list(STORM):
            ms = _round_ms(database, slot, [_ping(one, is_good) for one in ids])
            if number:
                took.setdefault(what, []).append(ms)
            slot += SLOT
    each = _incidents(database) / (1 + storms)
    networks = len({_ip(one).rpartition(".")[0] for one in ids})
    told = Row("incidents of a storm, of as many networks (/24) and one", each, "", 1 + networks)
    return [*rows({what: statistics.median(times) for what, times in took.items()}), told]


def _add_servers(database: Database, servers: int) -> list[int]:
    every = [
        {"name": f"server {n}", "ip": _ip(n), "added": FIRST, "probe": "icmp"}
        for n in range(1, servers + 1)
    ]
    with database.transaction() as session:
        session.execute(insert(Server), every)
        ids = list(session.scalars(select(Server.id).order_by(Server.id)))
        due = {"since": FIRST, "interval_s": 60, "enabled": True}
        session.execute(insert(Schedule), [{"server_id": one, **due} for one in ids])
        session.execute(text("ANALYZE"))  # or Postgres would guess until autovacuum comes
    return ids


def _ip(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250}"


def _ping(server_id: int, is_good: bool) -> Ping:
    if is_good:
        return Ping(server_id, _ip(server_id), 4, 4, 12.5, 12.1, 13.0, Probe.ICMP)
    silent = Reason.TIMEOUT, "no answer"
    return Ping(server_id, _ip(server_id), 4, 0, None, None, None, Probe.ICMP, None, *silent)


def _round_ms(database: Database, slot: datetime, pings: Sequence[Ping]) -> float:
    gc.disable()  # as timeit does: else one of many pays for the garbage of all
    try:
        began = time.perf_counter()
        rounds.close(database, slot)
        rounds.store(database, slot, Measured(pings, []), slot)
        rounds.announce(database, slot)
        return (time.perf_counter() - began) * 1000
    finally:
        gc.enable()
        gc.collect()


def _incidents(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(INCIDENT)) or 0


def rows(ms: dict[str, float]) -> list[Row]:
    calm_ms = ms[CALM]
    return [
        Row(CALM, calm_ms, "ms"),
        *(
            Row(what, ms[what] / calm_ms, "x", BUDGET, {"absolute_ms": ms[what]})
            for what, _is_good in STORM
        ),
        Row("the longest of all", max(ms.values()), "ms", BUDGET_MS),
    ]


def _save(folder: Path, servers: int, sections: Sequence[Section]) -> None:
    about = report.machine() | {"servers": f"{servers:,}"}
    over = report.exceeded(sections)
    judged = sum(bool(row.verdict) for section in sections for row in section.rows)
    lines = [
        "# What storms cost\n",
        INTRODUCTION,
        "| | |\n|---|---|",
        *(f"| {name.replace('_', ' ')} | {value} |" for name, value in about.items()),
        f"\n**{judged - len(over)} of {judged} budgets are kept.**\n",
        *(line for section in sections for line in section.lines()),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "storms.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
