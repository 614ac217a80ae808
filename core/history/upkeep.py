"""Packing days, and removing what is older than is kept: days.py says why nothing is lost.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import (
    ColumnElement,
    Integer,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Session

from core.history.codec import Slots
from core.history.days import MINUTE, is_held, raw_days, with_raw
from core.history.sums import totals
from core.models import DATA, DAY, Server
from core.servers.schedule import by_server, due, schedule_rows, spans
from core.slots import DAY_SLOTS, first_slot, slot_time


def pack(session: Session, day: date, ids: Sequence[int]) -> int:
    """Add what `data` holds of these servers' day to their packed days; return how many changed.

    Keep `ids` to some dozens: a server's day takes some ms and 100 kB. Servers that are gone are
    passed over.
    """
    alive = _lock(session, ids)
    planned = by_server(session, schedule_rows(alive).with_for_update())
    first = first_slot(day)
    known = _packed(session, day, alive)
    new: list[dict[str, object]] = []
    changed: list[dict[str, object]] = []
    for (server_id, _number), raw in raw_days(session, alive, first, first + DAY_SLOTS).items():
        slots = with_raw(known.get(server_id), raw)
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
    planned = by_server(session, schedule_rows(alive).with_for_update())
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


def forget_days(session: Session, before: date, ids: Sequence[int]) -> int:
    """Delete these servers' days before that date; return how many."""
    gone = delete(DAY).where(DAY.c.server_id.in_(ids), DAY.c.date < before)
    return session.connection().execute(gone).rowcount


def _between(first: int, end: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return DATA.c.datetime >= slot_time(first), DATA.c.datetime < slot_time(end)
