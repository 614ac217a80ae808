"""The list: every server with its state and its last 24 hours."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Integer,
    Subquery,
    and_,
    case,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.orm import Session

from core import models
from core.checks.records import Last, Probe, quantised_ms
from core.history.records import Counts, ServerStatus
from core.models import SERVER
from core.servers import schedule
from core.servers.schedule import Planned, due_from, spans
from core.slots import DAY_SLOTS, current_slot, slot_time
from core.sql import epoch_minute


def fleet(session: Session, now: datetime, ids: Sequence[int] | None = None) -> list[ServerStatus]:
    """Return every server, or those of `ids`, with state and last 24 hours, in order of creation.

    Three statements, however many servers there are. Raw rows are kept for longer than 24 hours,
    so only they are read.
    """
    since = current_slot(now) + 1 - DAY_SLOTS
    query = select(*STATUS).order_by(SERVER.c.id)
    rows = session.execute(query if ids is None else query.where(SERVER.c.id.in_(ids))).all()
    schedules = schedule.schedules(session, ids)
    strips = _strips(session, ids, since)
    return [
        _status(row, schedules[row.id], strips.get(row.id, {}), now)
        for row in rows
        if row.id in schedules  # else it was removed after the first statement
    ]


STATUS = [column for column in SERVER.c if column.name != "last_port"]
HALF_HOURS = 48
IN_HALF_HOUR = DAY_SLOTS // HALF_HOURS
# Written out: as a parameter it couldn't be grouped by.
IN_HALF_HOUR_SQL = literal_column(str(IN_HALF_HOUR), Integer)
WHOLE_HALF_HOUR = (1 << IN_HALF_HOUR) - 1


class HalfHour(NamedTuple):
    """A half hour's slots that were up, degraded and down, as bits; the mean of their means."""

    masks: tuple[int, ...] = (0, 0, 0)
    mean_ms: float | None = None


NOTHING_SEEN = HalfHour()


def _status(
    row: Any, schedule: Sequence[Planned], seen: Mapping[int, HalfHour], now: datetime
) -> ServerStatus:
    current = current_slot(now)
    since = current + 1 - DAY_SLOTS
    # A clock that was ahead when a server was added doesn't hide it: the first row counts then.
    planned = max((one for one in schedule if one.since <= now), default=schedule[0])
    interval_s, enabled = planned.interval_s, planned.enabled
    due = due_from(spans(schedule), since, current)
    places = range(HALF_HOURS)
    halves = [seen.get(place, NOTHING_SEEN) for place in places]
    strip = [
        _half_hour(due >> IN_HALF_HOUR * place & WHOLE_HALF_HOUR, *half.masks)
        for place, half in zip(places, halves, strict=True)
    ]
    return ServerStatus(
        server_id=row.id,
        name=row.name,
        ip=row.ip,
        probe=Probe(row.probe),
        port=row.port,
        added=row.datetime,
        interval_s=interval_s,
        enabled=enabled,
        state=Last(row.last_slot, row.last_sent, row.last_received, interval_s, enabled).state(now),
        last_slot=row.last_slot,
        last_ms=row.last_ms,
        last_sent=row.last_sent,
        last_received=row.last_received,
        since=slot_time(since),
        counts=_sum(strip),
        strip=strip,
        means_ms=[_shown_ms(half.mean_ms) for half in halves],
    )


def _sum(parts: Sequence[Counts]) -> Counts:
    return Counts(
        sum(part.up for part in parts),
        sum(part.degraded for part in parts),
        sum(part.down for part in parts),
        sum(part.unobserved for part in parts),
        sum(part.not_due for part in parts),
    )


def _shown_ms(mean_ms: float | None) -> float | None:
    return None if mean_ms is None else quantised_ms(mean_ms)


@lru_cache(maxsize=4096)  # nearly all of a fleet's half hours are alike
def _half_hour(due: int, up: int, degraded: int, down: int) -> Counts:
    observed = up | degraded | down
    return Counts(
        up.bit_count(),
        degraded.bit_count(),
        down.bit_count(),
        unobserved=(due & ~observed).bit_count(),
        not_due=IN_HALF_HOUR - (due | observed).bit_count(),
    )


def _strips(
    session: Session, ids: Sequence[int] | None, since: int
) -> dict[int, dict[int, HalfHour]]:
    """The half hours of the 1,440 slots from `since`, by server, each with its slots as bits.

    The sum of different powers of two is a set; so the database adds up and no slot is lost.
    """
    one = _slots_of_day(ids, since)
    place = one.c.slot // IN_HALF_HOUR_SQL
    bit = cast(1, Integer).bitwise_lshift(one.c.slot % IN_HALF_HOUR_SQL)
    states = [
        one.c.received == one.c.sent,
        and_(one.c.received > 0, one.c.received < one.c.sent),
        one.c.received == 0,
    ]
    sets = [func.sum(case((state, bit), else_=0)) for state in states]
    figures: list[ColumnElement[Any]] = [*sets, func.avg(one.c.response_ms)]
    strips: dict[int, dict[int, HalfHour]] = defaultdict(dict)
    for server_id, number, *masks, mean in session.execute(
        select(one.c.server_id, place, *figures).group_by(one.c.server_id, place)
    ):
        strips[server_id][number] = HalfHour(tuple(masks), mean)
    return strips


def _slots_of_day(ids: Sequence[int] | None, since: int) -> Subquery:
    """The pings of the 1,440 slots from `since`, each slot as its number from there."""
    ping = models.Ping
    pinged = select(
        ping.server_id,
        ping.sent,
        ping.received,
        ping.response_ms,
        (epoch_minute(ping.slot) - since).label("slot"),
    ).where(ping.slot >= slot_time(since), ping.slot < slot_time(since + DAY_SLOTS))
    if ids is not None:
        pinged = pinged.where(ping.server_id.in_(ids))
    return pinged.subquery()
