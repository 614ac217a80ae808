"""Made-up histories, and what any reading of them must say: worked out slowly, slot by slot."""

import json
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Double, Executable, SmallInteger, insert, literal, select

from core import models
from core.checks.records import Ping, Probe, quantised_ms
from core.history import slices, upkeep
from core.history.records import Bucket, Counts, HistoryRequest, Summary
from core.rounds import record as rounds_record
from core.servers import change, find, schedule
from core.servers.records import ServerWanted
from core.slots import EPOCH, SLOT
from core.sql import incoming, time_at
from infra.database import Database
from tests.counts import CAMPAIGN, HISTORIES, count

F = TypeVar("F", Bucket, Summary)
IP = "192.0.2.1"
BASES_MS = (0.02, 0.4, 35.0, 97.0, 180.0, 985.0, 9_990.0)  # some walk across the grid's decades
SHARES = (0, 0.02, 0.4, 1)
THIN = (0, 0.01, 0.05)
DATES = (
    date(2026, 3, 28),  # clocks go forward in Europe on the second day
    date(2026, 10, 24),  # and back
    date(2026, 3, 7),  # forward in America
    date(2028, 2, 28),  # a leap year
    date(2026, 12, 30),  # a new year
)


def midnight(day: date) -> datetime:
    """Return when a UTC date begins."""
    return datetime.combine(day, time(), UTC)


HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIRST = midnight(DATES[0])
EARLIEST, LATEST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
steps = st.lists(
    st.tuples(st.sampled_from(["pack", "forget", "late"]), st.integers(0, 2)), max_size=8
)
common = {
    "max_examples": count(6, HISTORIES),
    "deadline": None,
    "derandomize": not CAMPAIGN,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@dataclass
class History:
    """One server's schedule and pings, kept in plain dictionaries."""

    name: str
    server_id: int = 0
    schedule: list[tuple[datetime, int, bool]] = field(default_factory=list)
    pings: dict[datetime, Ping] = field(default_factory=dict)
    left_out: set[datetime] = field(default_factory=set)
    """Slots in maintenance, which are no part of summaries."""

    def due(self, slot: datetime, now: datetime) -> bool:
        """Whether the slot was due, or was pinged all the same."""
        if slot in self.pings:
            return True
        in_force = [row for row in self.schedule if row[0] <= slot]
        if not in_force or slot + SLOT > now:
            return False
        _since, interval_s, enabled = in_force[-1]
        return enabled and slot.timestamp() % interval_s == 0

    def counts(self, slots: Sequence[datetime], now: datetime) -> Counts:
        """Count states one by one."""
        states = [
            str(self.pings[slot].state) if slot in self.pings else "unobserved"
            for slot in slots
            if self.due(slot, now)
        ]
        counted = {name: states.count(name) for name in ("up", "degraded", "down", "unobserved")}
        return Counts(**counted, due=len(states))

    def figures(self, kind: type[F], since: datetime, until: datetime, now: datetime) -> F:
        """Return what the slots of [since, until), both whole minutes, add up to."""
        every = list(slots_between(since, until))
        left_out = self.left_out if kind is Summary else set()
        slots = [slot for slot in every if slot not in left_out]
        seen = [self.pings[slot] for slot in slots if slot in self.pings]
        means = sorted(ping.response_ms for ping in seen if ping.response_ms is not None)
        hundredths = [round(ms * 100) for ms in means]
        counts = self.counts(slots, now)
        sent, received = sum(ping.sent for ping in seen), sum(ping.received for ping in seen)
        known = {
            "counts": counts,
            "uptime": (counts.up + counts.degraded) / len(seen) if seen else None,
            "coverage": len(seen) / counts.due if counts.due else None,
            "sent": sent,
            "received": received,
            "lost_share": (sent - received) / sent if sent else None,
            "best_ms": min((p.best_ms for p in seen if p.best_ms is not None), default=None),
            "worst_ms": max((p.worst_ms for p in seen if p.worst_ms is not None), default=None),
            "mean_ms": sum(hundredths) / len(means) / 100 if means else None,
            "p50_ms": nearest_rank(means, 50),
            "p95_ms": nearest_rank(means, 95),
            "p99_ms": nearest_rank(means, 99),
            "since": since,
            "until": until,
            "maintenance": sum(self.due(slot, now) for slot in every if slot in left_out),
        }
        return kind(**{name: known[name] for name in kind.__struct_fields__})

    def page(self) -> list[tuple[datetime, float | None]]:
        """Return all pings as a page holds them."""
        return [(slot, self.pings[slot].response_ms) for slot in sorted(self.pings)]


def nearest_rank(values: Sequence[float], percent: int) -> float | None:
    """Return the smallest value that at least so many percent of the sorted values don't exceed."""
    for value in values:
        if bisect_right(values, value) * 100 >= percent * len(values):
            return value
    return None


def slots_between(since: datetime, until: datetime) -> Iterator[datetime]:
    """Return the slots of [since, until), both whole minutes."""
    while since < until:
        yield since
        since += SLOT


def add(database: Database, added: datetime = FIRST, name: str = "web") -> History:
    """Add a server, due each minute."""
    with database.transaction() as session:
        made = change.add(session, ServerWanted(name=name, ip=IP), database.settings, added)
        return History(name, made, [(added, 60, True)])


def reschedule(database: Database, history: History, now: datetime, **change: Any) -> None:
    """Change a server's schedule, and the copy of it."""
    with database.transaction() as session:
        schedule.reschedule(session, {history.server_id: change}, now)
        made = schedule.schedules(session)[history.server_id][-1]
        history.schedule = [row for row in history.schedule if row[0] < now]
        history.schedule.append((now, made.interval_s, made.enabled))


def fill(database: Database, history: History, first: int, *states: int) -> None:
    """Record pings of four echoes from the day's slot `first` on, so many of which came back."""
    chance = random.Random(first)
    rows = {}
    for place, received in enumerate(states):
        ms = quantised_ms(chance.uniform(10, 200)) if received else None
        rows[FIRST + (first + place) * SLOT] = one_ping(history, ms, received)
    store(database, rows)
    history.pings |= rows


def one_ping(history: History, ms: float | None, received: int = 4) -> Ping:
    """Return a ping of four echoes, so many of which came back in `ms`."""
    return Ping(history.server_id, IP, 4, received, ms, ms, ms, Probe.ICMP)


def remove(database: Database, name: str) -> None:
    with database.transaction() as session:
        change.remove(session, name)


def a_ping(chance: random.Random, server_id: int, base_ms: float) -> Ping:
    """Make up a ping; echoes may be lost, and now and then an answer's time is unknown."""
    sent = chance.choice((1, 3, 4, 4, 4, 4, 4, 1_000))
    received = chance.choice((0, sent // 2, sent, sent, sent))
    times = [quantised_ms(base_ms * chance.uniform(0.5, 2)) for _ in range(3)]
    best, mean, worst = sorted(times) if received and chance.random() > 0.02 else (None,) * 3
    return Ping(server_id, IP, sent, received, mean, best, worst, Probe.ICMP)


def made_up(
    database: Database,
    seed: int,
    name: str = "web",
    shares: Sequence[float] = SHARES,
    dates: Sequence[date] = DATES,
) -> tuple[History, datetime]:
    """Store a server with three days of history made of `seed`; return it, and what time it is.

    It begins on one of `dates`, and of each day one of `shares` was pinged. The schedule changes a
    few times, at and between the slots' beginnings; the server is added somewhere in the first day,
    and pinged in that slot.
    """
    chance = random.Random(seed)
    first = midnight(chance.choice(dates))
    added = first + timedelta(seconds=chance.randrange(86_400))
    history = History(name)
    with database.transaction() as session:
        wanted = ServerWanted(name=name, ip=IP)
        history.server_id = change.add(session, wanted, database.settings, added)
        history.schedule.append((added, database.settings.interval_s, True))
        for moment in sorted(added + chance.random() * timedelta(days=2.5) for _ in range(3)):
            at = moment.replace(microsecond=0, second=chance.choice((0, moment.second)))
            interval_s = chance.choice((60, 60, 120, 300, 3_600, 86_400))
            enabled = chance.random() < 0.7
            said = {"interval_s": interval_s, "enabled": enabled}
            schedule.reschedule(session, {history.server_id: said}, max(at, added))
            history.schedule.append((max(at, added), interval_s, enabled))
    base_ms = chance.choice(BASES_MS)
    pinged = [chance.choice(shares) for _ in range(3)]
    now = first + timedelta(days=3, seconds=chance.randrange(7_200))
    for slot in slots_between(added.replace(second=0, microsecond=0), now):
        share = pinged[min((slot - first).days, 2)]
        if chance.random() < share or slot == added.replace(second=0, microsecond=0):
            history.pings[slot] = a_ping(chance, history.server_id, base_ms)
    store(database, history.pings)
    return history, now


def store(database: Database, rows: dict[datetime, Ping]) -> None:
    """Write pings to the table of raw rows, all in one statement."""
    values = [
        [
            ping.server_id,
            (slot - EPOCH) // timedelta(microseconds=1),
            ping.response_ms,
            ping.sent,
            ping.received,
            ping.best_ms,
            ping.worst_ms,
        ]
        for slot, ping in rows.items()
    ]
    with database.transaction() as session:
        session.execute(STORE, {"rows": json.dumps(values)})


def _store() -> Executable:
    given = incoming(
        {
            "server_id": BigInteger(),
            "datetime": BigInteger(),
            "response_time": Double(),
            "sent": SmallInteger(),
            "received": SmallInteger(),
            "best_ms": Double(),
            "worst_ms": Double(),
        }
    )
    columns = [column for column in given.c if column.name != "datetime"]
    names = [column.name for column in columns]
    rows = select(*columns, time_at(given.c.datetime), literal("icmp"))
    return insert(models.StoredPing.__table__).from_select([*names, "datetime", "probe"], rows)


# One parameter: pg8000 would search thousands of rows' placeholders for as long as a test may take.
STORE = _store()


def add_late(database: Database, history: History, chance: random.Random) -> None:
    """Record some pings of slots that were missed, and some again that weren't."""
    slots = sorted(history.pings)
    missed = [slot for slot in slots_between(slots[0], slots[-1]) if slot not in history.pings]
    for slot in chance.sample(missed, min(len(missed), 3)):
        history.pings[slot] = a_ping(chance, history.server_id, 50.0)
        record(database, slot, history.pings[slot])
    for slot in chance.sample(slots, min(len(slots), 3)):
        record(database, slot, a_ping(chance, history.server_id, 70.0), whole=history)


def record(database: Database, slot: datetime, ping: Ping, whole: History | None = None) -> None:
    """Record one ping. One that is packed already may come again: it changes nothing."""
    with database.transaction() as session:
        rounds_record.record(session, slot, [ping])
    assert whole is None or slot in whole.pings


def read_pages(database: Database, name: str, limit: int, forward: bool) -> list[Any]:
    """Follow the pages to the end; return all pings, oldest first."""
    found: list[Any] = []
    edge: datetime | None = midnight(date(2000, 1, 1)) if forward else None
    while True:
        wanted = (
            HistoryRequest(name, since=edge, limit=limit)
            if forward
            else HistoryRequest(name, until=edge, limit=limit)
        )
        with database.reading() as session:
            page = slices.history(session, find.by_name(session, name), wanted)
        found = [*found, *page.pings] if forward else [*page.pings, *found]
        edge = page.after if forward else page.before
        if edge is None:
            return found


def pack_day(database: Database, day: date, ids: Sequence[int]) -> int:
    """Pack a day in a transaction of its own."""
    with database.transaction() as session:
        return upkeep.pack(session, day, ids)


def forget_day(database: Database, day: date) -> int:
    """Remove a day's packed raw rows."""
    with database.transaction() as session:
        return upkeep.forget_pings(session, day, 0, 1_440)


Change = Callable[[], object]
