"""What is done to incidents, by people and by what happens to their servers.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.orm import Session

from core.errors import IncidentOver, IncidentUnknown, WrongRequest
from core.incidents import timeline
from core.incidents.members import leave_all
from core.incidents.records import Acknowledgement, Comment, How, Kind, Resolution
from core.incidents.standing import LET_GO
from core.models import EVENT, INCIDENT, JUDGED, LARGEST_ID, LATCH
from core.reading import moment

ANNOUNCED = "announced"
"""The latch that says up to which slot incidents are decided. Who holds it decides."""


def acknowledge(
    session: Session, incident_id: int, wanted: Acknowledgement, who: str, now: datetime
) -> None:
    """Note that somebody looks after an open incident, until a time or until it is resolved.

    Raises IncidentUnknown, IncidentOver, WrongRequest.
    """
    until = moment(wanted.until, "until") if wanted.until else None
    if until and until <= now:
        raise WrongRequest("until must be in the future", "until", got=wanted.until)
    _hold_open(session, incident_id)
    _set(session, incident_id, acked_by=who, acked_until=until)
    _note(session, incident_id, Kind.ACKNOWLEDGED, now, who, wanted.note)


def unacknowledge(session: Session, incident_id: int, who: str, now: datetime) -> None:
    """Take an acknowledgement back. Raises IncidentUnknown, IncidentOver."""
    _hold_open(session, incident_id)
    _set(session, incident_id, acked_by=None, acked_until=None)
    _note(session, incident_id, Kind.UNACKNOWLEDGED, now, who, None)


def resolve(
    session: Session, incident_id: int, wanted: Resolution, who: str, now: datetime
) -> None:
    """Resolve an open incident, whatever its server does: new bad slots open a new one.

    Raises IncidentUnknown, IncidentOver.
    """
    hold_announcing(session)
    _hold_open(session, incident_id)
    end(session, [incident_id], How.HAND, now, who, wanted.note)


def comment(session: Session, incident_id: int, wanted: Comment, who: str, now: datetime) -> None:
    """Write a line into an incident's timeline. Raises IncidentUnknown."""
    _hold(session, incident_id)
    _note(session, incident_id, Kind.COMMENT, now, who, wanted.note)


def hold_announcing(session: Session) -> datetime | None:
    """Let nobody announce meanwhile; return the newest slot that was, None where none ever was."""
    held = select(LATCH.c.since).where(LATCH.c.name == ANNOUNCED).with_for_update()
    return session.scalar(held)


def _hold(session: Session, incident_id: int) -> bool:
    """Hold an incident; return whether it is open. Raises IncidentUnknown."""
    of_it = select(INCIDENT.c.resolved).where(INCIDENT.c.id == min(incident_id, LARGEST_ID))
    row = session.execute(of_it.with_for_update()).first()
    if row is None:
        raise IncidentUnknown(incident_id)
    return row.resolved is None


def _hold_open(session: Session, incident_id: int) -> None:
    if not _hold(session, incident_id):
        raise IncidentOver(incident_id)


def _set(session: Session, incident_id: int, **values: object) -> None:
    session.execute(update(INCIDENT).where(INCIDENT.c.id == incident_id).values(**values))


def end(
    session: Session,
    ids: Collection[int],
    how: How,
    at: datetime,
    who: str | None = None,
    note: str | None = None,
) -> None:
    """Resolve these incidents, however their servers are; what was judged of them is forgotten.

    What somebody does needs no `note`; what Pinglet does says `how`, where it says nothing else.
    """
    if not ids:
        return
    leave_all(session, ids, at)
    judged = tuple_(JUDGED.c.server_id, JUDGED.c.rule_id)
    cases = select(INCIDENT.c.server_id, INCIDENT.c.rule_id).where(INCIDENT.c.id.in_(ids))
    session.execute(delete(JUDGED).where(judged.in_(cases)))
    ending = update(INCIDENT).where(INCIDENT.c.id.in_(ids))
    session.execute(ending.values(resolved=at, how=how.value, **LET_GO))
    if not who:
        timeline.note(session, at, Kind.RESOLVED, dict.fromkeys(ids, note or how.value))
        return
    for one in ids:
        _note(session, one, Kind.RESOLVED, at, who, note)


def _note(
    session: Session, incident_id: int, kind: Kind, at: datetime, who: str | None, note: str | None
) -> None:
    line = {"incident_id": incident_id, "at": at, "kind": kind.value, "who": who, "note": note}
    session.execute(EVENT.insert().values(**line))
