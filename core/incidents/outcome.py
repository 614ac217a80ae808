"""What comes of decisions: incidents opened, opened again and resolved, and their timelines.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Executable,
    String,
    and_,
    case,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.incidents.gather import gather
from core.incidents.judge import Turn
from core.incidents.judged import Decided
from core.incidents.look import Case
from core.incidents.members import move
from core.incidents.records import Extent, How
from core.incidents.standing import IS_OPEN, LET_GO
from core.models import EVENT, INCIDENT, MEMBER, SERVER, WHY
from core.slots import slot_time
from core.sql import as_rows, given_ids, incoming, time_at


def carry_out(session: Session, slot: datetime, decided: Sequence[Decided]) -> None:
    """Carry out what a slot decided, a decision of each of these cases.

    However many there are, the statements are as few.
    """
    opened = [one for one in decided if _turn(one) is Turn.OPENED]
    together = gather(session, slot, opened) if opened else set()
    alone = [_row(one, one.case.server_id) for one in opened if one.case not in together]
    if alone:
        session.execute(OPEN_NEW, {"rows": as_rows(alone)})
    rest = [one for one in decided if one.case not in together]
    newest = newest_of(session, [one.case for one in rest])
    shared = [one for one in rest if newest[one.case].is_group]
    move(session, slot, [(newest[one.case].incident_id, one) for one in shared])
    _change(
        session,
        [(one, newest[one.case].incident_id) for one in rest if not newest[one.case].is_group],
    )


def _change(session: Session, decided: Sequence[tuple[Decided, int]]) -> None:
    """Carry out decisions about incidents of one server each, and write their timelines."""
    for turn, statement in (Turn.REOPENED, OPEN_AGAIN), (Turn.RESOLVED, RESOLVE):
        rows = [_row(one, known) for one, known in decided if _turn(one) is turn]
        if rows:
            session.execute(statement, {"rows": as_rows(rows)})
    if decided:
        session.execute(NOTE, {"rows": as_rows(_row(one, known) for one, known in decided)})


class Newest(NamedTuple):
    """A case's newest incident: of the server alone, or one that it is in with its group."""

    incident_id: int
    is_group: bool


def newest_of(session: Session, cases: Collection[Case]) -> dict[Case, Newest]:
    """Return the incident of each of these cases: the open one, else the newest. One statement."""
    if not cases:
        return {}
    rows = session.execute(NEWEST, {"rows": as_rows([one.server_id] for one in cases)})
    found = {
        Case(server_id, rule_id): Newest(known, extent != Extent.SERVER)
        for server_id, rule_id, known, extent in rows
    }
    return {one: found[one] for one in cases}


DECIDED: Mapping[str, TypeEngine[Any]] = {
    "id": BigInteger(),  # of the server, while its incident has none
    "slot": BigInteger(),
    "since": BigInteger(),
    "kind": String(),
    "is_flapping": Boolean(),
    "rule_id": BigInteger(),
    "rule": String(),
    "severity": String(),
    "looked_at": String(),
}


def _turn(one: Decided) -> Turn:
    return one.decision.turn


def _row(one: Decided, known: int) -> list[object]:
    turn, slot, since = one.decision
    said = one.case.rule_id, one.rule.name, one.rule.severity, one.rule.when.kind
    return [known, slot_time(slot), slot_time(since), turn, one.is_flapping, *said]


def _open_new() -> Executable:
    given = incoming(DECIDED)
    since = time_at(given.c.since)
    why = and_(WHY.c.server_id == given.c.id, WHY.c.observed, WHY.c.datetime == since)
    said = {
        "rule_id": given.c.rule_id,
        "rule": given.c.rule,
        "severity": given.c.severity,
        "kind": given.c.looked_at,
        "extent": literal(Extent.SERVER.value),
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
    rows = rows.outerjoin(WHY, why).order_by(SERVER.c.id, given.c.rule_id)
    return insert(INCIDENT).from_select(list(said), rows)


def _changed(**values: object) -> Executable:
    given = incoming(DECIDED, "id", "since", "is_flapping")
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
    given = given_ids()
    own = select(INCIDENT.c.server_id, INCIDENT.c.id, INCIDENT.c.rule_id, IS_OPEN.label("is_open"))
    shared = select(
        MEMBER.c.server_id, MEMBER.c.incident_id, INCIDENT.c.rule_id, MEMBER.c.until.is_(None)
    ).join(INCIDENT, INCIDENT.c.id == MEMBER.c.incident_id)
    each = (
        own.where(INCIDENT.c.server_id.in_(given))
        .union_all(shared.where(MEMBER.c.server_id.in_(given)))
        .subquery()
    )
    open_one = func.max(case((each.c.is_open, each.c.id))).label("open_one")
    newest = func.coalesce(open_one.element, func.max(each.c.id)).label("id")
    of_each = (
        select(each.c.server_id, each.c.rule_id, newest)
        .group_by(each.c.server_id, each.c.rule_id)
        .subquery()
    )
    return select(of_each, INCIDENT.c.extent).join(INCIDENT, INCIDENT.c.id == of_each.c.id)


SINCE = object()
"""In the place of a value: the slot since when it is so."""
OPEN_NEW = _open_new()
NEWEST = _newest()
OPEN_AGAIN = _changed(resolved=None, how=None, flaps=INCIDENT.c.flaps + 1)
RESOLVE = _changed(resolved=SINCE, how=How.GOOD.value, **LET_GO)
NOTE = _note()
