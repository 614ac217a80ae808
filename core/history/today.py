"""The list: every server with its state and its last 24 hours."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import structs
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
from core.checks.records import State, quantised_ms
from core.errors import IdUnknown
from core.history import reasons
from core.history.records import Counts, ServerPage, ServerStatus
from core.models import LARGEST_ID
from core.servers import exempt, find, schedule
from core.servers.records import FleetQuery, Standing
from core.servers.schedule import NEVER, WHOLE_DAY, Span, due_from, spans
from core.slots import DAY_SLOTS, current_slot, slot_time
from core.sql import epoch_minute


def page(session: Session, wanted: FleetQuery, now: datetime) -> tuple[ServerPage, Sequence[str]]:
    """Return the page of servers that `wanted` asks for; beside it the cursor of each.

    Seven statements at most, ten where servers are in maintenance. Raises WrongRequest for an
    `after` that no page gave.
    """
    found = find.page(session, wanted, now)
    shown = _with_day(session, found.servers, now, [server.id for server in found.servers])
    cursors = {server.id: one for server, one in zip(found.servers, found.cursors, strict=True)}
    told = ServerPage(
        servers=shown,
        totals=dict(found.totals),
        paused=found.paused,
        new=found.new,
        last_round=found.last_round,
        next=found.next,
    )
    return told, [cursors[server.id] for server in shown]


def fleet(session: Session, now: datetime, ids: Sequence[int] | None = None) -> list[ServerStatus]:
    """Return every server, or those of `ids`, with state and last 24 hours, in order of creation.

    Six statements at most, however many servers there are; nine where any is in maintenance.
    """
    return _with_day(session, find.standings(session, now, ids), now, ids)


def of_one(session: Session, server_id: int, now: datetime) -> ServerStatus:
    """Return a server with state and last 24 hours. Raises IdUnknown."""
    if server_id > LARGEST_ID:
        raise IdUnknown(server_id)
    for status in fleet(session, now, [server_id]):
        return status
    raise IdUnknown(server_id)


def _with_day(
    session: Session, servers: Sequence[Standing], now: datetime, ids: Sequence[int] | None
) -> list[ServerStatus]:
    current = current_slot(now)
    since = current + 1 - DAY_SLOTS
    held = exempt.ranges(session, [server.id for server in servers], since, current + 1)
    left_out = exempt.spans_of(exempt.uncounted(held), since, current + 1)
    exempt_now = exempt.spans_of(held, current, current + 1)
    halves = half_hours(session, now, ids, left_out)
    causes = reasons.of_servers(session, servers, now)
    # One that was removed after its row was read is left out.
    return [
        _status(
            server,
            halves[server.id],
            causes.get(server.id),
            exempt.is_exempt(exempt_now.get(server.id, ()), current),
        )
        for server in servers
        if server.id in halves
    ]


def _status(
    server: Standing, halves: Sequence["HalfHour"], cause: reasons.Cause | None, is_exempt: bool
) -> ServerStatus:
    counts = _sum([half.counts for half in halves])
    return ServerStatus(
        **structs.asdict(server),
        exempt=is_exempt,
        reason=cause and cause.reason,
        detail=cause and cause.detail,
        uptime=counts.uptime,
        coverage=counts.coverage,
        counts=counts,
        strip=[half.worst for half in halves],
        strip_counts=[half.each for half in halves],
        means_ms=[half.mean_ms for half in halves],
    )


def _sum(parts: Sequence[Counts]) -> Counts:
    return Counts.of(
        sum(part.up for part in parts),
        sum(part.degraded for part in parts),
        sum(part.down for part in parts),
        sum(part.unobserved for part in parts),
    )


class HalfHour(NamedTuple):
    """What a half hour's slots add up to, the worst state of them, and the mean of their means.

    `each` are the counts alone, None where nothing was due.
    """

    counts: Counts
    worst: State | None
    each: tuple[int, int, int, int] | None
    mean_ms: float | None


def half_hours(
    session: Session,
    now: datetime,
    ids: Sequence[int] | None = None,
    left_out: Mapping[int, Sequence[Span]] | None = None,
) -> dict[int, list[HalfHour]]:
    """Return the 48 half hours up to the current slot, oldest first, by server. Two statements.

    `left_out` are a server's slots that aren't counted.
    Raw rows are kept for longer than 24 hours, so only they are read.
    """
    current = current_slot(now)
    since = current + 1 - DAY_SLOTS
    schedules = schedule.schedules(session, ids)
    seen = _seen(session, ids, since)
    return {
        server_id: _halves(
            due_from(spans(planned), since, current),
            seen.get(server_id, {}),
            ~due_from((left_out or {}).get(server_id, ()), since, NEVER) & WHOLE_DAY,
        )
        for server_id, planned in schedules.items()
    }


HALF_HOURS = 48
IN_HALF_HOUR = DAY_SLOTS // HALF_HOURS
# Written out: as a parameter it couldn't be grouped by.
IN_HALF_HOUR_SQL = literal_column(str(IN_HALF_HOUR), Integer)
WHOLE_HALF_HOUR = (1 << IN_HALF_HOUR) - 1


class Seen(NamedTuple):
    """A half hour's slots that were up, degraded and down, as bits; the mean of their means."""

    masks: tuple[int, ...] = (0, 0, 0)
    mean_ms: float | None = None


NOTHING = Seen()


def _halves(was_due: int, seen: Mapping[int, Seen], wanted: int) -> list[HalfHour]:
    """Count each half hour's slots, as far as they are wanted."""
    halves = [seen.get(place, NOTHING) for place in range(HALF_HOURS)]
    return [
        HalfHour(
            *_counted(_half(wanted, place), _half(was_due, place), *half.masks),
            half.mean_ms if half.mean_ms is None else quantised_ms(half.mean_ms),
        )
        for place, half in enumerate(halves)
    ]


def _half(slots: int, place: int) -> int:
    return slots >> IN_HALF_HOUR * place & WHOLE_HALF_HOUR


@lru_cache(maxsize=4096)  # nearly all of a fleet's half hours are alike
def _counted(
    wanted: int, was_due: int, up: int, degraded: int, down: int
) -> tuple[Counts, State | None, tuple[int, int, int, int] | None]:
    unobserved = was_due & ~(up | degraded | down)
    states = (up, degraded, down, unobserved)
    counts = Counts.of(*((slots & wanted).bit_count() for slots in states))
    each = (counts.up, counts.degraded, counts.down, counts.unobserved)
    return counts, counts.worst, each if counts.due else None


def _seen(session: Session, ids: Sequence[int] | None, since: int) -> dict[int, dict[int, Seen]]:
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
    seen: dict[int, dict[int, Seen]] = defaultdict(dict)
    for server_id, number, *masks, mean in session.execute(
        select(one.c.server_id, place, *figures).group_by(one.c.server_id, place)
    ):
        seen[server_id][number] = Seen(tuple(masks), mean)
    return seen


def _slots_of_day(ids: Sequence[int] | None, since: int) -> Subquery:
    """The pings of the 1,440 slots from `since`, each slot as its number from there."""
    ping = models.StoredPing
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
