"""Packing days, and removing what is older than is kept: days.py says why nothing is lost.

Every function takes a session inside a transaction that its caller ends.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session

from core.history.codec import Rows, Slots, merged
from core.history.days import MINUTE, by_day, date_of_day, is_held, raw_days, with_raw
from core.history.sums import totals
from core.models import DATA, DAY, Server
from core.servers.schedule import Planned, by_server, due, schedule_rows, spans
from core.slots import DAY_SLOTS, first_slot, slot_time
from core.sql import incoming, microseconds, time_at

Key = tuple[int, date]
"""A server's id and a day."""
Row = dict[str, object]
A_DAY = timedelta(days=1)


def pack(session: Session, day: date, ids: Sequence[int]) -> int:
    """Add what `data` holds of these servers' day to their packed days; return how many changed.

    Keep `ids` to some dozens: a server's day takes some ms and 100 kB. Servers that are gone are
    passed over.
    """
    alive, planned = _hold(session, ids)
    first = first_slot(day)
    known = _packed(session, day, alive)
    new: list[Row] = []
    changed: list[Row] = []
    for (server_id, _number), raw in raw_days(session, alive, first, first + DAY_SLOTS).items():
        slots = with_raw(known.get(server_id), raw)
        if slots is not known.get(server_id):
            row = day_row(server_id, day, slots, due(spans(planned[server_id]), first))
            (changed if server_id in known else new).append(row)
    _write(session, new, changed)
    return len(new) + len(changed)


def add(session: Session, given: Mapping[Key, Rows]) -> int:
    """Add pings that were measured elsewhere to packed days; return how many slots are new.

    A slot that has a ping keeps it, also where `data` holds it; its raw rows are packed along. Keep
    it to a hundred days or so. Days of servers that are gone are passed over.
    """
    if not given:
        return 0
    alive, planned = _hold(session, {server_id for server_id, _day in given})
    known, raw = _packed_of(session, given), _raw_of(session, given)
    before = {
        key: merged(known.get(key), raw[key]) if key in raw else known.get(key) for key in given
    }
    after = {key: merged(before[key], rows) for key, rows in given.items() if key[0] in set(alive)}
    written = {
        key: day_row(*key, slots, due(spans(planned.get(key[0], [])), first_slot(key[1])))
        for key, slots in after.items()
        if slots is not known.get(key)
    }
    new = [row for key, row in written.items() if key not in known]
    _write(session, new, [row for key, row in written.items() if key in known])
    return sum(_count(slots) - _count(before[key]) for key, slots in after.items())


def _count(slots: Slots | None) -> int:
    return slots.observed.bit_count() if slots else 0


def _packed_of(session: Session, keys: Collection[Key]) -> dict[Key, Slots]:
    found = session.execute(
        select(DAY.c.server_id, DAY.c.date, DAY.c.packed).where(
            tuple_(DAY.c.server_id, DAY.c.date).in_(keys)
        )
    )
    return {(server_id, day): Slots(packed) for server_id, day, packed in found}


def _raw_of(session: Session, keys: Iterable[Key]) -> dict[Key, Rows]:
    """Return what `data` holds of these days. One statement."""
    firsts = [(server_id, slot_time(first_slot(day))) for server_id, day in keys]
    rows = [[server_id, *map(microseconds, (day, day + A_DAY))] for server_id, day in firsts]
    found = by_day(session, RAW_OF, {"rows": json.dumps(rows)})
    return {(server_id, date_of_day(number)): raw for (server_id, number), raw in found.items()}


def _raw_of_days() -> FromClause:
    given = incoming({"server_id": BigInteger(), "first": BigInteger(), "end": BigInteger()})
    of_day = and_(
        DATA.c.server_id == given.c.server_id,
        DATA.c.datetime >= time_at(given.c.first),
        DATA.c.datetime < time_at(given.c.end),
    )
    return select(DATA).join_from(given, DATA, of_day).subquery()


RAW_OF = _raw_of_days()


def recount(session: Session, server_id: int, last: date) -> None:
    """Count anew what was due on a server's days up to `last`: more was than they knew."""
    _alive, planned = _hold(session, [server_id])
    known = spans(planned.get(server_id, []))
    found = session.execute(
        select(DAY.c.date, DAY.c.held, DAY.c.unobserved)
        .where(DAY.c.server_id == server_id, DAY.c.date <= last)
        .order_by(DAY.c.date)
    ).all()
    unobserved = {
        day: (due(known, first_slot(day)) & ~int(held, 16)).bit_count() for day, held, _was in found
    }
    rows = [
        {"server_id": server_id, "date": day, "unobserved": unobserved[day]}
        for day, _held, was in found
        if unobserved[day] != was
    ]
    _update(session, rows)


def _write(session: Session, new: Sequence[Row], changed: Sequence[Row]) -> None:
    if new:
        # RETURNING makes it few statements; without it pg8000 sends one for each row.
        session.execute(insert(DAY).return_defaults(DAY.c.server_id), new)
    _update(session, changed)


def _update(session: Session, rows: Sequence[Row]) -> None:
    if rows:
        keys = [{"of_server": row["server_id"], "of_date": row["date"]} for row in rows]
        session.execute(UPDATE_DAY, [row | key for row, key in zip(rows, keys, strict=True)])


def _hold(session: Session, ids: Collection[int]) -> tuple[Sequence[int], dict[int, list[Planned]]]:
    """Hold the days of these servers; return the ids of those that are there, and schedules."""
    # A server's row is locked first, against its deletion only, then its schedule, which nobody
    # but packers locks: packers wait for each other, a deletion for the packer, a round for nobody.
    # SQLite has one writer and needs no such lock.
    alive = session.scalars(
        select(Server.id)
        .where(Server.id.in_(ids))
        .order_by(Server.id)
        .with_for_update(read=True, key_share=True)
    ).all()
    return alive, by_server(session, schedule_rows(alive).with_for_update())


def _packed(session: Session, day: date, ids: Sequence[int]) -> dict[int, Slots]:
    found = session.execute(
        select(DAY.c.server_id, DAY.c.packed).where(DAY.c.server_id.in_(ids), DAY.c.date == day)
    )
    return {server_id: Slots(packed) for server_id, packed in found}


def day_row(server_id: int, day: date, slots: Slots, was_due: int) -> Row:
    """Return a row of `day`: what it holds and what it adds up to."""
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
    packed = exists().where(DAY.c.server_id == DATA.c.server_id, DAY.c.date == day, is_held(minute))
    gone = delete(DATA).where(*_between(first + low, first + high), packed)
    return session.connection().execute(gone).rowcount


def forget_days(session: Session, before: date, ids: Sequence[int], limit: int) -> int:
    """Delete these servers' days before that date, at most so many; return how many."""
    _hold(session, ids)
    key = DAY.c.server_id, DAY.c.date
    old = select(*key).where(DAY.c.server_id.in_(ids), DAY.c.date < before)
    gone = delete(DAY).where(tuple_(*key).in_(old.order_by(*key).limit(limit)))
    return session.connection().execute(gone).rowcount


def _between(first: int, end: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return DATA.c.datetime >= slot_time(first), DATA.c.datetime < slot_time(end)
