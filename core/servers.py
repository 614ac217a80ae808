"""Servers: create, change, remove, list; the targets of a round.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, and_, delete, func, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from core.errors import NameTaken, NameUnknown, WrongRequest
from core.models import Schedule, Server
from core.schema import SLOT, Probe, ServerRequest, State, Target
from core.settings import Settings


def create(session: Session, wanted: ServerRequest, settings: Settings, now: datetime) -> Server:
    """Add a server, due every `settings.interval_s` from now on.

    Raises NameTaken, or WrongRequest for an address that may not be probed from here.
    """
    _refuse_address(wanted.ip, settings)
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


def change(session: Session, wanted: ServerRequest, settings: Settings) -> Server:
    """Give the server of that name another address (and probe and port, where they were said).

    Its history stays; what was last heard from the old address is forgotten. Raises NameUnknown,
    WrongRequest.
    """
    _refuse_address(wanted.ip, settings)
    server = find(session, wanted.name, lock=True)
    if server.ip != wanted.ip:
        server.ip = wanted.ip
        server.last_slot = server.last_ms = server.last_sent = server.last_received = None
        server.last_port = None
    server.probe = wanted.probe or server.probe
    server.port = wanted.port or server.port
    return server


def remove(session: Session, name: str) -> None:
    """Delete the server of that name and all its rows. Raises NameUnknown."""
    if session.scalar(delete(Server).where(Server.name == name).returning(Server.id)) is None:
        raise NameUnknown(name)


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


def names(session: Session) -> Sequence[str]:
    """Return every server's name, in order of creation."""
    return session.scalars(select(Server.name).order_by(Server.id)).all()


def everything(session: Session) -> Sequence[Server]:
    """Return every server, in order of creation."""
    return session.scalars(select(Server).order_by(Server.id)).all()


def states(session: Session, now: datetime) -> list[tuple[Server, State]]:
    """Return every server with its state, in order of creation.

    The state is derived here and nowhere stored: a newest ping older than two intervals says
    nothing about now, so the server is unobserved.
    """
    rows = session.execute(
        select(Server, Schedule.interval_s)
        # An outer join: a clock that was ahead when a server was added doesn't hide it.
        .outerjoin(Schedule, and_(Schedule.server_id == Server.id, _in_force(now)))
        .order_by(Server.id)
    )
    return [(server, _state(server, interval_s, now)) for server, interval_s in rows]


def _state(server: Server, interval_s: int | None, now: datetime) -> State:
    if server.last_slot is None or interval_s is None:
        return State.UNOBSERVED
    if server.last_slot < now - timedelta(seconds=2 * interval_s):
        return State.UNOBSERVED
    return State.of(server.last_sent or 0, server.last_received or 0)


def targets(session: Session, slot: datetime) -> list[Target]:
    """Return the servers due in `slot`, in order of creation, as far as a round needs them.

    A server is first due in the slot in which it was added, so that nobody waits a minute in vain.
    """
    second = int(slot.timestamp())  # wider than interval_s, or 2038 would be the last year
    rows = session.execute(
        select(Server.id, Server.ip, Server.probe, Server.port, Server.last_port)
        .join(Schedule, Schedule.server_id == Server.id)
        .where(_in_force(slot + SLOT))
        .where(Schedule.enabled, literal(second, BigInteger) % Schedule.interval_s == 0)
        .order_by(Server.id)
    )
    return [
        Target(server_id, ip, Probe(probe), port, last_port)
        for server_id, ip, probe, port, last_port in rows
    ]


def _in_force(moment: datetime) -> ColumnElement[bool]:
    """The schedule row that held just before `moment`."""
    other = aliased(Schedule)
    newest = (
        select(func.max(other.since))
        .where(other.server_id == Server.id, other.since < moment)
        .correlate(Server)
        .scalar_subquery()
    )
    return Schedule.since == newest


def _refuse_address(ip: str, settings: Settings) -> None:
    refusal = settings.address_rules.refusal(ip)
    if refusal:
        raise WrongRequest(refusal)
