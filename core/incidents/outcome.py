"""What comes of decisions: incidents opened, opened again and resolved, and their timelines.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Executable,
    String,
    and_,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.incidents.judge import Turn
from core.incidents.judged import Decided
from core.incidents.look import Case, given_servers
from core.incidents.records import How
from core.models import EVENT, INCIDENT, SERVER, WHY
from core.slots import slot_time
from core.sql import as_rows, incoming, time_at


def carry_out(session: Session, decided: Sequence[Decided]) -> None:
    """Carry out a decision of each of these cases. Four statements at most, however many."""
    opened = [_row(one, one.case.server_id) for one in decided if _turn(one) is Turn.OPENED]
    if opened:
        session.execute(OPEN_NEW, {"rows": as_rows(opened)})
    newest = newest_of(session, [one.case for one in decided])
    for turn, statement in (Turn.REOPENED, OPEN_AGAIN), (Turn.RESOLVED, RESOLVE):
        rows = [_row(one, newest[one.case]) for one in decided if _turn(one) is turn]
        if rows:
            session.execute(statement, {"rows": as_rows(rows)})
    session.execute(NOTE, {"rows": as_rows(_row(one, newest[one.case]) for one in decided)})


def newest_of(session: Session, cases: Collection[Case]) -> dict[Case, int]:
    """Return the newest incident of each of these cases. One statement."""
    if not cases:
        return {}
    rows = session.execute(NEWEST, {"rows": as_rows([one.server_id] for one in cases)})
    found = {Case(server_id, rule_id): known for server_id, rule_id, known in rows}
    return {case: found[case] for case in cases}


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


SINCE = object()
"""In the place of a value: the slot since when it is so."""
OPEN_NEW = _open_new()
NEWEST = (
    select(INCIDENT.c.server_id, INCIDENT.c.rule_id, func.max(INCIDENT.c.id))
    .where(INCIDENT.c.server_id.in_(given_servers()))
    .group_by(INCIDENT.c.server_id, INCIDENT.c.rule_id)
)
OPEN_AGAIN = _changed(resolved=None, how=None, flaps=INCIDENT.c.flaps + 1)
RESOLVE = _changed(resolved=SINCE, how=How.GOOD.value, acked_by=None, acked_until=None)
NOTE = _note()
