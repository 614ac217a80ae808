"""What is over is kept as long as days are.

Every function takes a session inside a transaction that its caller ends.
"""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.models import EVENT, INCIDENT, MEMBER


def forget(session: Session, before: datetime, limit: int) -> int:
    """Delete incidents that were over before that time, with their timelines, the oldest first.

    At most so many; returns how many. What is open stays, however old it is.
    """
    over = select(INCIDENT.c.id).where(INCIDENT.c.resolved < before)
    # Held, so that nobody writes into a timeline that is about to go.
    held = over.order_by(INCIDENT.c.id).limit(limit).with_for_update()
    ids = session.scalars(held).all()
    if ids:
        session.execute(delete(EVENT).where(EVENT.c.incident_id.in_(ids)))
        session.execute(delete(MEMBER).where(MEMBER.c.incident_id.in_(ids)))
        session.execute(delete(INCIDENT).where(INCIDENT.c.id.in_(ids)))
    return len(ids)
