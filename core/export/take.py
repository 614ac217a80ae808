"""What another instance knew, added to this one.

Every function takes a session inside a transaction that its caller ends.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    Executable,
    Integer,
    SmallInteger,
    String,
    exists,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import WrongRequest
from core.export.records import KeptDay, KeptServer, Taken
from core.history import upkeep
from core.models import DATA, DAY, SCHEDULE, SERVER, Server
from core.servers.change import insert_servers, refuse_address
from core.servers.schedule import Planned
from core.settings import Settings
from core.slots import DAY_SLOTS, first_slot, slot_time
from core.sql import incoming, microseconds, time_at

RAW_DAYS = 2
"""Days that lie further back than this are packed as they come in: `data` stays small."""


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
        upkeep.recount(session, server_id, began[server_id].date())
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
        upkeep.pack(session, day_date, sorted(ids))
        upkeep.forget_pings(session, day_date, 0, DAY_SLOTS)


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
