"""Incidents read back.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, String, func, literal, or_, select
from sqlalchemy.orm import Session

from core.errors import IncidentUnknown
from core.incidents.records import (
    Extent,
    Happened,
    Held,
    How,
    Incident,
    IncidentPage,
    IncidentsQuery,
    IncidentTold,
    Kind,
    MemberTold,
    Standing,
    Watched,
)
from core.incidents.standing import IS_OPEN
from core.models import EVENT, INCIDENT, LARGEST_ID, MEMBER, SERVER, TAG
from core.reading import folded, moment
from core.servers.exempt import exempt
from core.slots import current_slot
from core.sql import as_rows, incoming

MOST_MEMBERS = 1_000
NAME = func.coalesce(SERVER.c.name, INCIDENT.c.name).label("called")
"""What an incident's server, or its parent, is called now, or was called last; or its group."""
MEMBERS = (
    select(func.count())
    .where(MEMBER.c.incident_id == INCIDENT.c.id)
    .correlate(INCIDENT)
    .scalar_subquery()
)


def page(session: Session, wanted: IncidentsQuery, now: datetime) -> IncidentPage:
    """Return the page of incidents that `wanted` asks for, the newest first.

    Three statements; with a search, four. Raises WrongRequest for a `since` that is no time.
    """
    given = {"rows": _searched(session, wanted.search)} if wanted.search else {}
    query = _query().where(*_wanted(wanted)).order_by(INCIDENT.c.id.desc())
    found = session.execute(query.limit(wanted.limit + 1), given).all()
    shown = found[: wanted.limit]
    is_open = select(func.count()).select_from(INCIDENT).where(IS_OPEN)
    return IncidentPage(
        incidents=_incidents(session, shown, now),
        open=session.execute(is_open).scalar_one(),
        next=shown[-1].id if len(found) > len(shown) else None,
    )


def one(session: Session, incident_id: int, now: datetime) -> Incident:
    """Return an incident. Two statements. Raises IncidentUnknown."""
    known = min(incident_id, LARGEST_ID)
    row = session.execute(_query().where(INCIDENT.c.id == known)).first()
    if row is None:
        raise IncidentUnknown(incident_id)
    [incident] = _incidents(session, [row], now)
    return incident


def told(session: Session, incident_id: int, now: datetime) -> IncidentTold:
    """Return an incident with its timeline and its members. Four statements at most.

    Raises IncidentUnknown.
    """
    incident = one(session, incident_id, now)
    lines = select(EVENT.c.at, EVENT.c.kind, EVENT.c.who, EVENT.c.note)
    of_it = lines.where(EVENT.c.incident_id == incident.id).order_by(EVENT.c.id)
    timeline = [
        Happened(at=at, kind=Kind(kind), who=who, note=note)
        for at, kind, who, note in session.execute(of_it)
    ]
    members = [] if incident.extent is Extent.SERVER else _members(session, incident.id)
    return IncidentTold(incident=incident, timeline=timeline, members=members)


def _members(session: Session, incident_id: int) -> list[MemberTold]:
    name = func.coalesce(SERVER.c.name, MEMBER.c.name).label("called")
    query = (
        select(SERVER.c.id, name, MEMBER.c.since, MEMBER.c.until)
        .select_from(MEMBER)
        .outerjoin(SERVER, SERVER.c.id == MEMBER.c.server_id)
        .where(MEMBER.c.incident_id == incident_id)
        .order_by(MEMBER.c.until.is_not(None), MEMBER.c.server_id)
    )
    return [
        MemberTold(server=Watched(id=server_id, name=name), since=since, until=until)
        for server_id, name, since, until in session.execute(query.limit(MOST_MEMBERS))
    ]


def open_ones(session: Session, now: datetime) -> Sequence[Incident]:
    """Return what is open, the oldest first. Two statements."""
    rows = session.execute(_query().where(IS_OPEN).order_by(INCIDENT.c.id)).all()
    return _incidents(session, rows, now)


def _wanted(wanted: IncidentsQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if isinstance(wanted.state, Standing):
        conditions.append(IS_OPEN if wanted.state is Standing.OPEN else ~IS_OPEN)
    if isinstance(wanted.server, int):
        server_id = min(wanted.server, LARGEST_ID)
        conditions.append(_concerns(select(literal(server_id))))
    if wanted.search:
        conditions.append(NAME.in_(select(SOUGHT.c.name)))
    if wanted.tag:
        tag = wanted.tag.lower()
        conditions.append(_concerns(select(TAG.c.server_id).where(TAG.c.tag == tag)))
    if isinstance(wanted.since, str):
        conditions.append(or_(IS_OPEN, INCIDENT.c.resolved > moment(wanted.since, "since")))
    if isinstance(wanted.before, int):
        conditions.append(INCIDENT.c.id < min(wanted.before, LARGEST_ID))
    return conditions


def _concerns(servers: Select[*tuple[int]]) -> ColumnElement[bool]:
    """Whether an incident is of one of these servers, alone or as a member of a group."""
    shared = select(MEMBER.c.incident_id).where(MEMBER.c.server_id.in_(servers))
    return or_(INCIDENT.c.server_id.in_(servers), INCIDENT.c.id.in_(shared))


SOUGHT = incoming({"name": String()})


def _searched(session: Session, text: str) -> str:
    """The names of servers that have `text` in them, as SOUGHT reads them.

    Names are compared here, as in lists of servers: what a database calls one letter depends on
    where it was made.
    """
    sought = folded(text)
    every = session.scalars(_with_servers(select(NAME).distinct()))
    return as_rows([name] for name in every if sought in folded(name))


def _query() -> Select[*tuple[Any, ...]]:
    return _with_servers(select(INCIDENT, NAME, MEMBERS.label("servers")))


def _with_servers(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    on = or_(SERVER.c.id == INCIDENT.c.server_id, SERVER.c.id == INCIDENT.c.parent_id)
    return query.select_from(INCIDENT).outerjoin(SERVER, on)


def _incidents(
    session: Session, rows: Sequence[Row[*tuple[Any, ...]]], now: datetime
) -> list[Incident]:
    """Read rows; with them, which of the open ones' servers are in maintenance now."""
    of_open = [row.server_id for row in rows if row.resolved is None and row.server_id is not None]
    slot = current_slot(now)
    held = exempt(session, sorted({*of_open}), slot, slot + 1) if of_open else {}
    return [_incident(row, now, held) for row in rows]


def _incident(row: Row[*tuple[Any, ...]], now: datetime, held: Collection[int]) -> Incident:
    until: datetime = row.resolved or now
    is_held = row.resolved is None and row.server_id in held
    acked = row.acked_until is None or row.acked_until > now
    extent = Extent(row.extent)
    return Incident(
        id=row.id,
        rule=row.rule,
        severity=row.severity,
        kind=row.kind,
        state=Standing.OPEN if row.resolved is None else Standing.RESOLVED,
        flapping=row.is_flapping,
        flaps=row.flaps,
        extent=extent,
        server=Watched(id=row.server_id, name=row.called) if extent is Extent.SERVER else None,
        parent=Watched(id=row.parent_id, name=row.called) if extent is Extent.PARENT else None,
        tag=row.name if extent is Extent.TAG else None,
        network=row.name if extent is Extent.NETWORK else None,
        servers=1 if extent is Extent.SERVER else row.servers,
        held=Held.MAINTENANCE if is_held else row.held and Held(row.held),
        opened=row.opened,
        confirmed=row.confirmed,
        resolved=row.resolved,
        how=row.how and How(row.how),
        duration_s=max(int((until - row.opened).total_seconds()), 0),
        acked_by=row.acked_by if acked else None,
        acked_until=row.acked_until if acked else None,
        reason=row.reason,
        detail=row.detail,
    )
