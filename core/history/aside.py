"""Slots to come: what a clock that was ahead recorded is set aside, once the clock is right again.

It would stand in the way of what is true of those slots: first come, first kept. It isn't deleted,
in case the clock was right after all; the table `aside` keeps it. Functions take a session inside
a transaction that their caller ends.
"""

import datetime as dt
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.orm import Session

from core.history.codec import NO_COLUMNS, Columns, Slots, all_ms
from core.history.upkeep import day_row
from core.models import ASIDE, DATA, DAY, ROUND, SERVER
from core.servers.schedule import due, schedules, spans
from core.slots import AHEAD, current_slot, first_slot, slot_time
from core.sql import UtcDateTime

COPIED = ("server_id", "datetime", "response_time", "sent", "received", "best_ms", "worst_ms")
LAST = {"last_slot": "datetime", "last_ms": "response_time", "last_sent": "sent"}
LAST |= {"last_received": "received"}


def holds_slots_to_come(session: Session, now: datetime) -> bool:
    """Whether a round, or the ping that a server shows, is of a slot that is yet to come."""
    newest = [func.max(ROUND.c.slot), func.max(SERVER.c.last_slot)]
    found = [session.scalar(select(one)) for one in newest]
    return any(one is not None and one > now + AHEAD for one in found)


def set_aside(session: Session, now: datetime) -> int:
    """Take everything of slots to come out of the way, in one step; return how many pings.

    Raw and packed alike; servers show their newest ping before it, rounds to come are forgotten.
    """
    future = now + AHEAD
    count = _set_raw_aside(session, now, future) + _set_packed_aside(session, now, future)
    session.execute(delete(ROUND).where(ROUND.c.slot > future))
    _turn_back_servers(session, future)
    return count


def _set_raw_aside(session: Session, now: datetime, future: datetime) -> int:
    since = literal(now, UtcDateTime())
    rows = select(*(DATA.c[name] for name in COPIED), since).where(DATA.c.datetime > future)
    session.execute(insert(ASIDE).from_select([*COPIED, "since"], rows))
    return session.connection().execute(delete(DATA).where(DATA.c.datetime > future)).rowcount


def _set_packed_aside(session: Session, now: datetime, future: datetime) -> int:
    days = select(DAY.c.server_id, DAY.c.date, DAY.c.packed).where(DAY.c.date >= future.date())
    count = 0
    for server_id, date, packed in session.execute(days).all():
        first = first_slot(date)
        slots, low = Slots(packed), max(0, current_slot(future) + 1 - first)
        rows = [
            dict(zip(COPIED, (server_id, slot_time(first + minute), *values), strict=True))
            for minute, *values in _pings(slots, low)
        ]
        if rows:
            session.execute(insert(ASIDE), [row | {"since": now} for row in rows])
            _cut_day(session, server_id, date, _without(slots, low))
        count += len(rows)
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
    ids = session.scalars(select(SERVER.c.id).where(ahead)).all()
    other = DATA.alias()
    of_each = select(func.max(other.c.datetime)).where(other.c.server_id == SERVER.c.id)
    newest = DATA.c.datetime == of_each.correlate(SERVER).scalar_subquery()
    pings = select(DATA).join(SERVER, SERVER.c.id == DATA.c.server_id).where(ahead, newest)
    found = session.execute(pings).mappings()
    shown = {row["server_id"]: {last: row[name] for last, name in LAST.items()} for row in found}
    for server_id in ids:
        values = shown.get(server_id, dict.fromkeys(LAST))
        session.execute(update(SERVER).where(SERVER.c.id == server_id).values(values))


def forget(session: Session, before: datetime) -> None:
    """Delete what was set aside before that time."""
    session.execute(delete(ASIDE).where(ASIDE.c.since < before))
