"""What a clock that was ahead decided, once the clock is right again."""

from datetime import datetime

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.incidents.change import ANNOUNCED, hold_announcing
from core.incidents.judge import Memory, begun_anew
from core.models import EVENT, INCIDENT, JUDGED, LATCH, RECHECK
from core.slots import AHEAD, SLOT, slot_of


def bring_back(session: Session, now: datetime) -> None:
    """Go on announcing with the slot of now; what was decided of slots to come was decided now.

    Or nothing would be announced until the time has come that the clock showed. Runs inside a
    transaction that its caller ends; what it holds comes before every server.
    """
    newest = hold_announcing(session)
    if newest is None or newest <= now + AHEAD:
        return
    here = slot_of(now)
    session.execute(update(LATCH).where(LATCH.c.name == ANNOUNCED).values(since=here - SLOT))
    for column in INCIDENT.c.opened, INCIDENT.c.confirmed, INCIDENT.c.resolved, EVENT.c.at:
        session.execute(update(column.table).where(column > here).values({column: here}))
    _begin_anew(session)


def _begin_anew(session: Session) -> None:
    """Remember what is open, and no slots."""
    session.execute(delete(RECHECK))
    for row in session.execute(select(JUDGED)).mappings().all():
        memory = msgspec.json.decode(row["memory"], type=Memory)
        this = [column == row[column.name] for column in JUDGED.primary_key]
        if memory.is_open:
            anew = msgspec.json.encode(begun_anew(memory)._replace(flaps=())).decode()
            session.execute(update(JUDGED).where(*this).values(memory=anew))
        else:
            session.execute(delete(JUDGED).where(*this))
