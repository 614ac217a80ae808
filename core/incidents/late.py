"""What comes of a slot that is announced already: it decides nothing, and the timeline tells it.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Executable, bindparam, or_, select
from sqlalchemy.orm import Session

from core.incidents.change import ANNOUNCED
from core.incidents.records import Kind
from core.incidents.standing import IS_OPEN
from core.models import DATA, EVENT, INCIDENT, LATCH, MEMBER
from core.sql import UtcDateTime, as_rows, given_ids


def hold_recording(session: Session, slot: datetime) -> bool:
    """Let nobody announce what is about to be recorded; return whether `slot` is announced already.

    Who records keeps nobody else from it. So each ping is either judged or known to be late.
    """
    newest = session.scalar(HOLD)
    return newest is not None and slot <= newest


HOLD = select(LATCH.c.since).where(LATCH.c.name == ANNOUNCED).with_for_update(read=True)


def note(session: Session, slot: datetime, ids: Collection[int]) -> None:
    """Write that pings of these servers came late into the incidents that were open then."""
    given = {"slot": slot, "rows": as_rows([one] for one in ids)}
    lines = [
        {
            "incident_id": incident_id,
            "at": slot,
            "kind": Kind.LATE.value,
            "note": f"{received} of {sent} echoes came back, recorded later",
        }
        for incident_id, received, sent in session.execute(OPEN_THEN, given)
    ]
    if lines:
        session.execute(EVENT.insert(), lines)


def _open_then() -> Executable:
    slot = bindparam("slot", type_=UtcDateTime())
    ping = select(DATA.c.server_id, DATA.c.received, DATA.c.sent).where(
        DATA.c.datetime == slot, DATA.c.server_id.in_(given_ids())
    )
    late = ping.subquery()
    found = late.c.received, late.c.sent
    alone = (
        select(INCIDENT.c.id, *found)
        .join(late, late.c.server_id == INCIDENT.c.server_id)
        .where(INCIDENT.c.opened <= slot)
        .where(or_(IS_OPEN, INCIDENT.c.resolved > slot))
    )
    shared = (
        select(MEMBER.c.incident_id, *found)
        .join(late, late.c.server_id == MEMBER.c.server_id)
        .where(MEMBER.c.since <= slot, or_(MEMBER.c.until.is_(None), MEMBER.c.until > slot))
    )
    return alone.union_all(shared).order_by("id")


OPEN_THEN = _open_then()
