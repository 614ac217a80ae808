"""What comes of decisions: incidents opened, opened again and resolved, and their timelines.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Executable,
    String,
    and_,
    bindparam,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.incidents import rules
from core.incidents.judge import Turn
from core.incidents.judged import Decided
from core.incidents.look import given_servers
from core.incidents.records import How
from core.models import EVENT, INCIDENT, SERVER, WHY
from core.slots import slot_time
from core.sql import as_rows, incoming, time_at


def carry_out(session: Session, decided: Sequence[Decided]) -> None:
    """Carry out a decision of each of these servers. Four statements at most, however many."""
    opened = [one for one in decided if one.decision.turn is Turn.OPENED]
    if opened:
        named = {"rule": rules.DEFAULT.name, "severity": rules.DEFAULT.severity}
        session.execute(OPEN_NEW, named | {"rows": as_rows(_row(one) for one in opened)})
    servers = {"rows": as_rows([one.server_id] for one in decided)}
    newest = dict(session.execute(NEWEST, servers).all())
    for turn, statement in (Turn.REOPENED, OPEN_AGAIN), (Turn.RESOLVED, RESOLVE):
        rows = [_row(one, newest) for one in decided if one.decision.turn is turn]
        if rows:
            session.execute(statement, {"rows": as_rows(rows)})
    session.execute(NOTE, {"rows": as_rows(_row(one, newest) for one in decided)})


DECIDED: Mapping[str, TypeEngine[Any]] = {
    "id": BigInteger(),  # of the server, while its incident has none
    "slot": BigInteger(),
    "since": BigInteger(),
    "kind": String(),
    "is_flapping": Boolean(),
}


def _row(one: Decided, incidents: Mapping[int, int] | None = None) -> list[object]:
    turn, slot, since = one.decision
    known = one.server_id if incidents is None else incidents[one.server_id]
    return [known, slot_time(slot), slot_time(since), turn, one.is_flapping]


def _open_new() -> Executable:
    given = incoming(DECIDED, "id", "slot", "since", "is_flapping")
    since = time_at(given.c.since)
    why = and_(WHY.c.server_id == given.c.id, WHY.c.observed, WHY.c.datetime == since)
    said = {
        "rule": bindparam("rule", type_=String()),
        "severity": bindparam("severity", type_=String()),
        "server_id": SERVER.c.id,
        "server_name": SERVER.c.name,
        "opened": since,
        "confirmed": time_at(given.c.slot),
        "flaps": literal(0),
        "is_flapping": given.c.is_flapping,
        "reason": WHY.c.reason,
        "detail": WHY.c.detail,
    }
    rows = select(*said.values()).join_from(given, SERVER, SERVER.c.id == given.c.id)
    rows = rows.outerjoin(WHY, why).order_by(SERVER.c.id)
    return insert(INCIDENT).from_select(list(said), rows)


def _changed(**values: object) -> Executable:
    given = incoming(DECIDED)
    values = {"is_flapping": given.c.is_flapping} | values
    said = {
        name: time_at(given.c.since) if value is SINCE else value for name, value in values.items()
    }
    return update(INCIDENT).where(INCIDENT.c.id == given.c.id).values(**said)


def _note() -> Executable:
    given = incoming(DECIDED, "id", "slot", "kind")
    rows = select(given.c.id, time_at(given.c.slot), given.c.kind).order_by(given.c.id)
    return insert(EVENT).from_select(["incident_id", "at", "kind"], rows)


SINCE = object()
"""In the place of a value: the slot since when it is so."""
OPEN_NEW = _open_new()
NEWEST = (
    select(INCIDENT.c.server_id, func.max(INCIDENT.c.id))
    .where(INCIDENT.c.server_id.in_(given_servers()))
    .group_by(INCIDENT.c.server_id)
)
OPEN_AGAIN = _changed(resolved=None, how=None, flaps=INCIDENT.c.flaps + 1)
RESOLVE = _changed(resolved=SINCE, how=How.GOOD.value, acked_by=None, acked_until=None)
NOTE = _note()
