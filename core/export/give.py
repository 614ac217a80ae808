"""Everything an instance knows, page by page.

Every function takes a session inside a transaction that its caller ends.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate

import msgspec
from sqlalchemy import BigInteger, Date, and_, select, tuple_
from sqlalchemy.orm import Session

from core.errors import WrongRequest
from core.export.records import (
    PLAIN,
    Cursor,
    DayKept,
    Exported,
    LastPingKept,
    ParentCursor,
    ParentKept,
    PlannedKept,
    ServerKept,
)
from core.history import days, slices
from core.history.codec import Rows, Slots, merged
from core.models import DATA, DAY, PARENT, Schedule, Server
from core.servers import lists, parents, schedule, tags
from core.servers.records import FIELDS, LIMIT
from core.servers.schedule import Planned, in_force_or_first
from core.slots import DAY_SLOTS, date_of, first_slot, slot_time
from core.sql import UtcDateTime

SERVERS_AT_ONCE = 1_000
RAW_AT_ONCE = 20_000
DAYS_AT_ONCE = 30
TABLES = {"server": Server, "schedule": Schedule}
COLUMNS = {
    field.name: getattr(TABLES[field.table], field.name)
    for field in FIELDS
    if field.table in TABLES
} | {"parent": parents.BEHIND.name}
"""Of a server's fields, those that stand in one row with it."""
WRONG_CURSOR = "after must be the `next` of a previous page"
BUDGET = 900_000
"""Octets of a page: with its frame it stays below the limit of a body, so it can be imported."""


Key = tuple[int, int]
"""A server's id and a day's number."""
Kept = ServerKept | ParentKept | DayKept
Place = int | ParentCursor | Cursor
"""From which server on, among servers, parents or days."""


def page(session: Session, after: str) -> Exported:
    """Return the page that begins at a cursor, the `next` of the previous page; empty: the first.

    Raises WrongRequest for a cursor that no page gave.
    """
    kept: list[Kept] = []
    size = 0
    for item, cursor in _items(session, after):
        size += len(msgspec.json.encode(item))
        if item is None or (kept and size > BUDGET):
            return _page(kept, cursor)
        kept.append(item)
    return _page(kept, None)


def _page(kept: Sequence[Kept], after: str | None) -> Exported:
    return Exported(
        servers=[one for one in kept if isinstance(one, ServerKept)],
        parents=[one for one in kept if isinstance(one, ParentKept)],
        days=[one for one in kept if isinstance(one, DayKept)],
        next=after,
    )


def plain_page(session: Session, after: str, now: datetime) -> tuple[bytes, str | None]:
    """Return the servers from a cursor on as a CSV list, and the cursor that follows, if any.

    Their history isn't in it. Raises WrongRequest for a cursor that no page gave.
    """
    place = _read_cursor(after)
    if not isinstance(place, int):
        raise WrongRequest(WRONG_CURSOR, "after", got=after)
    servers = plain(session, now, place, LIMIT + 1)
    # No field holds a line's end: a line is a server.
    header, *lines = lists.to_csv(servers.values()).encode().splitlines(keepends=True)
    sizes = accumulate(map(len, lines[:LIMIT]))
    fitting = max(1, sum(size <= BUDGET for size in sizes))
    after_it = [str(server_id) for server_id in list(servers)[fitting:]]
    return b"".join([header, *lines[:fitting]]), after_it[0] if after_it else None


def plain(
    session: Session, now: datetime, first_id: int = 0, limit: int | None = None
) -> dict[int, dict[str, object]]:
    """Return the servers from that id on as they can be wanted elsewhere, by id. Two statements.

    Each has a value for every one of records.FIELDS; interval and pause are those in force.
    """
    query = (
        select(Server.id, *COLUMNS.values())
        .select_from(Server)
        .outerjoin(Schedule, and_(Schedule.server_id == Server.id, in_force_or_first()))
        .where(Server.id >= first_id)
        .order_by(Server.id)
        .limit(limit)
    )
    rows = session.execute(parents.with_parent(query), {"now": now}).all()
    tagged = tags.of(session, [row[0] for row in rows])
    return {
        server_id: dict(zip(COLUMNS, values, strict=True)) | {"tags": tagged.get(server_id)}
        for server_id, *values in rows
    }


def _items(session: Session, after: str) -> Iterator[tuple[Kept | None, str]]:
    """Servers, parents, days, each with the cursor that begins with it; None: look there next."""
    place = _read_cursor(after)
    while isinstance(place, int):
        servers = _servers_from(session, place)
        yield from ((server, str(server_id)) for server_id, server in servers.items())
        last_id = max(servers, default=place - 1)
        place = last_id + 1 if len(servers) == SERVERS_AT_ONCE else ParentCursor(0, last_id)
    while isinstance(place, ParentCursor):
        behind = _parents_from(session, place)
        for server_id, parent in behind.items():
            yield parent, _cursor(ParentCursor(server_id, place.last_id))
        is_all = len(behind) < SERVERS_AT_ONCE
        place = (
            Cursor(0, 0, place.last_id) if is_all else ParentCursor(max(behind) + 1, place.last_id)
        )
    found, further = _days_from(session, place)
    for (server_id, day), kept in found.items():
        yield kept, _cursor(Cursor(server_id, day, place.last_id))
    if further is not None:
        yield None, _cursor(further)


def _cursor(place: Cursor | ParentCursor) -> str:
    return ".".join(map(str, place))


def _read_cursor(after: str) -> Place:
    """A server's id, or a place among the parents or the days."""
    if not after:
        return 0
    numbers = after.split(".")
    if not all(re.fullmatch(r"[0-9]{1,18}", number, re.ASCII) for number in numbers):
        raise WrongRequest(WRONG_CURSOR, "after", got=after)
    match [int(number) for number in numbers]:
        case [server_id]:
            return server_id
        case [server_id, last_id]:
            return ParentCursor(server_id, last_id)
        case [server_id, day, last_id] if day < 2_900_000:
            return Cursor(server_id, day, last_id)
    raise WrongRequest(WRONG_CURSOR, "after", got=after)


def _servers_from(session: Session, server_id: int) -> dict[int, ServerKept]:
    """The next SERVERS_AT_ONCE servers from that id on, by id. Three statements."""
    found = session.scalars(
        select(Server).where(Server.id >= server_id).order_by(Server.id).limit(SERVERS_AT_ONCE)
    ).all()
    ids = [server.id for server in found]
    schedules, tagged = schedule.schedules(session, ids), tags.of(session, ids)
    return {
        server.id: _kept_server(
            server, schedules.get(server.id, []), tuple(tagged.get(server.id, []))
        )
        for server in found
    }


def _kept_server(server: Server, planned: Sequence[Planned], tagged: tuple[str, ...]) -> ServerKept:
    return ServerKept(
        **{name: getattr(server, name) for name in PLAIN},
        tags=tagged,
        last_ping=_last_ping(server),
        schedule=[PlannedKept(**row._asdict()) for row in planned],
    )


def _last_ping(server: Server) -> LastPingKept | None:
    if server.last_slot is None:
        return None
    return LastPingKept(
        slot=server.last_slot,
        response_ms=server.last_ms,
        sent=server.last_sent or 0,
        received=server.last_received or 0,
    )


def _parents_from(session: Session, place: ParentCursor) -> dict[int, ParentKept]:
    """The parents of the next SERVERS_AT_ONCE servers that have one, by id. One statement."""
    found = session.execute(
        parents.LINKS.where(PARENT.c.server_id.between(place.server_id, place.last_id))
        .where(PARENT.c.parent_id <= place.last_id)  # later ones were on no page
        .order_by(PARENT.c.server_id)
        .limit(SERVERS_AT_ONCE)
    )
    return {server_id: ParentKept(server=name, parent=parent) for server_id, name, parent in found}


def _days_from(session: Session, place: Cursor) -> tuple[dict[Key, DayKept], Cursor | None]:
    """The next days that hold pings, wherever they are kept, and where to go on then.

    Three statements. A server that was deleted meanwhile is passed over.
    """
    raw, raw_end = _raw_from(session, place)
    stored, stored_end = _stored_from(session, place)
    ends = [end for end in (raw_end, stored_end) if end is not None]
    whole = [key for key in sorted(raw.keys() | stored.keys()) if not ends or key < min(ends)]
    names = _names(session, {server_id for server_id, _ in whole})
    found = {
        key: _kept_day(names[key[0]], key[1], _slots(stored, raw, key))
        for key in whole
        if key[0] in names
    }
    return found, Cursor(*min(ends), place.last_id) if ends else None


def _kept_day(server: str, day: int, slots: Slots) -> DayKept:
    # Counted from 0, a slot's number is its minute of the day.
    pings = list(slices.kept(0, slots))
    return DayKept(server=server, date=date_of(day * DAY_SLOTS), pings=pings)


def _slots(stored: Mapping[Key, Slots], raw: Mapping[Key, Rows], key: Key) -> Slots:
    if key in raw:
        return merged(stored.get(key), raw[key])
    return stored[key]


def _raw_from(session: Session, place: Cursor) -> tuple[dict[Key, Rows], Key | None]:
    """The next raw rows by server and day, and the first day that may not be whole."""
    start = tuple_(
        place.server_id,
        slot_time(place.day * DAY_SLOTS),
        types=[BigInteger(), UtcDateTime()],
    )
    rows = (
        select(DATA)
        .where(tuple_(DATA.c.server_id, DATA.c.datetime) >= start)
        .where(DATA.c.server_id <= place.last_id)
        .order_by(DATA.c.server_id, DATA.c.datetime)
        .limit(RAW_AT_ONCE)
        .subquery()
    )
    found = days.by_day(session, rows)
    is_all = sum(len(one.minutes) for one in found.values()) < RAW_AT_ONCE
    return found, None if is_all else max(found)


def _stored_from(session: Session, place: Cursor) -> tuple[dict[Key, Slots], Key | None]:
    """The next packed days, and the first one that wasn't looked at."""
    start = tuple_(place.server_id, date_of(place.day * DAY_SLOTS), types=[BigInteger(), Date()])
    rows = session.execute(
        select(DAY.c.server_id, DAY.c.date, DAY.c.packed)
        .where(tuple_(DAY.c.server_id, DAY.c.date) >= start)
        .where(DAY.c.server_id <= place.last_id)
        .order_by(DAY.c.server_id, DAY.c.date)
        .limit(DAYS_AT_ONCE)
    ).all()
    found = {
        (server_id, first_slot(day) // DAY_SLOTS): Slots(packed) for server_id, day, packed in rows
    }
    if len(rows) < DAYS_AT_ONCE:
        return found, None
    server_id, day = max(found)
    return found, (server_id, day + 1)


def _names(session: Session, ids: Iterable[int]) -> dict[int, str]:
    rows = session.execute(select(Server.id, Server.name).where(Server.id.in_(list(ids))))
    return {row.id: row.name for row in rows}
