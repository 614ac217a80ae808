"""Holds: while a parent is down nobody is told of what stands behind it.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import String, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from core.incidents.records import Held, Kind
from core.incidents.standing import IS_OPEN
from core.incidents.timeline import note
from core.models import INCIDENT, PARENT, SERVER
from core.sql import as_rows, given_ids


def hold(session: Session, slot: datetime, down: Collection[int]) -> None:
    """Hold the open incidents behind parents that are `down`, and let go of the others."""
    found = session.execute(BEHIND).all()
    held = {row.id: row.name for row in found if row.parent_id in down}
    before = {row.id for row in found if row.held == Held.PARENT}
    _set(session, slot, Kind.HELD, {one: held[one] for one in held.keys() - before})
    freed = before - held.keys()
    _set(session, slot, Kind.RELEASED, {row.id: row.name for row in found if row.id in freed})


def _set(session: Session, slot: datetime, kind: Kind, parents: dict[int, str | None]) -> None:
    if not parents:
        return
    value = Held.PARENT.value if kind is Kind.HELD else None
    session.execute(SET, {"rows": as_rows([one] for one in parents), "as": value})
    word = "down" if kind is Kind.HELD else "no longer down"
    said = {one: f"{name} is {word}" if name else None for one, name in parents.items()}
    note(session, slot, kind, said)


PARENT_ID = func.coalesce(INCIDENT.c.parent_id, PARENT.c.parent_id).label("parent_id")
BEHIND = (
    select(INCIDENT.c.id, INCIDENT.c.held, PARENT_ID, SERVER.c.name)
    .outerjoin(PARENT, PARENT.c.server_id == INCIDENT.c.server_id)
    .outerjoin(SERVER, SERVER.c.id == PARENT_ID)
    .where(IS_OPEN)
    .where(or_(PARENT_ID.is_not(None), INCIDENT.c.held == Held.PARENT.value))
)
SET = (
    update(INCIDENT)
    .where(INCIDENT.c.id.in_(given_ids()))
    .values(held=bindparam("as", type_=String()))
)
