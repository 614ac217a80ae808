"""Members: the servers in the incident of a group. It is over when the last one is good again.

Every function takes a session inside a transaction that its caller ends.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Executable,
    String,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session

from core.incidents.gather import OF_GROUP
from core.incidents.judge import Turn
from core.incidents.judged import Decided, forget
from core.incidents.look import Case
from core.incidents.records import How, Kind
from core.incidents.standing import IS_OPEN, LET_GO
from core.incidents.timeline import note, servers
from core.models import INCIDENT, JUDGED, MEMBER, SERVER, Schedule
from core.servers.schedule import in_force
from core.slots import SLOT, slot_time
from core.sql import as_rows, given_ids, incoming, time_at


def move(session: Session, slot: datetime, decided: Sequence[tuple[int, Decided]]) -> None:
    """Carry out decisions about members, each with the incident that it is about."""
    back = [pair for pair in decided if pair[1].decision.turn is Turn.REOPENED]
    left = [
        (incident, one.case.server_id, slot_time(one.decision.since))
        for incident, one in decided
        if one.decision.turn is Turn.RESOLVED
    ]
    if back:
        rows = as_rows([incident, one.case.server_id] for incident, one in back)
        session.execute(COME_BACK, {"rows": rows})
        flapping = {incident for incident, one in back if one.is_flapping}
        session.execute(FLAP, {"rows": as_rows([one] for one in flapping)})
    _leave(session, slot, left, How.GOOD, Counter(incident for incident, _ in back))


def leave_unwatched(session: Session, slot: datetime) -> None:
    """Have those leave that nobody watches any more: removed or paused."""
    found = session.execute(
        select(MEMBER.c.incident_id, MEMBER.c.server_id, INCIDENT.c.rule_id, SERVER.c.id)
        .join(INCIDENT, INCIDENT.c.id == MEMBER.c.incident_id)
        .outerjoin(SERVER, SERVER.c.id == MEMBER.c.server_id)
        .outerjoin(Schedule, and_(Schedule.server_id == SERVER.c.id, in_force(slot + SLOT)))
        .where(IS_OPEN, OF_GROUP, MEMBER.c.until.is_(None))
        .where(or_(SERVER.c.id.is_(None), ~Schedule.enabled))
    ).all()
    for how in How.REMOVED, How.PAUSED:
        gone = [row for row in found if (row.id is None) is (how is How.REMOVED)]
        cases = {Case(row.server_id, row.rule_id): row.incident_id for row in gone}
        leave(session, slot, cases, how)
        forget(session, cases.keys())


def leave(session: Session, slot: datetime, cases: Mapping[Case, int], how: How) -> None:
    """Have these leave their incidents, whatever their newest slots say."""
    left = [(incident, case.server_id, slot) for case, incident in cases.items()]
    _leave(session, slot, left, how)


def leave_all(session: Session, ids: Iterable[int], at: datetime) -> None:
    """Have everybody leave these incidents, which somebody ends; what was judged is forgotten."""
    still = MEMBER.c.incident_id.in_(ids), MEMBER.c.until.is_(None)
    cases = select(MEMBER.c.server_id, INCIDENT.c.rule_id).join(
        INCIDENT, INCIDENT.c.id == MEMBER.c.incident_id
    )
    judged = tuple_(JUDGED.c.server_id, JUDGED.c.rule_id)
    session.execute(delete(JUDGED).where(judged.in_(cases.where(*still))))
    session.execute(update(MEMBER).where(*still).values(until=at))


def _leave(
    session: Session,
    slot: datetime,
    left: Sequence[tuple[int, int, datetime]],
    how: How,
    back: Mapping[int, int] | None = None,
) -> None:
    if left:
        session.execute(LEAVE, {"rows": as_rows(left)})
    gone, back = Counter(incident for incident, *_ in left), back or {}
    if not gone and not back:
        return
    states = session.execute(STATES, {"rows": as_rows([one] for one in {*gone, *back})}).all()
    over = [(row.id, row.last) for row in states if row.resolved is None and not row.bad]
    again = [row.id for row in states if row.resolved is not None and row.bad]
    if over:
        session.execute(CLOSE, {"rows": as_rows(over), "as": how.value})
    if again:
        session.execute(OPEN_AGAIN, {"rows": as_rows([one] for one in again)})
    said = None if how is How.GOOD else how.value
    note(session, slot, Kind.RESOLVED, {one: said for one, _ in over})
    note(session, slot, Kind.REOPENED, dict.fromkeys(again))
    settled = {one for one, _ in over} | {*again}
    for kind, counts in (Kind.LEFT, gone), (Kind.JOINED, back):
        more = {one: servers(number) for one, number in counts.items() if one not in settled}
        note(session, slot, kind, more)


PLACE = {"incident_id": BigInteger(), "server_id": BigInteger()}


def _moved() -> tuple[Executable, Executable]:
    given = incoming(PLACE | {"until": BigInteger()}), incoming(PLACE)
    leaving, coming_back = (
        update(MEMBER).where(
            MEMBER.c.incident_id == one.c.incident_id, MEMBER.c.server_id == one.c.server_id
        )
        for one in given
    )
    return leaving.values(until=time_at(given[0].c.until)), coming_back.values(until=None)


def _close() -> Executable:
    given = incoming({"id": BigInteger(), "last": BigInteger()})
    closing = update(INCIDENT).where(INCIDENT.c.id == given.c.id)
    how = bindparam("as", type_=String())
    return closing.values(resolved=time_at(given.c.last), how=how, **LET_GO)


LEAVE, COME_BACK = _moved()
GIVEN = given_ids()
STATES = (
    select(
        INCIDENT.c.id,
        INCIDENT.c.resolved,
        func.max(MEMBER.c.until).label("last"),
        func.sum(case((MEMBER.c.until.is_(None), 1), else_=0)).label("bad"),
    )
    .join(MEMBER, MEMBER.c.incident_id == INCIDENT.c.id)
    .where(INCIDENT.c.id.in_(GIVEN))
    .group_by(INCIDENT.c.id)
    .order_by(INCIDENT.c.id)
)
CLOSE = _close()
AMONG = update(INCIDENT).where(INCIDENT.c.id.in_(GIVEN))
OPEN_AGAIN = AMONG.values(resolved=None, how=None, flaps=INCIDENT.c.flaps + 1)
FLAP = AMONG.values(is_flapping=True)
