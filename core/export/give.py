"""Everything an instance knows, page by page.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import BigInteger, Date, select, tuple_
from sqlalchemy.orm import Session

from core.checks.records import Probe
from core.export.records import KeptDay, KeptServer, LastPing, Place
from core.history import days, slices
from core.history.codec import Rows, Slots, merged
from core.models import DATA, DAY, Server
from core.servers import schedule
from core.servers.schedule import Planned
from core.slots import DAY_SLOTS, date_of, first_slot, slot_time
from core.sql import UtcDateTime

SERVERS_AT_ONCE = 1_000
RAW_AT_ONCE = 20_000
DAYS_AT_ONCE = 30


def servers_from(session: Session, server_id: int) -> list[KeptServer]:
    """Return the next SERVERS_AT_ONCE servers from that id on. Two statements."""
    found = session.scalars(
        select(Server).where(Server.id >= server_id).order_by(Server.id).limit(SERVERS_AT_ONCE)
    ).all()
    schedules = schedule.schedules(session, [server.id for server in found])
    return [_kept_server(server, schedules.get(server.id, [])) for server in found]


def _kept_server(server: Server, schedule: Sequence[Planned]) -> KeptServer:
    last_ping = None
    if server.last_slot is not None:
        sent, received = server.last_sent or 0, server.last_received or 0
        last_ping = LastPing(server.last_slot, server.last_ms, sent, received)
    return KeptServer(
        server_id=server.id,
        name=server.name,
        ip=server.ip,
        probe=Probe(server.probe),
        port=server.port,
        last_port=server.last_port,
        added=server.added,
        last_ping=last_ping,
        schedule=schedule,
    )


def days_from(session: Session, place: Place) -> tuple[list[KeptDay], Place | None]:
    """Return the next days that hold pings, wherever they are kept, and where to go on then.

    Three statements. A server that was deleted meanwhile is passed over.
    """
    raw, raw_end = _raw_from(session, place)
    stored, stored_end = _stored_from(session, place)
    ends = [end for end in (raw_end, stored_end) if end is not None]
    whole = [key for key in sorted(raw.keys() | stored.keys()) if not ends or key < min(ends)]
    names = _names(session, {server_id for server_id, _ in whole})
    found = [
        KeptDay(server_id, names[server_id], date_of(day * DAY_SLOTS), list(pings))
        for server_id, day in whole
        if server_id in names
        for pings in [slices.kept(day * DAY_SLOTS, _slots(stored, raw, (server_id, day)))]
    ]
    return found, Place(*min(ends), place.last_id) if ends else None


Key = tuple[int, int]
"""A server's id and a day's number."""


def _slots(stored: Mapping[Key, Slots], raw: Mapping[Key, Rows], key: Key) -> Slots:
    known = stored.get(key)
    if key in raw:
        return merged(known, raw[key])
    assert known is not None  # noqa: S101 (a key is of one or the other)
    return known


def _raw_from(session: Session, place: Place) -> tuple[dict[Key, Rows], Key | None]:
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


def _stored_from(session: Session, place: Place) -> tuple[dict[Key, Slots], Key | None]:
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
