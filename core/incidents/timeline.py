"""Lines of timelines that Pinglet itself writes, as many at once as there are incidents."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import BigInteger, Executable, String, bindparam, select, true
from sqlalchemy.orm import Session

from core.incidents.records import Kind
from core.models import EVENT
from core.sql import UtcDateTime, as_rows, incoming


def note(session: Session, slot: datetime, kind: Kind, notes: Mapping[int, str | None]) -> None:
    """Write a line into the timeline of each of these incidents, inside the caller's transaction.

    One statement.
    """
    if notes:
        rows = as_rows(sorted(notes.items()))
        session.execute(NOTE, {"rows": rows, "slot": slot, "kind": kind.value})


def servers(number: int) -> str:
    """Return how many, in words."""
    return "1 server" if number == 1 else f"{number} servers"


def _note() -> Executable:
    given = incoming({"incident_id": BigInteger(), "note": String()})
    said = {
        "incident_id": given.c.incident_id,
        "at": bindparam("slot", type_=UtcDateTime()),
        "kind": bindparam("kind", type_=String()),
        "note": given.c.note,
    }
    rows = select(*said.values()).where(true()).order_by(given.c.incident_id)
    return EVENT.insert().from_select(list(said), rows)


NOTE = _note()
