"""Pings: record a round, read a server's history."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar
from typing import cast as cast_type

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    ColumnElement,
    CursorResult,
    Double,
    Executable,
    Integer,
    SmallInteger,
    SQLColumnExpression,
    String,
    Subquery,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core import days, models
from core.days import Day, Kept
from core.errors import WrongRequest
from core.models import Server, UtcDateTime, epoch_minute
from core.schema import (
    AHEAD,
    Bucket,
    Counts,
    HistoryRequest,
    Last,
    Ping,
    Probe,
    ServerStatus,
    Summary,
    quantised_ms,
)
from core.slots import (
    DAY_SLOTS,
    Planned,
    current_slot,
    due_from,
    slot_number,
    slot_time,
    spans,
)

FIELDS: dict[str, TypeEngine[Any]] = {
    "server_id": BigInteger(),
    "ip": String(),
    "response_ms": Double(),
    "sent": SmallInteger(),
    "received": SmallInteger(),
    "best_ms": Double(),
    "worst_ms": Double(),
    "probe": String(),
    "port": Integer(),
}
# The plain tables: these are statements about rows, the ORM has no part in them.
DATA = models.Base.metadata.tables["data"]
SERVER = models.Base.metadata.tables["server"]
WINDOW_DAYS = 800
STEPS = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1_440)
"""How many slots a bucket of a series may hold; beyond these, whole days."""
F = TypeVar("F", Bucket, Summary)
SLOT: BindParameter[datetime] = bindparam("slot", type_=UtcDateTime())
FUTURE: BindParameter[datetime] = bindparam("future", type_=UtcDateTime())
NO_FUTURE = datetime.max.replace(tzinfo=UTC) - AHEAD


@dataclass(frozen=True, slots=True)
class History:
    """Pings of one server, oldest first: (slot, mean ms or None where no echo came back).

    `before` and `after` say that there are more: the first slot of the page that follows, and the
    slot up to which the page before reaches (exclusive).
    """

    name: str
    pings: Sequence[tuple[datetime, float | None]]
    before: datetime | None = None
    after: datetime | None = None


def record(
    session: Session, slot: datetime, pings: Sequence[Ping], now: datetime = NO_FUTURE
) -> int:
    """Write one row for each ping and repeat it on its server; return how many rows are new.

    A ping whose server is gone, or has another address by now, is dropped; one that is there
    already changes nothing, and a late round never turns `last_*` back: unless they lie in the
    future of `now`, told by a clock that was wrong. Raises ValueError for a slot that isn't a whole
    minute.
    """
    if slot.second or slot.microsecond:
        raise ValueError(f"{slot} is no slot: slots are whole minutes")
    if not pings:
        return 0
    # The same parameter feeds both statements: all pings as one JSON array of arrays.
    parameters = {
        "slot": slot,
        "future": now + AHEAD,
        "lowest": min(ping.server_id for ping in pings),
        "highest": max(ping.server_id for ping in pings),
        "rows": json.dumps([[getattr(p, f) for f in FIELDS] for p in pings]),
    }
    # Counted by the database: to have 10,000 ids returned costs a fifth of the statement.
    inserted = cast_type(CursorResult[Any], session.execute(INSERT_PINGS, parameters))
    session.execute(UPDATE_SERVERS, parameters)
    return inserted.rowcount


def history(session: Session, server: Server, wanted: HistoryRequest) -> History:
    """Return the pings that `wanted` asks for. Two statements, whatever the size of the history."""
    first = None if wanted.since is None else slot_number(wanted.since)
    end = None if wanted.until is None else slot_number(wanted.until)
    # One more than asked for, to know whether there is more.
    found = [
        (slot_time(slot), ms)
        for slot, ms in days.page(session, server.id, first, end, wanted.limit + 1)
    ]
    if len(found) <= wanted.limit:
        return History(server.name, found)
    if wanted.since is not None:
        return History(server.name, found[:-1], after=found[-1][0])
    return History(server.name, found[1:], before=found[1][0])


@dataclass(frozen=True, slots=True)
class Page:
    """Pings with all that is kept of them, oldest first.

    `before` and `after` are as in History; each is also set where the way there was not looked at.
    """

    pings: Sequence[Kept]
    before: datetime | None
    after: datetime | None


def pages(
    session: Session,
    ids: Sequence[int],
    window: tuple[datetime | None, datetime | None],
    limit: int,
) -> dict[int, Page]:
    """Return each server's first `limit` pings of [since, until), or without `since` the last ones.

    Two statements, whatever the size of the histories.
    """
    first, end = (None if bound is None else slot_number(bound) for bound in window)
    found = days.full_pages(session, ids, first, end, limit + 1)
    return {server_id: _page(kept, *window, limit) for server_id, kept in found.items()}


def _page(
    found: Sequence[Kept], since: datetime | None, until: datetime | None, limit: int
) -> Page:
    more = len(found) > limit
    if since is not None:
        return Page(found[:limit], before=since, after=slot_time(found[-1].slot) if more else None)
    shown = found[-limit:]
    return Page(shown, before=slot_time(shown[0].slot) if more else None, after=until)


def series(  # pylint: disable=too-many-positional-arguments
    session: Session, server: Server, since: datetime, until: datetime, points: int, now: datetime
) -> list[Bucket]:
    """Reduce the slots of [since, until) to at most `points` buckets, oldest first.

    A bucket holds 1, 2, 3, 5, 10, 15, 20, 30 minutes, 1, 2, 3, 4, 6, 8, 12 hours or whole days,
    from UTC's midnight on; the first and the last are cut off by the window. Every slot of the
    window is in exactly one bucket. Raises WrongRequest for an empty window or a too long one.
    """
    return all_series(session, [server.id], (since, until), points, now)[server.id]


def all_series(
    session: Session,
    ids: Sequence[int],
    window: tuple[datetime, datetime],
    points: int,
    now: datetime,
) -> dict[int, list[Bucket]]:
    """Return the series of many servers, by server. Three statements."""
    first, end = _window(*window)
    step, start = _step(first, end, points)
    found = days.windows(session, ids, first, end, current_slot(now), whole=step == DAY_SLOTS)
    edges = [first, *range(start + step, end, step), end]
    return {
        server_id: [_add_up(Bucket, of_one, low, high) for low, high in pairwise(edges)]
        for server_id, of_one in found
    }


def summary(
    session: Session, server: Server, since: datetime, until: datetime, now: datetime
) -> Summary:
    """Return the slots of [since, until) in figures, whichever table holds them.

    Due are the slots that the schedule in force as they began wanted, and those that were pinged
    all the same (such as the one in which a server was added). A slot without a ping is
    unobserved when the next slot has begun; until then, and in the future, it is not due.
    Raises WrongRequest for an empty window or a too long one.
    """
    return summaries(session, [server.id], (since, until), now)[server.id]


def summaries(
    session: Session, ids: Sequence[int], window: tuple[datetime, datetime], now: datetime
) -> dict[int, Summary]:
    """Return the summaries of many servers, by server. Three statements."""
    first, end = _window(*window)
    found = days.windows(session, ids, first, end, current_slot(now))
    return {server_id: _add_up(Summary, of_one, first, end) for server_id, of_one in found}


def _window(since: datetime, until: datetime) -> tuple[int, int]:
    first, end = slot_number(since), slot_number(until)
    if first >= end:
        raise WrongRequest("the window holds no slot: until comes after since")
    if end - first > WINDOW_DAYS * DAY_SLOTS:
        raise WrongRequest(f"a window is at most {WINDOW_DAYS} days long")
    return first, end


def _step(first: int, end: int, points: int) -> tuple[int, int]:
    """The slots of a bucket, and where the first bucket would begin were it whole."""
    midnight = first - first % DAY_SLOTS
    for step in STEPS:
        start = first - first % step
        if end - start <= points * step:
            return step, start
    whole_days = -(-(end - midnight) // (points * DAY_SLOTS))
    return whole_days * DAY_SLOTS, midnight


def _add_up(kind: type[F], found: Mapping[int, Day], first: int, end: int) -> F:
    sums = days.add_up(list(_pieces(found, first, end)))
    counted = sum(sums[:4])
    return kind(
        counts=Counts(*sums[:4], not_due=end - first - counted),
        sent=sums.sent,
        received=sums.received,
        best_ms=sums.best_ms,
        worst_ms=sums.worst_ms,
        mean_ms=sums.hundredths / sums.timed / 100 if sums.timed else None,
        p50_ms=sums.p50_ms,
        p95_ms=sums.p95_ms,
        p99_ms=sums.p99_ms,
        since=slot_time(first),
        until=slot_time(end),
    )


def _pieces(found: Mapping[int, Day], first: int, end: int) -> Iterator[tuple[Day, int, int]]:
    """Cut slots into pieces that lie within a day each."""
    for number in range(first // DAY_SLOTS, (end - 1) // DAY_SLOTS + 1):
        start = number * DAY_SLOTS
        yield found[number], max(first - start, 0), min(end - start, DAY_SLOTS)


def fleet(session: Session, now: datetime, ids: Sequence[int] | None = None) -> list[ServerStatus]:
    """Return every server, or those of `ids`, with state and last 24 hours, in order of creation.

    Three statements, however many servers there are. Raw rows are kept for longer than 24 hours,
    so only they are read.
    """
    since = current_slot(now) + 1 - DAY_SLOTS
    query = select(*STATUS).order_by(SERVER.c.id)
    rows = session.execute(query if ids is None else query.where(SERVER.c.id.in_(ids))).all()
    schedules = days.schedules(session, ids)
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


def _incoming(*wanted: str) -> CTE:
    value = func.json_rows(bindparam("rows", type_=String())).table_valued("value", name="element")
    # Their numbers are no parameters: pg8000 reads a statement letter by letter, each time.
    fields = [
        cast(value.c.value.op("->>")(literal_column(str(number))), kind).label(name)
        for number, (name, kind) in enumerate(FIELDS.items())
        if name in wanted
    ]
    return select(*fields).select_from(value).cte("incoming")


def _among(server_id: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether an id lies among those of the pings, as a planner sees at once: a batch is a slice.

    Without it Postgres reads all servers for a batch of a hundred.
    """
    return server_id.between(bindparam("lowest"), bindparam("highest"))


def _insert() -> Executable:
    stored = ["response_ms", "sent", "received", "best_ms", "worst_ms", "probe"]
    incoming = _incoming("server_id", "ip", *stored)
    # The servers' rows are locked in order of id before anything is written: two recorders can't
    # deadlock, and a server that is being deleted takes its own ping along, not the round (the
    # INSERT would fail on the foreign key). SQLite has one writer and needs no such lock.
    alive = (
        select(Server.id, Server.ip)
        .where(Server.id.in_(select(incoming.c.server_id)), _among(Server.id))
        .order_by(Server.id)
        .with_for_update(key_share=True)
        .subquery("alive")
    )
    same_server = and_(alive.c.id == incoming.c.server_id, alive.c.ip == incoming.c.ip)
    columns = [models.Ping.__mapper__.columns[name].name for name in stored]
    rows = (
        select(incoming.c.server_id, SLOT, *(incoming.c[name] for name in stored))
        .join_from(incoming, alive, same_server)
        .where(true())  # or SQLite would read ON CONFLICT as a condition of the join
    )
    return (
        insert(DATA).from_select(["server_id", "datetime", *columns], rows).on_conflict_do_nothing()
    )


def _update() -> Executable:
    incoming = _incoming("server_id", "ip", "response_ms", "sent", "received", "port")
    last_slot = SERVER.c.last_slot
    return (
        update(SERVER)
        .where(SERVER.c.id == incoming.c.server_id, SERVER.c.ip == incoming.c.ip)
        .where(_among(SERVER.c.id))
        .where(or_(last_slot.is_(None), last_slot < SLOT, last_slot > FUTURE))
        .values(
            last_slot=SLOT,
            last_ms=incoming.c.response_ms,
            last_sent=incoming.c.sent,
            last_received=incoming.c.received,
            last_port=func.coalesce(incoming.c.port, SERVER.c.last_port),
        )
    )


INSERT_PINGS = _insert()
UPDATE_SERVERS = _update()
