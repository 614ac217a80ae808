"""From when to when a maintenance holds an open incident: lines of its timeline.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.incidents.records import Held, Kind
from core.incidents.standing import IS_OPEN
from core.models import EVENT, INCIDENT
from core.servers.exempt import is_exempt
from core.servers.schedule import Span
from core.slots import slot_time
from core.sql import as_rows, given_ids

Exempt = Mapping[int, Sequence[Span]]
"""Exempt slots by server."""


def note_held(
    session: Session, servers: Collection[int], exempt: Exempt, first: int, last: int
) -> None:
    """Note in which of the slots from `first` to `last` a maintenance began or ceased to hold.

    Of these servers' open incidents. Asks nothing where no server is exempt, nor just was. Three
    statements at most.
    """
    if not exempt:
        return
    given = {"rows": as_rows([one] for one in servers)}
    open_ones = dict(session.execute(OPEN, given).all())
    newest = dict(session.execute(HOLDS, given).all())
    lines = [
        _line(incident_id, last, first, exempt.get(server_id, ()))
        for incident_id, server_id in open_ones.items()
        if is_exempt(exempt.get(server_id, ()), last) != (newest.get(incident_id) == Kind.HELD)
    ]
    if lines:
        session.execute(EVENT.insert(), lines)


def _line(incident_id: int, last: int, first: int, spans: Sequence[Span]) -> dict[str, object]:
    begun = [one.first for one in spans if one.first <= last < one.end]
    ended = [one.end for one in spans if one.end <= last]
    return {
        "incident_id": incident_id,
        "at": slot_time(max([first, *(begun or ended)])),
        "kind": (Kind.HELD if begun else Kind.RELEASED).value,
        "note": Held.MAINTENANCE.value,
    }


OPEN = (
    select(INCIDENT.c.id, INCIDENT.c.server_id)
    .where(IS_OPEN, INCIDENT.c.server_id.in_(given_ids()))
    .order_by(INCIDENT.c.id)
)
HOLDS = (
    select(EVENT.c.incident_id, EVENT.c.kind)
    .join(INCIDENT, INCIDENT.c.id == EVENT.c.incident_id)
    .where(IS_OPEN, INCIDENT.c.server_id.in_(given_ids()))
    .where(EVENT.c.kind.in_([Kind.HELD.value, Kind.RELEASED.value]))
    .where(EVENT.c.note == Held.MAINTENANCE.value)
    .order_by(EVENT.c.id)
)
"""Of open incidents, the newest last: from when to when a maintenance held each."""
