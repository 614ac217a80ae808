"""Servers: create, change, remove, list; the targets of a round.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, and_, delete, func, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from core.errors import IdUnknown, NameTaken, NameUnknown, WrongRequest
from core.models import Schedule, Server
from core.schema import SLOT, Changes, Last, Probe, ServerRequest, State, Target
from core.settings import Settings

MOMENT = timedelta(microseconds=1)
LARGEST_ID = 2**63 - 1  # no database has larger ones


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
    server = find(session, wanted.name, lock=True)
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
    server = find_id(session, server_id, lock=True)
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


def reschedule(
    session: Session,
    server: Server,
    *,
    interval_s: int | None = None,
    enabled: bool | None = None,
    now: datetime,
) -> Schedule:
    """From `now` on, have the server pinged every `interval_s`, or pause it; None: as before.

    `interval_s` is whole minutes that divide a day (core.schema.interval_s reads it). What was due
    before `now` stays as it was. Returns the schedule in force.
    """
    before = session.scalars(
        select(Schedule)
        .where(Schedule.server_id == server.id)
        .order_by(Schedule.since.desc())
        .limit(1)
    ).one()
    # Two changes in one instant, or a clock that stepped back: the newer word counts, and no row
    # may lie before one that is there, or what was due before `now` would change.
    planned = before if before.since >= now else Schedule(server_id=server.id, since=now)
    planned.interval_s = before.interval_s if interval_s is None else interval_s
    planned.enabled = before.enabled if enabled is None else enabled
    session.add(planned)
    session.flush()
    return planned


def remove(session: Session, name: str) -> None:
    """Delete the server of that name and all its rows. Raises NameUnknown."""
    if session.scalar(delete(Server).where(Server.name == name).returning(Server.id)) is None:
        raise NameUnknown(name)


def remove_id(session: Session, server_id: int) -> None:
    """Delete the server of that id and all its rows. Raises IdUnknown."""
    known = min(server_id, LARGEST_ID)
    if session.scalar(delete(Server).where(Server.id == known).returning(Server.id)) is None:
        raise IdUnknown(server_id)


def find(session: Session, name: str, lock: bool = False) -> Server:
    """Return the server of that name. Raises NameUnknown.

    `lock` it before a change: else a round recorded between reading and writing stays in `last_*`.
    """
    query = select(Server).where(Server.name == name)
    if lock:
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    server = session.scalar(query)
    if server is None:
        raise NameUnknown(name)
    return server


def find_id(session: Session, server_id: int, lock: bool = False) -> Server:
    """Return the server of that id; `lock` it before a change. Raises IdUnknown."""
    server = None
    if server_id <= LARGEST_ID:
        server = session.get(
            Server, server_id, with_for_update={"key_share": True} if lock else None
        )
    if server is None:
        raise IdUnknown(server_id)
    return server


def existing(session: Session, wanted: Sequence[int]) -> Sequence[int]:
    """Return those of these ids that a server has, in order of creation."""
    possible = [server_id for server_id in wanted if server_id <= LARGEST_ID]
    return session.scalars(
        select(Server.id).where(Server.id.in_(possible)).order_by(Server.id)
    ).all()


def names(session: Session) -> Sequence[str]:
    """Return every server's name, in order of creation."""
    return session.scalars(select(Server.name).order_by(Server.id)).all()


def ids(session: Session) -> Sequence[int]:
    """Return every server's id, in order of creation."""
    return session.scalars(select(Server.id).order_by(Server.id)).all()


def everything(session: Session) -> Sequence[Server]:
    """Return every server, in order of creation."""
    return session.scalars(select(Server).order_by(Server.id)).all()


def states(session: Session, now: datetime) -> list[tuple[Server, State]]:
    """Return every server with its state, in order of creation.

    The state is derived here and nowhere stored: a newest ping older than two intervals says
    nothing about now, so the server is unobserved; so is a paused one.
    """
    rows = session.execute(
        select(Server, Schedule.interval_s, Schedule.enabled)
        # An outer join: a clock that was ahead when a server was added doesn't hide it.
        .outerjoin(Schedule, and_(Schedule.server_id == Server.id, in_force(now + MOMENT)))
        .order_by(Server.id)
    )
    return [
        (server, _last(server, interval_s, enabled).state(now))
        for server, interval_s, enabled in rows
    ]


def _last(server: Server, interval_s: int | None, enabled: bool | None) -> Last:
    return Last(server.last_slot, server.last_sent, server.last_received, interval_s, enabled)


def targets(session: Session, slot: datetime) -> list[Target]:
    """Return the servers due in `slot`, in order of creation, as far as a round needs them.

    A server is first due in the slot in which it was added, so that nobody waits a minute in vain.
    """
    second = int(slot.timestamp())  # wider than interval_s, or 2038 would be the last year
    rows = session.execute(
        select(Server.id, Server.ip, Server.probe, Server.port, Server.last_port)
        .join(Schedule, Schedule.server_id == Server.id)
        .where(in_force(slot + SLOT))
        .where(Schedule.enabled, literal(second, BigInteger) % Schedule.interval_s == 0)
        .order_by(Server.id)
    )
    return [
        Target(server_id, ip, Probe(probe), port, last_port)
        for server_id, ip, probe, port, last_port in rows
    ]


def in_force(moment: datetime) -> ColumnElement[bool]:
    """The schedule row that held just before `moment`."""
    other = aliased(Schedule)
    newest = (
        select(func.max(other.since))
        .where(other.server_id == Server.id, other.since < moment)
        .correlate(Server)
        .scalar_subquery()
    )
    return Schedule.since == newest


def refuse_address(ip: str, settings: Settings) -> None:
    """Raise WrongRequest for an address that may not be probed from here."""
    refusal = settings.address_rules.refusal(ip)
    if refusal:
        raise WrongRequest(refusal, "ip")
