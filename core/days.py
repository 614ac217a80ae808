"""Days: what is kept of a server's UTC day, packed; and how long anything is kept.

A slot that was pinged is in `data`, in `day`, or in both. Three rules make any order of packing,
reading, dying and starting over harmless:

1. Slots are only ever added to a day, and one packer at a time works on a server.
2. A raw row is deleted by a statement that finds its slot in the committed day.
3. Readers look at the raw rows first and at the days second: what has left the first place by then
   is in the other.

Every function takes a session inside a transaction that its caller ends.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from core import models
from core.models import Schedule, Server, epoch_minute
from core.schema import State
from core.slots import (
    DAY_SLOTS,
    EPOCH,
    HELD_DIGITS,
    Planned,
    Rows,
    Slots,
    Totals,
    codes,
    due,
    first_slot,
    joined,
    merged,
    ms_of,
    slot_number,
    slot_time,
    spans,
    totals,
)

# The plain tables: these are statements about rows, the ORM has no part in them.
DATA = models.Base.metadata.tables["data"]
DAY = models.Base.metadata.tables["day"]

# Written out, not sent as parameters: what a query groups by must be what it selects.
SLOTS_A_DAY = literal_column("1440", Integer)
HUNDRED = literal_column("100", Integer)
MINUTE = epoch_minute(DATA.c.datetime)
DAY_NUMBER = MINUTE // SLOTS_A_DAY


class Day(NamedTuple):
    """One server's day as readers see it, wherever its slots are kept.

    `due` are the slots that were due, as bits; `whole` what the whole day adds up to, where that
    is known without looking at the slots.
    """

    slots: Slots
    due: int
    whole: Totals | None = None

    def totals(self, low: int, high: int) -> Totals:
        """Add up the slots from `low` to before `high`."""
        if self.whole and (low, high) == (0, DAY_SLOTS):
            return self.whole
        return totals(self.slots, self.due, low, high)


RawColumns = Sequence[str]
"""A day's raw rows, column by column: minutes, mean, best, worst, sent, received, each as text."""

# Reading


def schedules(session: Session, ids: Sequence[int] | None = None) -> dict[int, list[Planned]]:
    """Return the schedules of these servers or of all, by server, each in order of time."""
    return _by_server(session, _schedule_rows(ids))


def _schedule_rows(ids: Sequence[int] | None) -> Select[int, datetime, int, bool]:
    query = select(
        Schedule.server_id, Schedule.since, Schedule.interval_s, Schedule.enabled
    ).order_by(Schedule.server_id, Schedule.since)
    return query if ids is None else query.where(Schedule.server_id.in_(ids))


def _by_server(
    session: Session, query: Select[int, datetime, int, bool]
) -> dict[int, list[Planned]]:
    found: dict[int, list[Planned]] = defaultdict(list)
    for server_id, since, interval_s, enabled in session.execute(query):
        found[server_id].append(Planned(since, interval_s, enabled))
    return dict(found)


def windows(
    session: Session,
    ids: Sequence[int],
    first: int,
    end: int,
    now: int,
    *,
    whole: bool = False,
) -> Iterator[tuple[int, dict[int, Day]]]:
    """Yield each server with the days that touch the slots from `first` to before `end`, by number.

    A day is unpacked when it is looked at, and then takes ten times the room: whoever lets go of a
    server's days before asking for the next ones holds one server's.

    Slots that lie outside may be missing. The slot `now` and those after it are not due yet.
    `whole` promises that days inside the window are only looked at as a whole: then most needn't be
    unpacked, nor fetched. Three statements, however many servers.
    """
    raw = _raw(session, ids, first, end)
    numbers = range(first // DAY_SLOTS, (end - 1) // DAY_SLOTS + 1)
    cut = {numbers[0], numbers[-1], *(number for _server_id, number in raw)}
    stored = _stored(session, ids, numbers, cut if whole else None)
    planned = {one: spans(schedule) for one, schedule in schedules(session, ids).items()}
    for one in ids:
        yield (
            one,
            {
                number: _day(
                    due(planned.get(one, []), number * DAY_SLOTS, now),
                    stored.pop((one, number), None),
                    raw.pop((one, number), None),
                )
                for number in numbers
            },
        )


def _day(was_due: int, stored: tuple[Slots, Totals] | None, raw: RawColumns | None) -> Day:
    known, whole = stored or (None, None)
    if raw is None:
        return Day(known or NO_SLOTS, was_due, whole)
    slots = _with(known, raw)
    return Day(slots, was_due, whole if slots is known else None)


NO_SLOTS = merged(None, Rows([], [], [], [], [], []))


def add_up(pieces: Sequence[tuple[Day, int, int]]) -> Totals:
    """Add up pieces of days, each from a slot of the day to before another."""
    parts = [day.totals(low, high) for day, low, high in pieces]
    if len(parts) == 1:
        return parts[0]
    return joined(parts, (day.slots.mean[low:high] for day, low, high in pieces))


def _raw(
    session: Session, ids: Sequence[int], first: int, end: int
) -> dict[tuple[int, int], RawColumns]:
    bounds = {"ids": ids, "first": slot_time(first), "end": slot_time(end)}
    found = session.execute(SELECT_RAW, bounds)
    return {(server_id, number): columns for server_id, number, *columns in found}


def _with(known: Slots | None, raw: RawColumns) -> Slots:
    minutes = _numbers(raw[0])
    if known and not known.missing(minutes):
        return known  # as usual where a day is packed and its raw rows are still there
    return merged(known, Rows(minutes, *map(_numbers, raw[1:])))


def _numbers(text: str) -> list[int]:
    numbers: list[int] = json.loads(f"[{text}]")
    return numbers


def _hundredths(ms: ColumnElement[float | None]) -> ColumnElement[int]:
    return func.coalesce(cast(func.round(ms * HUNDRED), BigInteger), -1)


def _listed(number: ColumnElement[int]) -> ColumnElement[str]:
    return func.aggregate_strings(cast(number, String), ",")


def _raw_columns(data: FromClause) -> list[ColumnElement[str]]:
    """Write each column of a day as one text.

    As rows of six numbers, 1,440 of them, they would take ten times as long to arrive.
    """
    return [
        _listed(epoch_minute(data.c.datetime) % SLOTS_A_DAY),
        _listed(_hundredths(data.c.response_time)),
        _listed(_hundredths(data.c.best_ms)),
        _listed(_hundredths(data.c.worst_ms)),
        _listed(data.c.sent),
        _listed(data.c.received),
    ]


SELECT_RAW = (
    select(DATA.c.server_id, DAY_NUMBER, *_raw_columns(DATA))
    .where(DATA.c.server_id.in_(bindparam("ids", expanding=True)))
    .where(DATA.c.datetime >= bindparam("first"), DATA.c.datetime < bindparam("end"))
    .group_by(DATA.c.server_id, DAY_NUMBER)
)


def by_day(session: Session, data: FromClause) -> dict[tuple[int, int], Rows]:
    """Return some rows of `data` by server and number of the day. One statement."""
    number = epoch_minute(data.c.datetime) // SLOTS_A_DAY
    found = session.execute(
        select(data.c.server_id, number, *_raw_columns(data)).group_by(data.c.server_id, number)
    )
    return {(server_id, day): Rows(*map(_numbers, raw)) for server_id, day, *raw in found}


def _stored(
    session: Session, ids: Sequence[int], numbers: Sequence[int], unpack: Collection[int] | None
) -> dict[tuple[int, int], tuple[Slots, Totals]]:
    """Return the stored days; only those in `unpack`, None for all, may be looked into."""
    bounds = {"ids": ids, "first": _date(numbers[0]), "last": _date(numbers[-1])}
    if unpack is None:
        found = session.execute(SELECT_DAYS, bounds)
    else:
        found = session.execute(SELECT_SUMS, bounds | {"dates": [_date(one) for one in unpack]})
    return {
        (server_id, number): (Slots(packed or b""), Totals(*sums))
        for server_id, number, packed, *sums in found
    }


def _select_days(packed: ColumnElement[bytes]) -> Select[Any]:
    # The date as a number: pg8000 takes 40 us to read a date.
    number = epoch_minute(DAY.c.date) // SLOTS_A_DAY
    return (
        select(DAY.c.server_id, number, packed, *(DAY.c[name] for name in Totals._fields))
        .where(DAY.c.server_id.in_(bindparam("ids", expanding=True)))
        .where(DAY.c.date.between(bindparam("first"), bindparam("last")))
    )


SELECT_DAYS = _select_days(DAY.c.packed)
SELECT_SUMS = _select_days(case((DAY.c.date.in_(bindparam("dates", expanding=True)), DAY.c.packed)))


def _date(day_number: int) -> date:
    """The date of a day; of one that the calendar has no room for, the nearest that it has."""
    ordinal = EPOCH.toordinal() + day_number
    return date.fromordinal(min(max(ordinal, date.min.toordinal()), date.max.toordinal()))


def _time(slot: int) -> datetime:
    return slot_time(slot) if slot < LAST_SLOT else slot_time(LAST_SLOT)


LAST_SLOT = slot_number(datetime.max.replace(tzinfo=UTC)) - 1


def page(
    session: Session, server_id: int, first: int | None, end: int | None, limit: int
) -> list[tuple[int, float | None]]:
    """Return a server's first `limit` pings from slot `first` on, or its last ones before `end`.

    Oldest first, each as its slot and mean in ms; `end` bounds both ways, None bounds nothing. Two
    statements, which read little more than the page.
    """
    found = _raw_page(session, server_id, first, end, limit)
    for _server_id, number, slots in _stored_pages(session, [server_id], first, end, limit):
        start = number * DAY_SLOTS
        for minute in slots.minutes:
            found[start + minute] = slots.mean[minute]
    return [(slot, ms_of(found[slot])) for slot in _cut(found, first, end, limit)]


def _cut(found: Collection[int], first: int | None, end: int | None, limit: int) -> list[int]:
    low = min(found, default=0) if first is None else first
    high = max(found, default=0) + 1 if end is None else end
    inside = sorted(slot for slot in found if low <= slot < high)
    return inside[-limit:] if first is None else inside[:limit]


class Kept(NamedTuple):
    """A ping as it is kept, raw or packed: its slot's number, and what came back; times in ms."""

    slot: int
    response_ms: float | None
    best_ms: float | None
    worst_ms: float | None
    sent: int
    received: int

    @property
    def state(self) -> State:
        """What this ping says of its server."""
        return State.of(self.sent, self.received)


def kept(first: int, slots: Slots, minutes: Sequence[int] | None = None) -> Iterator[Kept]:
    """Return the pings of a packed day that begins with the slot `first`, in order.

    Those of `minutes`, which must hold pings; None: all there are.
    """
    mean, best, worst, sent, received = slots.columns
    for at in slots.minutes if minutes is None else minutes:
        times = ms_of(mean[at]), ms_of(best[at]), ms_of(worst[at])
        yield Kept(first + at, *times, sent[at], received[at])


def full_pages(
    session: Session, ids: Sequence[int], first: int | None, end: int | None, limit: int
) -> dict[int, list[Kept]]:
    """Return the same pings as `page`, of many servers, with all that is kept of them.

    Two statements, however many servers; they read little more than the pages, and of a day no
    more pings are held than a page has.
    """
    found = _raw_full_pages(session, ids, first, end, limit)
    for server_id, number, slots in _stored_pages(session, ids, first, end, limit):
        nearer = _nearest(found[server_id], number * DAY_SLOTS, slots, (first, end), limit)
        found[server_id] |= {ping.slot: ping for ping in nearer}
    return {
        server_id: [found[server_id][slot] for slot in _cut(found[server_id], first, end, limit)]
        for server_id in ids
    }


def _nearest(
    found: Collection[int],
    start: int,
    slots: Slots,
    window: tuple[int | None, int | None],
    limit: int,
) -> Iterator[Kept]:
    """Return those of a day's pings that may be on a page for which `found` is there already."""
    low = start if window[0] is None else max(start, window[0])
    high = start + DAY_SLOTS if window[1] is None else min(start + DAY_SLOTS, window[1])
    if len(found) >= limit and window[0] is None:  # what lies beyond these isn't on the page
        low = max(low, min(found))
    elif len(found) >= limit:
        high = min(high, max(found))
    if low >= high:
        return iter(())
    inside = [at for at in slots.minutes if low <= start + at < high]
    nearest = inside[-limit:] if window[0] is None else inside[:limit]
    return kept(start, slots, nearest)


def _raw_full_pages(
    session: Session, ids: Sequence[int], first: int | None, end: int | None, limit: int
) -> dict[int, dict[int, Kept]]:
    order = DATA.c.datetime.desc() if first is None else DATA.c.datetime
    place = func.row_number().over(partition_by=DATA.c.server_id, order_by=order).label("place")
    names = ("response_time", "best_ms", "worst_ms", "sent", "received")
    columns = [DATA.c.server_id, MINUTE.label("slot"), *(DATA.c[name] for name in names)]
    placed = select(*columns, place).where(_inside(ids, first, end)).subquery()
    query = select(*(placed.c[column.name] for column in columns)).where(placed.c.place <= limit)
    found: dict[int, dict[int, Kept]] = defaultdict(dict)
    for server_id, *fields in session.execute(query):
        found[server_id][fields[0]] = Kept(*fields)
    return found


def _inside(ids: Sequence[int], first: int | None, end: int | None) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = [DATA.c.server_id.in_(ids)]
    bounds += [] if first is None else [DATA.c.datetime >= _time(first)]
    bounds += [] if end is None else [DATA.c.datetime < _time(end)]
    return and_(*bounds)


def _raw_page(
    session: Session, server_id: int, first: int | None, end: int | None, limit: int
) -> dict[int, int]:
    order = DATA.c.datetime.desc() if first is None else DATA.c.datetime
    nearest = select(MINUTE.label("slot"), _hundredths(DATA.c.response_time).label("mean"))
    nearest = nearest.where(_inside([server_id], first, end)).order_by(order).limit(limit)
    rows = nearest.subquery()
    slots, means = session.execute(select(_listed(rows.c.slot), _listed(rows.c.mean))).one()
    if slots is None:
        return {}
    return dict(zip(json.loads(f"[{slots}]"), codes(json.loads(f"[{means}]")), strict=True))


def _stored_pages(
    session: Session, ids: Sequence[int], first: int | None, end: int | None, limit: int
) -> Iterator[tuple[int, int, Slots]]:
    earliest = date.min if first is None else _date(first // DAY_SLOTS)
    latest = date.max if end is None else _date((end - 1) // DAY_SLOTS)
    inside = and_(DAY.c.server_id.in_(ids), DAY.c.date.between(earliest, latest))
    counted = select(DAY.c.server_id, DAY.c.date, DAY.c.packed, _nearer(first, earliest, latest))
    inner = counted.where(inside).subquery()
    near_enough = select(inner.c.server_id, inner.c.date, inner.c.packed)
    for server_id, day, packed in session.execute(near_enough.where(inner.c.nearer < limit)):
        yield server_id, first_slot(day) // DAY_SLOTS, Slots(packed)


def _nearer(first: int | None, earliest: date, latest: date) -> ColumnElement[int]:
    """How many slots the days hold that lie nearer to where a page begins.

    Of the nearest day some may be outside the page, so it counts for nothing.
    """
    near, order = (latest, DAY.c.date.desc()) if first is None else (earliest, DAY.c.date)
    held = case((DAY.c.date == near, 0), else_=DAY.c.up + DAY.c.degraded + DAY.c.down)
    summed = func.sum(held).over(partition_by=DAY.c.server_id, order_by=order, rows=(None, -1))
    return case((summed.is_(None), 0), else_=summed).label("nearer")


# Packing


def pack(session: Session, day: date, ids: Sequence[int]) -> int:
    """Add what `data` holds of these servers' day to their packed days; return how many changed.

    Keep `ids` to some dozens: a server's day takes some ms and 100 kB. Servers that are gone are
    passed over.
    """
    alive = _lock(session, ids)
    planned = _by_server(session, _schedule_rows(alive).with_for_update())
    first = first_slot(day)
    known = _packed(session, day, alive)
    new: list[dict[str, object]] = []
    changed: list[dict[str, object]] = []
    for (server_id, _number), raw in _raw(session, alive, first, first + DAY_SLOTS).items():
        slots = _with(known.get(server_id), raw)
        if slots is not known.get(server_id):
            row = _row(server_id, day, slots, due(spans(planned[server_id]), first))
            (changed if server_id in known else new).append(row)
    if new:
        # RETURNING makes it few statements; without it pg8000 sends one for each row.
        session.execute(insert(DAY).returning(DAY.c.server_id), new)
    _update(session, changed)
    return len(new) + len(changed)


def recount(session: Session, server_id: int, last: date) -> None:
    """Count anew what a server's days up to `last` add up to: more was due than they knew."""
    alive = _lock(session, [server_id])
    planned = _by_server(session, _schedule_rows(alive).with_for_update())
    found = session.execute(
        select(DAY.c.date, DAY.c.packed).where(DAY.c.server_id == server_id, DAY.c.date <= last)
    ).all()
    known = spans(planned.get(server_id, []))
    rows = [
        _row(server_id, day, Slots(packed), due(known, first_slot(day))) for day, packed in found
    ]
    _update(session, rows)


def _update(session: Session, rows: Sequence[dict[str, object]]) -> None:
    if rows:
        keys = [{"of_server": row["server_id"], "of_date": row["date"]} for row in rows]
        session.execute(UPDATE_DAY, [row | key for row, key in zip(rows, keys, strict=True)])


def _lock(session: Session, ids: Sequence[int]) -> Sequence[int]:
    # A server's row is locked first, against its deletion only, then its schedule, which nobody
    # but packers locks: packers wait for each other, a deletion for the packer, a round for nobody.
    # SQLite has one writer and needs no such lock.
    return session.scalars(
        select(Server.id)
        .where(Server.id.in_(ids))
        .order_by(Server.id)
        .with_for_update(read=True, key_share=True)
    ).all()


def _packed(session: Session, day: date, ids: Sequence[int]) -> dict[int, Slots]:
    found = session.execute(
        select(DAY.c.server_id, DAY.c.packed).where(DAY.c.server_id.in_(ids), DAY.c.date == day)
    )
    return {server_id: Slots(packed) for server_id, packed in found}


def _row(server_id: int, day: date, slots: Slots, was_due: int) -> dict[str, object]:
    sums = totals(slots, was_due)._asdict()
    return {
        "server_id": server_id,
        "date": day,
        "held": slots.held,
        "packed": slots.packed,
        **sums,
    }


UPDATE_DAY = update(DAY).where(
    DAY.c.server_id == bindparam("of_server"), DAY.c.date == bindparam("of_date")
)

# Retention


def raw_dates(session: Session, before: date) -> list[date]:
    """Return the dates before `before` of which `data` holds rows, oldest first."""
    dates = []
    end = slot_time(first_slot(before))
    found = session.scalar(select(func.min(DATA.c.datetime)).where(DATA.c.datetime < end))
    while found is not None:
        dates.append(found.date())
        after = slot_time(first_slot(found.date()) + DAY_SLOTS)
        found = session.scalar(
            select(func.min(DATA.c.datetime)).where(DATA.c.datetime >= after, DATA.c.datetime < end)
        )
    return dates


def unpacked(session: Session, day: date) -> Sequence[int]:
    """Return the servers that were there by `day` and have no row for it, in order of creation.

    Those of them that weren't pinged that day will stay so.
    """
    missing = ~exists().where(DAY.c.server_id == Server.id, DAY.c.date == day)
    tomorrow = slot_time(first_slot(day) + DAY_SLOTS)
    return session.scalars(
        select(Server.id).where(missing, Server.added < tomorrow).order_by(Server.id)
    ).all()


def unforgotten(session: Session, day: date) -> Sequence[int]:
    """Return the servers of which `data` holds rows of `day`, in order of creation."""
    first = first_slot(day)
    return session.scalars(
        select(DATA.c.server_id)
        .where(*_between(first, first + DAY_SLOTS))
        .distinct()
        .order_by(DATA.c.server_id)
    ).all()


def forget_pings(session: Session, day: date, low: int, high: int) -> int:
    """Delete the raw rows of a day's slots from `low` to before `high` that are packed.

    Returns how many went. A row that the day doesn't hold yet, such as a late ping's, stays.
    """
    first = first_slot(day)
    minute = MINUTE - literal(first, Integer)
    packed = exists().where(DAY.c.server_id == DATA.c.server_id, DAY.c.date == day, _held(minute))
    gone = delete(DATA).where(*_between(first + low, first + high), packed)
    return session.connection().execute(gone).rowcount


def _held(minute: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a day holds a slot: its bit in the digits of `held`, of which the last is lowest."""
    four = literal_column("4", Integer)
    digit = func.substr(DAY.c.held, literal(HELD_DIGITS, Integer) - minute // four, 1)
    return or_(
        *(
            and_(
                minute % four == bit, digit.in_([f"{one:x}" for one in range(16) if one >> bit & 1])
            )
            for bit in range(4)
        )
    )


def forget_days(session: Session, before: date, ids: Sequence[int]) -> int:
    """Delete these servers' days before that date; return how many."""
    gone = delete(DAY).where(DAY.c.server_id.in_(ids), DAY.c.date < before)
    return session.connection().execute(gone).rowcount


def _between(first: int, end: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return DATA.c.datetime >= slot_time(first), DATA.c.datetime < slot_time(end)
