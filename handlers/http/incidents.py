"""/api/v1/incidents: what was wrong, and what people did about it."""

from collections.abc import Callable
from http import HTTPStatus

from sqlalchemy.orm import Session

from core.clock import utc_now
from core.incidents import change, find
from core.incidents.records import (
    Acknowledgement,
    Comment,
    IncidentPage,
    IncidentsQuery,
    IncidentTold,
    Resolution,
)
from handlers.http.gate import whoami
from handlers.http.routes import READ, WRITE, Routes
from handlers.instance import Instance

ROUTES = Routes()
INCIDENTS = "/api/v1/incidents"
INCIDENT = f"{INCIDENTS}/<int:incident_id>"
UNKNOWN, OVER = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT


@ROUTES("GET", INCIDENTS, may=READ, query=IncidentsQuery, gives=IncidentPage, fresh=True)
def listed(here: Instance, wanted: IncidentsQuery) -> IncidentPage:
    """List incidents, the newest first."""
    with here.database.reading() as session:
        return find.page(session, wanted, utc_now())


@ROUTES("GET", INCIDENT, may=READ, gives=IncidentTold, errors=[UNKNOWN], fresh=True)
def show(here: Instance, incident_id: int) -> IncidentTold:
    """Show an incident with its timeline."""
    with here.database.reading() as session:
        return find.told(session, incident_id, utc_now())


@ROUTES(
    "POST",
    f"{INCIDENT}/ack",
    may=WRITE,
    takes=Acknowledgement,
    body_required=False,
    gives=IncidentTold,
    errors=[UNKNOWN, OVER],
)
def acknowledge(here: Instance, wanted: Acknowledgement | None, incident_id: int) -> IncidentTold:
    """Say that you look after an open incident."""
    given = wanted or Acknowledgement()
    now, who = utc_now(), whoami().name
    return _done(
        here,
        incident_id,
        lambda session: change.acknowledge(session, incident_id, given, who, now),
    )


@ROUTES("POST", f"{INCIDENT}/unack", may=WRITE, gives=IncidentTold, errors=[UNKNOWN, OVER])
def unacknowledge(here: Instance, incident_id: int) -> IncidentTold:
    """Take an acknowledgement back."""
    now, who = utc_now(), whoami().name
    return _done(
        here, incident_id, lambda session: change.unacknowledge(session, incident_id, who, now)
    )


@ROUTES(
    "POST",
    f"{INCIDENT}/resolve",
    may=WRITE,
    takes=Resolution,
    body_required=False,
    gives=IncidentTold,
    errors=[UNKNOWN, OVER],
)
def resolve(here: Instance, wanted: Resolution | None, incident_id: int) -> IncidentTold:
    """Resolve an open incident by hand."""
    given = wanted or Resolution()
    now, who = utc_now(), whoami().name
    return _done(
        here, incident_id, lambda session: change.resolve(session, incident_id, given, who, now)
    )


@ROUTES(
    "POST", f"{INCIDENT}/comment", may=WRITE, takes=Comment, gives=IncidentTold, errors=[UNKNOWN]
)
def comment(here: Instance, wanted: Comment, incident_id: int) -> IncidentTold:
    """Write a line into an incident's timeline."""
    now, who = utc_now(), whoami().name
    return _done(
        here, incident_id, lambda session: change.comment(session, incident_id, wanted, who, now)
    )


def _done(here: Instance, incident_id: int, do: Callable[[Session], None]) -> IncidentTold:
    def write(session: Session) -> IncidentTold:
        do(session)
        return find.told(session, incident_id, utc_now())

    return here.database.write(write)
