"""Incidents read back.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, String, func, or_, select
from sqlalchemy.orm import Session

from core.errors import IncidentUnknown
from core.incidents.records import (
    Happened,
    How,
    Incident,
    IncidentPage,
    IncidentsQuery,
    IncidentTold,
    Kind,
    Standing,
    Watched,
)
from core.models import EVENT, INCIDENT, LARGEST_ID, SERVER, TAG
from core.reading import folded, moment
from core.sql import as_rows, incoming

OPEN = INCIDENT.c.resolved.is_(None)
NAME = func.coalesce(SERVER.c.name, INCIDENT.c.server_name)
"""What an incident's server is called now, or was called last."""


def page(session: Session, wanted: IncidentsQuery, now: datetime) -> IncidentPage:
    """Return the page of incidents that `wanted` asks for, the newest first.

    Two statements; with a search, three. Raises WrongRequest for a `since` that is no time.
    """
    given = {"rows": _searched(session, wanted.search)} if wanted.search else {}
    query = _query().where(*_wanted(wanted)).order_by(INCIDENT.c.id.desc())
    found = session.execute(query.limit(wanted.limit + 1), given).all()
    shown = found[: wanted.limit]
    is_open = select(func.count()).select_from(INCIDENT).where(OPEN)
    return IncidentPage(
        incidents=[_incident(row, now) for row in shown],
        open=session.execute(is_open).scalar_one(),
        next=shown[-1].id if len(found) > len(shown) else None,
    )


def told(session: Session, incident_id: int, now: datetime) -> IncidentTold:
    """Return an incident with its timeline. Two statements. Raises IncidentUnknown."""
    known = min(incident_id, LARGEST_ID)
    row = session.execute(_query().where(INCIDENT.c.id == known)).first()
    if row is None:
        raise IncidentUnknown(incident_id)
    lines = select(EVENT.c.at, EVENT.c.kind, EVENT.c.who, EVENT.c.note)
    of_it = lines.where(EVENT.c.incident_id == known).order_by(EVENT.c.id)
    timeline = [
        Happened(at=at, kind=Kind(kind), who=who, note=note)
        for at, kind, who, note in session.execute(of_it)
    ]
    return IncidentTold(incident=_incident(row, now), timeline=timeline)


def open_ones(session: Session, now: datetime) -> Sequence[Incident]:
    """Return what is open, the oldest first. One statement."""
    rows = session.execute(_query().where(OPEN).order_by(INCIDENT.c.id))
    return [_incident(row, now) for row in rows]


def _wanted(wanted: IncidentsQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if isinstance(wanted.state, Standing):
        conditions.append(OPEN if wanted.state is Standing.OPEN else ~OPEN)
    if isinstance(wanted.server, int):
        conditions.append(INCIDENT.c.server_id == min(wanted.server, LARGEST_ID))
    if wanted.search:
        conditions.append(NAME.in_(select(SOUGHT.c.name)))
    if wanted.tag:
        tagged = select(TAG.c.server_id).where(TAG.c.tag == wanted.tag.lower())
        conditions.append(INCIDENT.c.server_id.in_(tagged))
    if isinstance(wanted.since, str):
        conditions.append(or_(OPEN, INCIDENT.c.resolved > moment(wanted.since, "since")))
    if isinstance(wanted.before, int):
        conditions.append(INCIDENT.c.id < min(wanted.before, LARGEST_ID))
    return conditions


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
    return _with_servers(select(INCIDENT, NAME.label("name")))


def _with_servers(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    on = SERVER.c.id == INCIDENT.c.server_id
    return query.select_from(INCIDENT).outerjoin(SERVER, on)


def _incident(row: Row[*tuple[Any, ...]], now: datetime) -> Incident:
    until: datetime = row.resolved or now
    acked = row.acked_until is None or row.acked_until > now
    return Incident(
        id=row.id,
        rule=row.rule,
        severity=row.severity,
        kind=row.kind,
        state=Standing.OPEN if row.resolved is None else Standing.RESOLVED,
        flapping=row.is_flapping,
        flaps=row.flaps,
        server=Watched(id=row.server_id, name=row.name),
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
