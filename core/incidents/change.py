"""What is done to incidents, by people and by what happens to their servers.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.incidents.records import How, Kind
from core.models import EVENT, INCIDENT, JUDGED


def end(
    session: Session,
    ids: Sequence[int],
    how: How,
    at: datetime,
    who: str | None = None,
    note: str | None = None,
) -> None:
    """Resolve these incidents, however their servers are; what was judged of them is forgotten."""
    if not ids:
        return
    servers = select(INCIDENT.c.server_id).where(INCIDENT.c.id.in_(ids))
    session.execute(delete(JUDGED).where(JUDGED.c.server_id.in_(servers)))
    over = {"resolved": at, "is_flapping": False, "acked_by": None, "acked_until": None}
    session.execute(update(INCIDENT).where(INCIDENT.c.id.in_(ids)).values(how=how.value, **over))
    note = note if who else how.value
    for one in ids:
        _note(session, one, Kind.RESOLVED, at, who, note)


def _note(
    session: Session, incident_id: int, kind: Kind, at: datetime, who: str | None, note: str | None
) -> None:
    line = {"incident_id": incident_id, "at": at, "kind": kind.value, "who": who, "note": note}
    session.execute(EVENT.insert().values(**line))
