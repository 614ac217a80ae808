"""What a monitoring system may want to know of all servers at once.

There is no memory but the tables, so nothing here is a counter: it is all said of the newest ping
or of the last quarter of an hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import ColumnElement, Double, Subquery, case, func, literal, select
from sqlalchemy.orm import Session

from core import models
from core.models import DATA
from core.servers import find, schedule
from core.servers.records import Standing
from core.servers.schedule import Planned, due_from, spans
from core.slots import EPOCH, current_slot, slot_time

LATELY_SLOTS = 15
# The databases don't agree where NULL sorts.
MS = DATA.c.response_time
LAST_WITHOUT_TIME = case((MS.is_(None), literal(1e12, Double())), else_=MS)


@dataclass(frozen=True, slots=True)
class Lately:
    """A server's last LATELY_SLOTS slots; percentiles are nearest ranks of the slots' means."""

    server_id: int
    observed: int
    answered: int
    sent: int
    received: int
    p50_ms: float | None
    p90_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True)
class Gauge:
    """One server: how it stands, what it did lately (None: no ping), how many slots were due."""

    server: Standing
    lately: Lately | None
    due: int

    @property
    def coverage(self) -> float | None:
        """Observed / due, 0 to 1; None where nothing was due."""
        observed = self.lately.observed if self.lately else 0
        due = max(self.due, observed)  # a slot that was pinged without being due counts as due
        return observed / due if due else None

    @property
    def uptime(self) -> float | None:
        """Answered / observed, 0 to 1; None where nothing was observed."""
        return self.lately.answered / self.lately.observed if self.lately else None


def gauges(session: Session, now: datetime) -> list[Gauge]:
    """Return every server, in order of creation. Four statements."""
    current = current_slot(now)
    first = current - LATELY_SLOTS
    lately = _lately(session, first, current)
    schedules = schedule.schedules(session)
    return [
        Gauge(
            server=server,
            lately=lately.get(server.id),
            due=_due(_relevant(schedules.get(server.id, []), first), first, current),
        )
        for server in find.standings(session, now)
    ]


def _relevant(planned: Sequence[Planned], first: int) -> tuple[Planned, ...]:
    """What was planned from slot `first` on; for most servers of a fleet it is the same."""
    start = slot_time(first)
    later = [row for row in planned if row.since > start]
    before = [row._replace(since=EPOCH) for row in planned if row.since <= start]
    return (*before[-1:], *later)


@lru_cache(maxsize=1024)
def _due(planned: Sequence[Planned], first: int, end: int) -> int:
    return due_from(spans(planned), first, end).bit_count()


def _lately(session: Session, first: int, end: int) -> dict[int, Lately]:
    ranked = _ranked(first, end)
    middle, most = _rank(ranked, 5), _rank(ranked, 9)
    rows = session.execute(
        select(
            ranked.c.server_id,
            func.count(),
            func.sum(case((ranked.c.received > 0, 1), else_=0)),
            func.sum(ranked.c.sent),
            func.sum(ranked.c.received),
            func.max(case((ranked.c.place == middle, ranked.c.response_time))),
            func.max(case((ranked.c.place == most, ranked.c.response_time))),
            func.max(ranked.c.response_time),
        ).group_by(ranked.c.server_id)
    )
    return {row[0]: Lately(*row) for row in rows}


def _ranked(first: int, end: int) -> Subquery:
    """The pings of the slots from `first` to before `end`, with their places by server."""
    own = DATA.c.server_id
    return (
        select(
            DATA.c.server_id,
            DATA.c.response_time,
            DATA.c.sent,
            DATA.c.received,
            func.row_number().over(partition_by=own, order_by=LAST_WITHOUT_TIME).label("place"),
            func.count(DATA.c.response_time).over(partition_by=own).label("timed"),
        )
        # All servers: said so that a database goes from one to the next, not from slot to slot.
        .where(DATA.c.server_id.in_(select(models.SERVER.c.id)))
        .where(DATA.c.datetime >= slot_time(first), DATA.c.datetime < slot_time(end))
        .subquery()
    )


def _rank(ranked: Subquery, tenths: int) -> ColumnElement[int]:
    """The nearest rank: the smallest place that so many tenths of the timed pings don't exceed."""
    return (ranked.c.timed * tenths + 9) // 10
