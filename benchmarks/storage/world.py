"""A database full of history: raw rows in order of time, as rounds write them, and packed days.

A day is one of a few hundred that were made slot by slot and packed by core/history/codec.py: a
random walk with exponential jitter on each of four echoes, bursts of 2 to 20 slower minutes, lost
echoes, and outages of 3 to 60 minutes. Bases lie between 0.3 and 250 ms, jitter between 2 and 30 %,
loss between 0 and 5 %. As in life, each server has raw rows of the last 2.8 days, and of those that
are over the packed day as well; so more raw rows mean more servers, of which only the first, those
that are looked at, have a long history.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, insert, text

from core import models
from core.checks.records import quantised_ms
from core.history.codec import Rows, Slots, merged
from core.history.sums import totals
from core.servers.schedule import WHOLE_DAY
from core.slots import DAY_SLOTS, SLOT

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
DAY = timedelta(days=1)
CHUNK = 500_000
RAW_SLOTS = 4_000


@dataclass(frozen=True)
class Size:
    """How much there is."""

    servers: int
    raw_rows: int
    days: int
    made_up: int = 300  # days that are made up slot by slot; the others repeat them

    @property
    def slots(self) -> int:
        """Raw rows of each server."""
        return min(RAW_SLOTS, self.raw_rows // self.servers)

    @property
    def all_servers(self) -> int:
        """The servers with a long history, and those that only have raw rows."""
        return self.raw_rows // self.slots

    @property
    def first_raw(self) -> datetime:
        """The oldest raw row's slot."""
        return NOW.replace(second=0) - (self.slots - 1) * SLOT


def made_up_day(seed: int) -> Slots:
    """Make one realistic day."""
    chance = random.Random(seed)
    base_ms, jitter = 10 ** chance.uniform(-0.5, 2.4), chance.uniform(0.02, 0.3)
    loss = chance.choice((0, 0.001, 0.002, 0.01, 0.05))
    rows = Rows([], [], [], [], [], [])
    drift, burst, outage = 1.0, 0, 0
    for minute in range(DAY_SLOTS):
        drift = min(2.0, max(0.7, drift + chance.gauss(0, 0.01)))
        burst = burst - 1 if burst else chance.randint(2, 20) * (chance.random() < 0.004)
        outage = outage - 1 if outage else chance.randint(3, 60) * (chance.random() < 0.0005)
        slower = chance.uniform(1, 4) if burst else 1
        times = [
            base_ms * drift * (1 + chance.expovariate(1 / jitter)) * slower
            for _ in range(4)
            if chance.random() >= (1 if outage else loss)
        ]
        rows.minutes.append(minute)
        rows.sent.append(4)
        rows.received.append(len(times))
        figures = (sum(times) / len(times), min(times), max(times)) if times else (None,) * 3
        for column, ms in zip((rows.mean, rows.best, rows.worst), figures, strict=True):
            column.append(-1 if ms is None else round(quantised_ms(ms) * 100))
    return merged(None, rows)


def add_servers(engine: Engine, size: Size) -> None:
    """Add the servers that will have a long history."""
    with engine.begin() as connection:
        _servers(connection, size, 1, size.servers)


def fill(engine: Engine, size: Size) -> None:
    """Fill a database that has these servers. Takes minutes where the size is large."""
    with engine.begin() as connection:
        for first in range(size.servers + 1, size.all_servers + 1, 1_000):
            _servers(connection, size, first, min(size.all_servers, first + 999))
        _pool(connection, size.made_up)
    sqlite = engine.dialect.name == "sqlite"
    rounds = max(1, CHUNK // size.all_servers)
    if sqlite:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA cache_size=-1000000")  # kB, while it is filled
    for first in range(0, size.slots, rounds):
        with engine.begin() as connection:
            end = min(size.slots, first + rounds)
            (_raw_sqlite if sqlite else _raw_postgres)(connection, size, first, end)
    for number in range(size.days):
        with engine.begin() as connection:
            _day(connection, size, number)
    if not sqlite:  # which does nothing by itself: it plans without figures at a user's as well
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            vacuum(connection)
    engine.dispose()


def vacuum(connection: Connection) -> None:
    """Do by hand, on a connection in autocommit, what Postgres does by itself after a while."""
    connection.exec_driver_sql("COMMIT")  # the pool's question whether it lives began one
    connection.exec_driver_sql("VACUUM ANALYZE")


def ip_of(number: int) -> str:
    """Return the address of the server of that id."""
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def _servers(connection: Connection, size: Size, first: int, last: int) -> None:
    added = NOW - max(size.days + 1, size.slots // DAY_SLOTS + 1) * DAY
    rows = [
        {
            "id": number,
            "name": f"server-{number}",
            "ip": ip_of(number),
            "datetime": added,
            "probe": "auto",
            "last_slot": NOW.replace(second=0),
            "last_ms": 12.5,
            "last_sent": 4,
            "last_received": 4,
        }
        for number in range(first, last + 1)
    ]
    server, schedule = models.Server.__table__, models.Schedule.__table__
    connection.execute(insert(server).returning(server.c.id), rows)
    planned = [
        {"server_id": row["id"], "since": added, "interval_s": 60, "enabled": True} for row in rows
    ]
    connection.execute(insert(schedule).returning(schedule.c.server_id), planned)


def _pool(connection: Connection, count: int) -> None:
    connection.execute(text("CREATE TABLE pool AS SELECT 0 AS number, day.* FROM day"))
    rows = []
    for number in range(count):
        made = made_up_day(number)
        row: dict[str, Any] = {"number": number, "held": made.held, "packed": made.packed}
        rows.append(row | totals(made, WHOLE_DAY)._asdict())
    names, values = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
    connection.execute(text(f"INSERT INTO pool ({names}) VALUES ({values})"), rows)


def _day(connection: Connection, size: Size, number: int) -> None:
    columns = [column.name for column in models.Day.__table__.columns][2:]
    date = (NOW - (size.days - number) * DAY).date()
    recent = number >= size.days - RAW_SLOTS // DAY_SLOTS
    connection.execute(
        text(
            f"INSERT INTO day (server_id, date, {', '.join(columns)}) SELECT server.id, :date, "
            f"{', '.join('pool.' + name for name in columns)} FROM server JOIN pool "
            "ON pool.number = mod(server.id * 7 + :day, :pool) "
            "WHERE server.id <= :last ORDER BY server.id"
        ),
        {
            "date": date.isoformat() if connection.dialect.name == "sqlite" else date,
            "day": number,
            "pool": size.made_up,
            "last": size.all_servers if recent else size.servers,
        },
    )


RAW = """
INSERT INTO data (server_id, response_time, datetime, sent, received, best_ms, worst_ms, probe)
"""


def _raw_postgres(connection: Connection, size: Size, first: int, end: int) -> None:
    connection.execute(
        text(
            RAW + "SELECT server, CASE WHEN luck < 0.002 THEN NULL ELSE round(ms::numeric, 2) END, "
            "slot, 4, CASE WHEN luck < 0.002 THEN 0 WHEN luck < 0.01 THEN 3 ELSE 4 END, "
            "CASE WHEN luck < 0.002 THEN NULL ELSE round(ms::numeric * 0.95, 2) END, "
            "CASE WHEN luck < 0.002 THEN NULL ELSE round(ms::numeric * 1.1, 2) END, 'icmp' "
            "FROM (SELECT server, slot, random() AS luck, "
            "(mod(server, 80) + 1) * (1 + random() / 5) AS ms "
            "FROM generate_series(CAST(:since AS timestamptz), CAST(:until AS timestamptz), "
            "interval '1 minute') AS slot, generate_series(1, :servers) AS server) AS made"
        ),
        {
            "since": size.first_raw + first * SLOT,
            "until": size.first_raw + (end - 1) * SLOT,
            "servers": size.all_servers,
        },
    )


def _raw_sqlite(connection: Connection, size: Size, first: int, end: int) -> None:
    chance = random.Random(first)
    rows = []
    for number in range(first, end):
        slot = (size.first_raw + number * SLOT).strftime("%Y-%m-%d %H:%M:%S.%f")
        for server in range(1, size.all_servers + 1):
            luck, ms = chance.random(), (server % 80 + 1) * (1 + chance.random() / 5)
            rounded = partial(round, ndigits=2)
            times = (None,) * 3 if luck < 0.002 else map(rounded, (ms, ms * 0.95, ms * 1.1))
            mean, best, worst = times
            received = 0 if luck < 0.002 else 3 if luck < 0.01 else 4
            rows.append((server, mean, slot, 4, received, best, worst, "icmp"))
    connection.exec_driver_sql(RAW + "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
