"""Servers: create, change, remove, one by one or many at once.

Every function takes a session inside a transaction that its caller ends. What takes many servers
makes the same few statements however many there are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Row,
    String,
    and_,
    case,
    delete,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.checks.records import Probe
from core.errors import IdUnknown, NameTaken, NameUnknown, WrongRequest
from core.models import LARGEST_ID, SERVER, Schedule, Server
from core.servers.find import by_id, by_name
from core.servers.records import Changes, Outcome, ServerRequest
from core.servers.schedule import MOMENT, in_force, planned_anew, put_plans, reschedule
from core.settings import Settings
from core.sql import UtcDateTime, incoming, microseconds, time_at


def create(session: Session, wanted: ServerRequest, settings: Settings, now: datetime) -> Server:
    """Add a server, due every `settings.interval_s` from now on.

    Raises NameTaken, or WrongRequest for an address that may not be probed from here.
    """
    refuse_address(wanted.ip, settings)
    server = Server(
        name=wanted.name,
        ip=wanted.ip,
        added=now,
        probe=wanted.probe or Probe.AUTO,
        port=wanted.port,
    )
    # No look before the insert: two requests at once would both see a free name. The index decides.
    try:
        with session.begin_nested():
            session.add(server)
    except IntegrityError:
        raise NameTaken(wanted.name) from None
    session.add(
        Schedule(server_id=server.id, since=now, interval_s=settings.interval_s, enabled=True)
    )
    return server


def add(session: Session, wanted: Changes, settings: Settings, now: datetime) -> Server:
    """Add a server as `create` does, with an interval of its own or paused if that is said.

    `wanted` has a name and an ip. Raises as `create` does.
    """
    request = ServerRequest(wanted["name"], wanted["ip"], wanted.get("probe"), wanted.get("port"))
    server = create(session, request, settings, now)
    interval_s, enabled = wanted.get("interval_s"), wanted.get("enabled")
    reschedule(session, server, interval_s=interval_s, enabled=enabled, now=now)
    return server


def change(session: Session, wanted: ServerRequest, settings: Settings) -> Server:
    """Give the server of that name another address (and probe and port, where they were said).

    Its history stays; what was last heard from the old address is forgotten. Raises NameUnknown,
    WrongRequest.
    """
    refuse_address(wanted.ip, settings)
    server = by_name(session, wanted.name, lock=True)
    _move(server, wanted.ip)
    server.probe = wanted.probe or server.probe
    server.port = wanted.port or server.port
    return server


def alter(
    session: Session, server_id: int, changes: Changes, settings: Settings, now: datetime
) -> Server:
    """Change what is said of the server of that id: also its name, its interval, or pause it.

    Raises IdUnknown, NameTaken, WrongRequest.
    """
    if "ip" in changes:
        refuse_address(changes["ip"], settings)
    server = by_id(session, server_id, lock=True)
    _move(server, changes.get("ip", server.ip))
    server.probe = changes.get("probe", server.probe)
    server.port = changes.get("port", server.port)
    _rename(session, server, changes.get("name", server.name))
    if "interval_s" in changes or "enabled" in changes:
        interval_s, enabled = changes.get("interval_s"), changes.get("enabled")
        reschedule(session, server, interval_s=interval_s, enabled=enabled, now=now)
    return server


def _move(server: Server, ip: str) -> None:
    if server.ip != ip:
        server.ip = ip
        server.last_slot = server.last_ms = server.last_sent = server.last_received = None
        server.last_port = None


def _rename(session: Session, server: Server, name: str) -> None:
    # As in create: the index decides.
    try:
        with session.begin_nested():
            server.name = name
    except IntegrityError:
        raise NameTaken(name) from None


def remove(session: Session, name: str) -> None:
    """Delete the server of that name and all its rows. Raises NameUnknown."""
    if session.scalar(delete(Server).where(Server.name == name).returning(Server.id)) is None:
        raise NameUnknown(name)


def remove_id(session: Session, server_id: int) -> None:
    """Delete the server of that id and all its rows. Raises IdUnknown."""
    known = min(server_id, LARGEST_ID)
    if session.scalar(delete(Server).where(Server.id == known).returning(Server.id)) is None:
        raise IdUnknown(server_id)


def refuse_address(ip: str, settings: Settings) -> None:
    """Raise WrongRequest for an address that may not be probed from here."""
    refusal = settings.address_rules.refusal(ip)
    if refusal:
        raise WrongRequest(refusal, "ip")


COLUMNS = {column.name: column.type for column in SERVER.columns if column.name != "id"}


def put(
    session: Session,
    wanted: Sequence[Changes | Outcome],
    settings: Settings,
    now: datetime,
    *,
    upsert: bool = False,
) -> list[Outcome]:
    """Add each server of `wanted`, or with `upsert` change it where its name exists.

    Each stands for itself and has its outcome, in their order; all of them have a name and an ip.
    One that couldn't be read comes with its outcome already.
    """
    outcomes = {place: one for place, one in enumerate(wanted) if isinstance(one, Outcome)}
    said = {place: one for place, one in enumerate(wanted) if not isinstance(one, Outcome)}
    outcomes |= _refusals(said, settings)
    places = {one["name"]: place for place, one in said.items() if place not in outcomes}
    added = _add(session, [said[place] for place in places.values()], settings, now)
    outcomes |= {places[name]: Outcome("CREATED", server_id) for name, server_id in added.items()}
    known = [said[place] for name, place in places.items() if name not in added]
    if upsert:
        changed = _change(session, known, now)
        outcomes |= {places[name]: outcome for name, outcome in changed.items()}
    else:
        outcomes |= {places[one["name"]]: _taken(one["name"]) for one in known}
    return [outcomes[place] for place in range(len(wanted))]


def _taken(name: str, detail: str = "") -> Outcome:
    return Outcome(NameTaken.status, detail=detail or str(NameTaken(name)), field="name")


def _refusals(wanted: Mapping[int, Changes], settings: Settings) -> dict[int, Outcome]:
    """What needs no database to be refused; of two that have one name, the first counts."""
    refused, seen = {}, set()
    for place, one in wanted.items():
        refusal = settings.address_rules.refusal(one["ip"])
        if refusal:
            refused[place] = Outcome(WrongRequest.status, detail=refusal, field="ip")
        elif one["name"] in seen:
            refused[place] = _taken(one["name"], "this name stands twice in the request")
        seen.add(one["name"])
    return refused


def _add(
    session: Session, wanted: Sequence[Changes], settings: Settings, now: datetime
) -> dict[str, int]:
    """Add those whose name is free; return the ids, by name. Two statements."""
    if not wanted:
        return {}
    ids = insert_servers(session, [{"datetime": now, "probe": Probe.AUTO, **one} for one in wanted])
    planned = [
        [ids[one["name"]], one.get("interval_s", settings.interval_s), one.get("enabled", True)]
        for one in wanted
        if one["name"] in ids
    ]
    put_plans(session, planned, now)
    return ids


def insert_servers(session: Session, rows: Iterable[Mapping[str, object]]) -> dict[str, int]:
    """Insert these rows of `server` whose name is free, as far as they have its columns.

    Returns the new ids, by name. One statement.
    """
    values = [[row.get(name) for name in COLUMNS] for row in rows]
    given = json.dumps(values, default=microseconds)
    return {row.name: row.id for row in session.execute(INSERT_SERVERS, {"rows": given})}


def _change(session: Session, wanted: Sequence[Changes], now: datetime) -> dict[str, Outcome]:
    """Change the servers of these names. Three statements, with the two that plan anew."""
    if not wanted:
        return {}
    by_name = {one["name"]: one for one in wanted}
    names = json.dumps([[name] for name in by_name])
    found = session.execute(_known(now), {"rows": names}).all()
    outcomes = {name: _gone(name) for name in by_name}
    altered, planned = [], []
    for row in found:
        change, plan = _altered(row, by_name[row.name]), planned_anew(row, by_name[row.name])
        altered += [change] if change else []
        planned += [plan] if plan else []
        outcomes[row.name] = Outcome("UPDATED" if change or plan else "UNCHANGED", row.id)
    if altered:
        session.execute(ALTER, {"rows": json.dumps(altered)})
    put_plans(session, planned, now)
    return outcomes


def _gone(name: str) -> Outcome:
    # It was there when we wanted to add it; whoever deleted it since came later.
    return Outcome("NAME_DID_NOT_FOUND", detail=f"{name!r} was deleted meanwhile", field="name")


def _altered(row: Row[Any], wanted: Changes) -> list[object] | None:
    now_is = [row.ip, row.probe, row.port]
    to_be = [wanted["ip"], wanted.get("probe", row.probe), wanted.get("port", row.port)]
    return None if now_is == to_be else [row.id, *to_be]


def _known(now: datetime) -> Executable:
    return (
        select(
            Server.id,
            Server.name,
            Server.ip,
            Server.probe,
            Server.port,
            Schedule.interval_s,
            Schedule.enabled,
        )
        .outerjoin(Schedule, and_(Schedule.server_id == Server.id, in_force(now + MOMENT)))
        .where(Server.name.in_(select(incoming({"name": String()}).c.name)))
        .order_by(Server.id)
        .with_for_update(key_share=True, of=Server)
    )


def _insert_servers() -> Executable:
    # A text isn't cut to its column's length: what is too long is an error.
    kinds: dict[type, TypeEngine[Any]] = {UtcDateTime: BigInteger(), String: String()}
    given = incoming({name: kinds.get(type(kind), kind) for name, kind in COLUMNS.items()})
    rows = select(
        *(
            time_at(given.c[name]) if isinstance(kind, UtcDateTime) else given.c[name]
            for name, kind in COLUMNS.items()
        )
    ).where(true())
    return (
        insert(SERVER)
        .from_select(list(COLUMNS), rows)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(SERVER.c.name, SERVER.c.id)
    )


def _alter() -> Executable:
    """Another address, probe or port; what was last heard from another address is forgotten."""
    given = incoming({"id": BigInteger(), "ip": String(), "probe": String(), "port": Integer()})
    moved = SERVER.c.ip != given.c.ip
    heard = ["last_slot", "last_ms", "last_sent", "last_received", "last_port"]
    return (
        update(SERVER)
        .where(SERVER.c.id == given.c.id)
        .values(
            ip=given.c.ip,
            probe=given.c.probe,
            port=given.c.port,
            **{name: case((moved, null()), else_=SERVER.c[name]) for name in heard},
        )
    )


INSERT_SERVERS = _insert_servers()
ALTER = _alter()
