"""Everything an instance knows, out of one database and into another: servers and their pings.

Every function takes a session inside a transaction that its caller ends.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    Double,
    Executable,
    Integer,
    SmallInteger,
    String,
    exists,
    func,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core import days, models
from core.days import Kept
from core.errors import WrongRequest
from core.fleet import SCHEDULE, SERVER, incoming, insert_servers, microseconds
from core.models import Server, UtcDateTime, time_at
from core.schema import Probe
from core.servers import refuse_address
from core.settings import Settings
from core.slots import (
    DAY_SLOTS,
    Planned,
    Rows,
    Slots,
    date_of,
    first_slot,
    merged,
    slot_time,
)

DATA = models.Base.metadata.tables["data"]
DAY = models.Base.metadata.tables["day"]
RAW_DAYS = 2
"""Days that lie further back than this are packed as they come in: `data` stays small."""

SERVERS_AT_ONCE = 1_000
RAW_AT_ONCE = 20_000
DAYS_AT_ONCE = 30


class LastPing(NamedTuple):
    """A server's newest ping, as its `last_*` columns have it."""

    slot: datetime
    response_ms: float | None
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class KeptServer:
    """A server with its schedule, oldest row first. `server_id` means nothing elsewhere."""

    server_id: int
    name: str
    ip: str
    probe: Probe
    port: int | None
    last_port: int | None
    added: datetime
    last_ping: LastPing | None
    schedule: Sequence[Planned]


@dataclass(frozen=True, slots=True)
class KeptDay:
    """The pings of one server's day, by their slots' numbers, in order."""

    server_id: int
    server: str
    date: date
    pings: Sequence[Kept]


class Place(NamedTuple):
    """Where in the days to go on: those of the servers up to `last_id`, by server, by day."""

    server_id: int
    day: int  # days since 1970
    last_id: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What an import added; what was there already isn't in it."""

    servers: int
    schedules: int
    pings: int


# Out


def servers_from(session: Session, server_id: int) -> list[KeptServer]:
    """Return the next SERVERS_AT_ONCE servers from that id on. Two statements."""
    found = session.scalars(
        select(Server).where(Server.id >= server_id).order_by(Server.id).limit(SERVERS_AT_ONCE)
    ).all()
    schedules = days.schedules(session, [server.id for server in found])
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
        for pings in [days.kept(day * DAY_SLOTS, _slots(stored, raw, (server_id, day)))]
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


# In


def take(
    session: Session,
    servers: Sequence[KeptServer],
    pings: Sequence[KeptDay],
    settings: Settings,
    now: datetime,
) -> Taken:
    """Add what isn't here yet; what is here stays as it is, so taking twice changes nothing.

    Servers are known by their names. One that exists keeps its settings and its schedule; only
    what was due before its schedule begins is added. Raises WrongRequest for an address that may
    not be probed from here, and for pings of a server that nobody has.
    """
    for server in servers:
        refuse_address(server.ip, settings)
    added = insert_servers(session, map(_server_row, servers))
    ids = _ids(session, {one.name for one in servers} | {one.server for one in pings})
    began = _began(session, ids.values())
    planned = _planned(servers, ids, settings)
    schedules = session.scalars(TAKE_SCHEDULES, {"rows": planned}).all()
    for server_id in sorted(began.keys() & set(schedules)):
        days.recount(session, server_id, began[server_id].date())
    known = [_known(day, ids) for day in pings]
    rows = _ping_rows(known, _packed(session, known))
    new = session.scalars(TAKE_PINGS, {"rows": rows}).all()
    _pack(session, known, now)
    return Taken(len(added), len(schedules), len(new))


def _known(day: KeptDay, ids: Mapping[str, int]) -> KeptDay:
    if day.server not in ids:
        raise WrongRequest(
            f"no server is named {day.server!r}: import the pages in their order", "pings"
        )
    return replace(day, server_id=ids[day.server])


def _server_row(server: KeptServer) -> dict[str, object]:
    row = {name: getattr(server, name) for name in ("name", "ip", "probe", "port", "last_port")}
    row["datetime"] = server.added
    if server.last_ping is not None:
        heard = ("last_slot", "last_ms", "last_sent", "last_received")
        row |= zip(heard, server.last_ping, strict=True)
    return row


def _ids(session: Session, names: Iterable[str]) -> dict[str, int]:
    rows = json.dumps([[name] for name in names])
    return {row.name: row.id for row in session.execute(IDS, {"rows": rows})}


def _began(session: Session, ids: Iterable[int]) -> dict[int, datetime]:
    """When each of these servers' schedules begins so far. One statement."""
    first = select(SCHEDULE.c.server_id, func.min(SCHEDULE.c.since)).group_by(SCHEDULE.c.server_id)
    rows = session.execute(first.where(SCHEDULE.c.server_id.in_(list(ids))))
    return {row.server_id: row[1] for row in rows}


def _planned(servers: Sequence[KeptServer], ids: Mapping[str, int], settings: Settings) -> str:
    rows = [
        [ids[server.name], microseconds(since), interval_s, enabled]
        for server in servers
        # Without any schedule nothing would ever be due, and nothing could be changed.
        for since, interval_s, enabled in server.schedule
        or [Planned(server.added, settings.interval_s, True)]
    ]
    return json.dumps(rows)


def _packed(session: Session, pings: Sequence[KeptDay]) -> dict[tuple[int, date], int]:
    """The slots that these days hold already, as bits. One statement."""
    found = session.execute(
        select(DAY.c.server_id, DAY.c.date, DAY.c.held)
        .where(DAY.c.server_id.in_({day.server_id for day in pings}))
        .where(DAY.c.date.in_({day.date for day in pings}))
    )
    return {(server_id, day): int(held, 16) for server_id, day, held in found}


def _ping_rows(pings: Sequence[KeptDay], packed: Mapping[tuple[int, date], int]) -> str:
    rows = []
    for day in pings:
        first = first_slot(day.date)
        held = packed.get((day.server_id, day.date), 0)
        for slot, *heard in day.pings:
            if not held >> (slot - first) & 1:
                rows.append([day.server_id, microseconds(slot_time(slot)), *heard])
    return json.dumps(rows)


def _pack(session: Session, pings: Sequence[KeptDay], now: datetime) -> None:
    old = (now - timedelta(days=RAW_DAYS)).date()
    by_date: dict[date, set[int]] = defaultdict(set)
    for day in pings:
        if day.date < old:
            by_date[day.date].add(day.server_id)
    for day_date, ids in sorted(by_date.items()):
        days.pack(session, day_date, sorted(ids))
        days.forget_pings(session, day_date, 0, DAY_SLOTS)


def _ids_of() -> Executable:
    given = incoming({"name": String()})
    return select(Server.name, Server.id).where(Server.name.in_(select(given.c.name)))


def _take_schedules() -> Executable:
    given = incoming(
        {
            "server_id": BigInteger(),
            "since": BigInteger(),
            "interval_s": Integer(),
            "enabled": Boolean(),
        }
    )
    since = time_at(given.c.since)
    # What is due here from the first row on was decided here.
    decided = exists().where(SCHEDULE.c.server_id == given.c.server_id, SCHEDULE.c.since <= since)
    rows = select(given.c.server_id, since, given.c.interval_s, given.c.enabled).where(~decided)
    return (
        insert(SCHEDULE)
        .from_select(["server_id", "since", "interval_s", "enabled"], rows)
        .on_conflict_do_nothing()
        .returning(SCHEDULE.c.server_id)
    )


def _take_pings() -> Executable:
    given = incoming(
        {
            "server_id": BigInteger(),
            "datetime": BigInteger(),
            "response_time": Double(),
            "best_ms": Double(),
            "worst_ms": Double(),
            "sent": SmallInteger(),
            "received": SmallInteger(),
        }
    )
    columns = [column for column in given.c if column.name != "datetime"]
    # How it was probed is not kept for long: the server's own word stands for it.
    rows = (
        select(*columns, time_at(given.c.datetime), SERVER.c.probe)
        .join_from(given, SERVER, SERVER.c.id == given.c.server_id)
        .where(true())
    )
    names = [column.name for column in columns]
    return (
        insert(DATA)
        .from_select([*names, "datetime", "probe"], rows)
        .on_conflict_do_nothing()
        .returning(DATA.c.id)
    )


IDS = _ids_of()
TAKE_SCHEDULES = _take_schedules()
TAKE_PINGS = _take_pings()
