"""What people changed of what Pinglet does by itself: one event each.

Every function takes a session inside a transaction that its caller ends.
"""

from datetime import datetime

from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.incidents.records import Deed, Event, EventPage, EventsQuery
from core.models import EVENT, LARGEST_ID


def note(session: Session, kind: Deed, at: datetime, who: str, what: str) -> None:
    """Note that somebody did something."""
    line = {"at": at, "kind": kind.value, "who": who, "note": what}
    session.execute(EVENT.insert().values(incident_id=None, **line))


def page(session: Session, wanted: EventsQuery) -> EventPage:
    """Return the page of events that `wanted` asks for, the newest first. One statement."""
    columns = EVENT.c.id, EVENT.c.at, EVENT.c.kind, EVENT.c.who, EVENT.c.note
    query = select(*columns).where(EVENT.c.incident_id.is_(None)).order_by(EVENT.c.id.desc())
    if wanted.before is not UNSET:
        query = query.where(EVENT.c.id < min(wanted.before, LARGEST_ID))
    found = [
        Event(id=event_id, at=at, kind=Deed(kind), who=who, note=text)
        for event_id, at, kind, who, text in session.execute(query.limit(wanted.limit + 1))
    ]
    shown = found[: wanted.limit]
    return EventPage(events=shown, next=shown[-1].id if len(found) > len(shown) else None)
