"""Slots to come: what a clock that was ahead recorded is set aside, once the clock is right again.

It would stand in the way of what is true of those slots: first come, first kept. It isn't deleted,
in case the clock was right after all; the table `aside` keeps it. Functions take a session inside
a transaction that their caller ends.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    SmallInteger,
    Update,
    and_,
    bindparam,
    delete,
    func,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.history.codec import NO_COLUMNS, Columns, Slots, all_ms
from core.history.upkeep import day_row
from core.models import ASIDE, DATA, DAY, ROUND, SERVER, WHY
from core.servers.schedule import due, schedules, spans
from core.slots import AHEAD, current_slot, first_slot, slot_time
from core.sql import UtcDateTime, as_rows, incoming, time_at, written

COPIED = ("server_id", "datetime", "response_time", "sent", "received", "best_ms", "worst_ms")
LAST = {"last_slot": "datetime", "last_ms": "response_time", "last_sent": "sent"}
LAST |= {"last_received": "received"}
HEARD: list[TypeEngine[Any]] = [BigInteger(), BigInteger(), Double(), *[SmallInteger()] * 2]
"""Of a server's id, slot, mean, echoes sent and received; times as microseconds."""


def holds_slots_to_come(session: Session, now: datetime) -> bool:
    """Whether a round, or the ping that a server shows, is of a slot that is yet to come."""
    newest = [func.max(ROUND.c.slot), func.max(SERVER.c.last_slot)]
    found = [session.scalar(select(one)) for one in newest]
    return any(one is not None and one > now + AHEAD for one in found)


def set_aside(session: Session, now: datetime) -> int:
    """Take everything of slots to come out of the way, in one step; return how many pings.

    Raw and packed alike; servers show their newest ping before it, rounds and reasons to come are
    forgotten.
    """
    future = now + AHEAD
    count = _set_raw_aside(session, now, future) + _set_packed_aside(session, now, future)
    session.execute(delete(ROUND).where(ROUND.c.slot > future))
    session.execute(delete(WHY).where(WHY.c.datetime > future))
    _turn_back_servers(session, future)
    return count


def _set_raw_aside(session: Session, now: datetime, future: datetime) -> int:
    since = literal(now, UtcDateTime())
    rows = select(*(DATA.c[name] for name in COPIED), since).where(DATA.c.datetime > future)
    new = insert(ASIDE).from_select([*COPIED, "since"], rows).on_conflict_do_nothing()
    count = written(session, new)
    session.execute(delete(DATA).where(DATA.c.datetime > future))
    return count


def _set_packed_aside(session: Session, now: datetime, future: datetime) -> int:
    """Of a slot that is raw as well, as most are for two days, the raw row is there already."""
    days = select(DAY.c.server_id, DAY.c.date, DAY.c.packed).where(DAY.c.date >= future.date())
    count = 0
    for server_id, date, packed in session.execute(days).all():
        first = first_slot(date)
        slots, low = Slots(packed), max(0, current_slot(future) + 1 - first)
        rows = [
            [server_id, slot_time(first + minute), *values]
            for minute, *values in _pings(slots, low)
        ]
        if rows:
            count += written(session, PUT_ASIDE, {"rows": as_rows(rows), "since": now})
        if rows and low:
            _cut_day(session, server_id, date, _without(slots, low))
    session.execute(delete(DAY).where(DAY.c.date > future.date()))
    return count


def _pings(slots: Slots, low: int) -> Iterator[tuple[Any, ...]]:
    """Yield the pings from minute `low` on: minute, mean, sent, received, best, worst."""
    times = zip(*map(all_ms, (slots.mean, slots.best, slots.worst)), strict=True)
    for minute, (mean, best, worst) in enumerate(times):
        if minute >= low and slots.sent[minute]:
            yield minute, mean, slots.sent[minute], slots.received[minute], best, worst


def _without(slots: Slots, low: int) -> Slots:
    """Return a day without its pings from minute `low` on."""
    cut = [
        [*column[:low], *nothing[low:]]
        for column, nothing in zip(slots.columns, NO_COLUMNS, strict=True)
    ]
    return Slots.of(Columns(*cut))


def _cut_day(session: Session, server_id: int, date: dt.date, slots: Slots) -> None:
    this_day = DAY.c.server_id == server_id, DAY.c.date == date
    if not slots.minutes:
        session.execute(delete(DAY).where(*this_day))
        return
    planned = spans(schedules(session, [server_id]).get(server_id, []))
    row = day_row(server_id, date, slots, due(planned, first_slot(date)))
    session.execute(update(DAY).where(*this_day).values(row))


def _turn_back_servers(session: Session, future: datetime) -> None:
    """Let servers that show a ping of a slot to come show the newest of the others."""
    ahead = SERVER.c.last_slot > future
    ids = session.scalars(select(SERVER.c.id).where(ahead).order_by(SERVER.c.id)).all()
    other = DATA.alias()
    of_each = select(func.max(other.c.datetime)).where(other.c.server_id == SERVER.c.id)
    newest = DATA.c.datetime == of_each.correlate(SERVER).scalar_subquery()
    columns = [DATA.c[name] for name in ("server_id", *LAST.values())]
    pings = select(*columns).join(SERVER, SERVER.c.id == DATA.c.server_id).where(ahead, newest)
    shown = {row.server_id: list(row) for row in session.execute(pings)}
    shown |= _newest_packed(session, [one for one in ids if one not in shown])
    nothing = [None] * len(LAST)
    session.execute(SHOW, {"rows": as_rows(shown.get(one, [one, *nothing]) for one in ids)})


def _newest_packed(session: Session, ids: Sequence[int]) -> dict[int, list[Any]]:
    """Return the newest ping of each of these servers of which only days are left."""
    of_each = select(DAY.c.server_id, func.max(DAY.c.date).label("date"))
    newest = of_each.where(DAY.c.server_id.in_(ids)).group_by(DAY.c.server_id).subquery()
    same = and_(DAY.c.server_id == newest.c.server_id, DAY.c.date == newest.c.date)
    days = session.execute(select(DAY.c.server_id, DAY.c.date, DAY.c.packed).join(newest, same))
    return {row.server_id: [row.server_id, *_newest_of(row.date, row.packed)] for row in days}


def _newest_of(date: dt.date, packed: bytes) -> Sequence[Any]:
    *_others, (minute, *heard) = _pings(Slots(packed), 0)  # a stored day holds a ping
    return [slot_time(first_slot(date) + minute), *heard[:3]]


def _put_aside() -> Insert:
    given = incoming(dict(zip(COPIED, [*HEARD, Double(), Double()], strict=True)))
    columns = {name: given.c[name] for name in COPIED} | {"datetime": time_at(given.c.datetime)}
    since = bindparam("since", type_=UtcDateTime())
    rows = select(*columns.values(), since).where(true())  # or SQLite would read a join's condition
    return insert(ASIDE).from_select([*COPIED, "since"], rows).on_conflict_do_nothing()


def _show() -> Update:
    given = incoming(dict(zip(["id", *LAST], HEARD, strict=True)))
    values = {name: given.c[name] for name in LAST} | {"last_slot": time_at(given.c.last_slot)}
    return update(SERVER).where(SERVER.c.id == given.c.id).values(values)


PUT_ASIDE = _put_aside()
SHOW = _show()


def forget(session: Session, before: datetime) -> None:
    """Delete what was set aside before that time."""
    session.execute(delete(ASIDE).where(ASIDE.c.since < before))
