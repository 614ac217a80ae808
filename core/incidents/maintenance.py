"""Maintenance: planned work is made, changed and removed; its times are laid down as ranges.

Ranges are what counts (core/servers/exempt.py). They repeat what held, and what is past of them
stays: whoever changes or removes a maintenance changes what is to come. What comes again and again
is laid down 90 days ahead, each night a day more.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import UNSET, json
from msgspec.structs import asdict, replace
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Executable,
    Row,
    Select,
    String,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from core.errors import MaintenanceUnknown
from core.history.figures import window_slots
from core.incidents.maintenance_records import (
    Between,
    HeldRange,
    HeldRanges,
    Maintenance,
    MaintenanceChange,
    MaintenancePage,
    MaintenanceQuery,
    MaintenanceWanted,
    MaintenanceWhen,
)
from core.incidents.maintenance_times import AHEAD, between, check, minute_after, once
from core.models import LARGEST_ID, MAINTENANCE, MAINTENANCE_RANGE, StoredMaintenance
from core.reading import NAME_LENGTH, kept_name, plain_text
from core.servers.criteria import Criteria
from core.servers.exempt import Range, ranges
from core.slots import slot_of, slot_time
from core.sql import as_rows, incoming, time_at, written

MOST_HELD = 1_000
"""Ranges of a server that one answer shows, the newest."""


def page(session: Session, wanted: MaintenanceQuery, now: datetime) -> MaintenancePage:
    """Return the page of maintenance that `wanted` asks for, the newest first. One statement."""
    is_over = MAINTENANCE.c.ends <= now
    asked = [is_over if wanted.over else or_(MAINTENANCE.c.ends.is_(None), ~is_over)]
    if isinstance(wanted.before, int):
        asked.append(MAINTENANCE.c.id < min(wanted.before, LARGEST_ID))
    query = _query(now).where(*asked).order_by(MAINTENANCE.c.id.desc())
    found = session.execute(query.limit(wanted.limit + 1)).all()
    shown = [_maintenance(row) for row in found[: wanted.limit]]
    return MaintenancePage(
        maintenance=shown, next=shown[-1].id if len(found) > len(shown) else None
    )


def told(session: Session, maintenance_id: int, now: datetime) -> Maintenance:
    """Return a maintenance. One statement. Raises MaintenanceUnknown."""
    return _maintenance(_row(session, maintenance_id, _query(now)))


def make(session: Session, wanted: MaintenanceWanted, who: str | None, now: datetime) -> int:
    """Make a maintenance; return its id. It holds from the slot we are in at the earliest.

    Raises WrongRequest.
    """
    check(wanted.when, now)
    wanted = _checked(wanted)
    row = StoredMaintenance(**_columns(wanted), made=now, made_by=who, planned=now)
    session.add(row)
    session.flush()
    _lay_down(session, row.id, wanted, slot_of(now), now)
    return row.id


def change(session: Session, maintenance_id: int, wanted: MaintenanceChange, now: datetime) -> None:
    """Have a maintenance otherwise from the next slot on.

    Raises MaintenanceUnknown, WrongRequest.
    """
    row = _row(session, maintenance_id, select(MAINTENANCE).with_for_update())
    if isinstance(wanted.when, MaintenanceWhen):
        check(wanted.when, now)
    said = {name: value for name, value in asdict(wanted).items() if value is not UNSET}
    anew = _checked(replace(_wanted(row), **said))
    _cut(session, maintenance_id, now)
    of_it = MAINTENANCE.c.id == maintenance_id
    session.execute(update(MAINTENANCE).where(of_it).values(**_columns(anew)))
    _lay_down(session, maintenance_id, anew, minute_after(now), now)


def remove(session: Session, maintenance_id: int, now: datetime) -> None:
    """Remove a maintenance: what it holds ends with the slot we are in.

    Raises MaintenanceUnknown.
    """
    _row(session, maintenance_id, select(MAINTENANCE).with_for_update())
    _cut(session, maintenance_id, now)
    session.execute(delete(MAINTENANCE).where(MAINTENANCE.c.id == maintenance_id))


def extend(session: Session, now: datetime) -> int:
    """Lay down what comes again up to 90 days ahead; return how many maintenances went on.

    Two at once do it once.
    """
    again = and_(MAINTENANCE.c.ends.is_(None), MAINTENANCE.c.planned < now + AHEAD)
    rows = session.execute(
        select(MAINTENANCE).where(again).order_by(MAINTENANCE.c.id).with_for_update()
    ).all()
    for row in rows:
        wanted = _wanted(row)
        _insert(session, row.id, wanted, between(wanted.when, row.planned, now + AHEAD))
        _note_planned(session, row.id, now)
    return len(rows)


def forget(session: Session, before: datetime) -> int:
    """Delete ranges that ended before that time, and what is over and has none left.

    Returns how many ranges went.
    """
    gone = written(session, delete(MAINTENANCE_RANGE).where(MAINTENANCE_RANGE.c.until < before))
    left = exists().where(MAINTENANCE_RANGE.c.maintenance_id == MAINTENANCE.c.id)
    session.execute(delete(MAINTENANCE).where(MAINTENANCE.c.ends < before, ~left))
    return gone


def held_in(
    session: Session, ids: Sequence[int], window: tuple[datetime, datetime]
) -> dict[int, HeldRanges]:
    """Return what holds each of these servers in a window. Four statements at most.

    Raises WrongRequest for an empty window or a too long one.
    """
    first, end = window_slots(*window)
    found = ranges(session, ids, first, end)
    return {
        server_id: HeldRanges(
            since=slot_time(first),
            until=slot_time(end),
            ranges=[_held(one) for one in found.get(server_id, ())[-MOST_HELD:]],
            left_off=max(len(found.get(server_id, ())) - MOST_HELD, 0),
        )
        for server_id in ids
    }


def _held(one: Range) -> HeldRange:
    return HeldRange(
        since=slot_time(one.first),
        until=slot_time(one.end),
        id=one.maintenance_id,
        name=one.name,
        counts=one.counts,
    )


def _checked(wanted: MaintenanceWanted) -> MaintenanceWanted:
    name = kept_name(plain_text(wanted.name, "name", NAME_LENGTH), "name", NAME_LENGTH)
    return replace(wanted, name=name)


def _columns(wanted: MaintenanceWanted) -> dict[str, Any]:
    ends = once(wanted.when).until if wanted.when.since else None
    return _said(wanted) | {"plan": _json(wanted.when), "ends": ends}


def _said(wanted: MaintenanceWanted) -> dict[str, Any]:
    """What ranges repeat of their maintenance."""
    return {"name": wanted.name, "criteria": _json(wanted.whom), "counts": wanted.counts}


def _json(value: object) -> str:
    return json.encode(value).decode()


def _wanted(row: Row[*tuple[Any, ...]]) -> MaintenanceWanted:
    return MaintenanceWanted(
        name=row.name,
        whom=json.decode(row.criteria, type=Criteria),
        when=json.decode(row.plan, type=MaintenanceWhen),
        counts=row.counts,
    )


def _row(
    session: Session, maintenance_id: int, query: Select[*tuple[Any, ...]]
) -> Row[*tuple[Any, ...]]:
    found = session.execute(
        query.where(MAINTENANCE.c.id == min(maintenance_id, LARGEST_ID))
    ).first()
    if found is None:
        raise MaintenanceUnknown(maintenance_id)
    return found


def _query(now: datetime) -> Select[*tuple[Any, ...]]:
    """Select maintenance with what it holds now or holds next."""
    held = MAINTENANCE_RANGE.c
    left = and_(held.maintenance_id == MAINTENANCE.c.id, held.until > now)
    next_of = select(held.since, held.until).where(left).order_by(held.until).limit(1)
    since, until = (
        next_of.with_only_columns(column).scalar_subquery() for column in (held.since, held.until)
    )
    return select(MAINTENANCE, since.label("next_since"), until.label("next_until"))


def _maintenance(row: Row[*tuple[Any, ...]]) -> Maintenance:
    wanted = _wanted(row)
    is_left = row.next_since is not None
    return Maintenance(
        id=row.id,
        name=wanted.name,
        whom=wanted.whom,
        when=wanted.when,
        counts=wanted.counts,
        made=row.made,
        made_by=row.made_by,
        next=Between(since=row.next_since, until=row.next_until) if is_left else None,
    )


def _cut(session: Session, maintenance_id: int, now: datetime) -> None:
    """End what a maintenance holds with the slot we are in, and take back what is to come."""
    edge = minute_after(now)
    held = MAINTENANCE_RANGE.c
    of_it = held.maintenance_id == maintenance_id
    session.execute(delete(MAINTENANCE_RANGE).where(of_it, held.since >= edge))
    session.execute(update(MAINTENANCE_RANGE).where(of_it, held.until > edge).values(until=edge))


def _lay_down(
    session: Session,
    maintenance_id: int,
    wanted: MaintenanceWanted,
    first: datetime,
    now: datetime,
) -> None:
    """Lay down what it holds from the slot `first` on, also what has begun already."""
    when = wanted.when
    if when.since:
        found: Iterable[Between] = [once(when)]
    else:
        lasts = timedelta(minutes=when.duration_m or 0)
        found = between(when, first - lasts, now + AHEAD)
    left = [
        Between(since=max(one.since, first), until=one.until) for one in found if one.until > first
    ]
    _insert(session, maintenance_id, wanted, left)
    _note_planned(session, maintenance_id, now)


def _note_planned(session: Session, maintenance_id: int, now: datetime) -> None:
    of_it = MAINTENANCE.c.id == maintenance_id
    session.execute(update(MAINTENANCE).where(of_it).values(planned=now + AHEAD))


def _insert(
    session: Session, maintenance_id: int, wanted: MaintenanceWanted, held: Iterable[Between]
) -> None:
    rows = as_rows((one.since, one.until) for one in held)
    session.execute(INSERT, {"rows": rows, "of": maintenance_id, **_said(wanted)})


def _insertion() -> Executable:
    given = incoming({"since": BigInteger(), "until": BigInteger()})
    said: dict[str, ColumnElement[Any]] = {
        "maintenance_id": bindparam("of", type_=BigInteger()),
        "since": time_at(given.c.since),
        "until": time_at(given.c.until),
        "name": bindparam("name", type_=String()),
        "criteria": bindparam("criteria", type_=String()),
        "counts": bindparam("counts", type_=Boolean()),
    }
    rows = select(*said.values()).select_from(given).order_by(given.c.since)
    return insert(MAINTENANCE_RANGE).from_select(list(said), rows)


INSERT = _insertion()
