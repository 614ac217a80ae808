"""What comes of decisions: incidents opened, opened again and resolved, and their timelines.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Executable,
    String,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.incidents import rules
from core.incidents.gather import gather
from core.incidents.judge import Turn
from core.incidents.judged import Decided
from core.incidents.look import given_servers
from core.incidents.members import move
from core.incidents.records import How, Scope
from core.models import EVENT, INCIDENT, MEMBER, SERVER, WHY
from core.slots import slot_time
from core.sql import as_rows, incoming, time_at


def carry_out(session: Session, slot: datetime, decided: Sequence[Decided]) -> None:
    """Carry out what was decided by a slot, a decision of each of these servers.

    However many there are, the number of statements is the same.
    """
    opened = [one for one in decided if one.decision.turn is Turn.OPENED]
    named = {"rule": rules.DEFAULT.name, "severity": rules.DEFAULT.severity}
    together = gather(session, slot, opened, named) if opened else set()
    alone = [one for one in opened if one.server_id not in together]
    if alone:
        session.execute(OPEN_NEW, named | {"rows": as_rows(_row(one) for one in alone)})
    rest = [one for one in decided if one.server_id not in together]
    if rest:
        _turn(session, slot, rest)


def _turn(session: Session, slot: datetime, decided: Sequence[Decided]) -> None:
    """Carry out decisions about incidents that are there."""
    servers = {"rows": as_rows([one.server_id] for one in decided)}
    found = session.execute(NEWEST, servers).all()
    groups = {server_id: incident for server_id, incident, scope in found if scope != Scope.SERVER}
    newest = {server_id: incident for server_id, incident, scope in found}
    move(session, slot, [(groups[x.server_id], x) for x in decided if x.server_id in groups])
    decided = [one for one in decided if one.server_id not in groups]
    for turn, statement in (Turn.REOPENED, OPEN_AGAIN), (Turn.RESOLVED, RESOLVE):
        rows = [_row(one, newest) for one in decided if one.decision.turn is turn]
        if rows:
            session.execute(statement, {"rows": as_rows(rows)})
    if decided:
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
        "scope": literal(Scope.SERVER.value),
        "server_id": SERVER.c.id,
        "name": SERVER.c.name,
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


def _newest() -> Executable:
    """Each server's incident, alone or with its group: the open one, else the newest."""
    given = given_servers()
    own = select(
        INCIDENT.c.server_id, INCIDENT.c.id, INCIDENT.c.resolved.is_(None).label("is_open")
    ).where(INCIDENT.c.server_id.in_(given))
    shared = select(MEMBER.c.server_id, MEMBER.c.incident_id, MEMBER.c.until.is_(None)).where(
        MEMBER.c.server_id.in_(given)
    )
    each = own.union_all(shared).subquery()
    open_one = func.max(case((each.c.is_open, each.c.id)))
    newest = (
        select(each.c.server_id, func.coalesce(open_one, func.max(each.c.id)).label("id"))
        .group_by(each.c.server_id)
        .subquery()
    )
    return select(newest.c.server_id, newest.c.id, INCIDENT.c.scope).join(
        INCIDENT, INCIDENT.c.id == newest.c.id
    )


SINCE = object()
"""In the place of a value: the slot since when it is so."""
OPEN_NEW = _open_new()
NEWEST = _newest()
OPEN_AGAIN = _changed(resolved=None, how=None, flaps=INCIDENT.c.flaps + 1)
RESOLVE = _changed(resolved=SINCE, how=How.GOOD.value, held=None, acked_by=None, acked_until=None)
NOTE = _note()
