"""Gathering: servers that turned bad at once go into one incident, that of their group.

Every function takes a session inside a transaction that its caller ends. What it does for one
server it does for 10,000 with as many statements.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Executable,
    String,
    and_,
    bindparam,
    false,
    func,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.incidents.groups import (
    EXTENTS,
    FEWEST,
    JOIN_M,
    MOST_PCT,
    Fleet,
    Group,
    gathered,
    groups_of,
)
from core.incidents.judged import Decided
from core.incidents.look import Case
from core.incidents.records import How, Kind
from core.incidents.standing import IS_OPEN, LET_GO
from core.incidents.timeline import note, servers
from core.models import INCIDENT, MEMBER, PARENT, SERVER, WHY, Schedule
from core.servers import tags
from core.servers.schedule import in_force
from core.slots import SLOT, slot_time
from core.sql import UtcDateTime, as_rows, given_ids, incoming, time_at

MOST_NAMED = 20


class _Turned(NamedTuple):
    """Who turned within two slots, and since when each case is bad that is in no group yet."""

    servers: set[int]
    since: dict[Case, datetime]
    alone: dict[Case, int]
    """The incident of each that turned a slot before and went alone."""
    rules: dict[int, tuple[str, ...]]
    """Of each rule by which they did, by id: its name, its severity, what it looks at."""


Incidents = Mapping[tuple[int, Group], int]
"""The incidents that take in who turns, by rule and group."""


def gather(session: Session, slot: datetime, opened: Sequence[Decided]) -> set[Case]:
    """Have who turned in `slot` go with its group, where most of that turned; return who does.

    Whoever went alone a slot before goes along, and its own incident ends. Whatever the rules are
    by which they turned, they count together; each rule has its own incident.
    """
    turned, there = _turned(session, slot, opened), _there(session, slot)
    if not there and 100 * len(turned.servers) < MOST_PCT * FEWEST:
        return set()
    groups = _gathered(_fleet(session, slot), turned, there)
    _open(session, slot, _first(groups, turned, there), turned)
    incidents = _there(session, slot)
    goes = {case: incidents[case.rule_id, group] for case, group in groups.items()}
    if goes:
        rows = [[one, case.server_id, slot, turned.since[case]] for case, one in goes.items()]
        session.execute(JOIN, {"rows": as_rows(rows)})
    _take_in(session, slot, {one: goes[one] for one in turned.alone if one in goes}, turned.alone)
    news = {one.case for one in opened if one.case in goes}
    joined = Counter(goes[one] for one in news if (one.rule_id, groups[one]) in there)
    note(session, slot, Kind.JOINED, {one: servers(number) for one, number in joined.items()})
    return news


def _turned(session: Session, slot: datetime, opened: Sequence[Decided]) -> _Turned:
    before = {"slot": slot - SLOT}
    since, alone = {}, {}
    rules: dict[int, tuple[str, ...]] = {}
    for incident, server_id, opened_at, rule_id, *named in session.execute(ALONE, before):
        case = Case(server_id, rule_id)
        since[case], alone[case], rules[rule_id] = opened_at, incident, tuple(named)
    for one in opened:
        since[one.case] = slot_time(one.decision.since)
        rules[one.case.rule_id] = one.rule.name, one.rule.severity, one.rule.when.kind
    everybody = {case.server_id for case in since} | set(session.scalars(TOGETHER, before))
    return _Turned(everybody, since, alone, rules)


def _there(session: Session, slot: datetime) -> Incidents:
    found = session.execute(THERE, {"slot": slot, "since": slot - JOIN_M * SLOT})
    return {
        (rule_id, Group(extent, "" if parent_id else name, parent_id)): incident
        for incident, rule_id, extent, name, parent_id in found
    }


def _fleet(session: Session, slot: datetime) -> dict[int, list[Group]]:
    """The groups of each server that is watched."""
    tagged = tags.of(session)
    watched = (
        select(SERVER.c.id, SERVER.c.ip, PARENT.c.parent_id)
        .join(Schedule, Schedule.server_id == SERVER.c.id)
        .outerjoin(PARENT, PARENT.c.server_id == SERVER.c.id)
        .where(in_force(slot + SLOT), Schedule.enabled)
    )
    return {
        server_id: groups_of(parent_id, tagged.get(server_id, ()), ip)
        for server_id, ip, parent_id in session.execute(watched)
    }


def _gathered(fleet: Fleet, turned: _Turned, there: Incidents) -> dict[Case, Group]:
    found: dict[Case, Group] = {}
    for rule in turned.rules:
        free = [case.server_id for case in turned.since if case.rule_id == rule]
        taking = {group for rule_id, group in there if rule_id == rule}
        goes = gathered(fleet, turned.servers, free, taking)
        found |= {Case(one, rule): group for one, group in goes.items()}
    return found


First = Mapping[tuple[int, Group], tuple[datetime, int]]
"""The slot in which the first server of a rule and group was bad, and that server."""


def _first(groups: Mapping[Case, Group], turned: _Turned, there: Incidents) -> First:
    """Of those that have no incident yet."""
    members: dict[tuple[int, Group], list[tuple[datetime, int]]] = defaultdict(list)
    for case, group in groups.items():
        if (case.rule_id, group) not in there:
            members[case.rule_id, group].append((turned.since[case], case.server_id))
    return {one: min(some) for one, some in members.items()}


def _open(session: Session, slot: datetime, first: First, turned: _Turned) -> None:
    rows = [
        [rule_id, *turned.rules[rule_id], *group, since, server_id]
        for (rule_id, group), (since, server_id) in first.items()
    ]
    if rows:
        session.execute(OPEN, {"rows": as_rows(rows), "slot": slot})
        note(session, slot, Kind.OPENED, dict.fromkeys(session.scalars(OPENED, {"slot": slot})))


def _take_in(
    session: Session, slot: datetime, goes: Mapping[Case, int], alone: Mapping[Case, int]
) -> None:
    if not goes:
        return
    own = [alone[one] for one in goes]
    session.execute(END, {"rows": as_rows([one] for one in own), "slot": slot})
    ended = {alone[one]: f"goes on in incident {incident}" for one, incident in goes.items()}
    note(session, slot, Kind.RESOLVED, ended)
    taken: dict[int, list[int]] = defaultdict(list)
    for one, incident in goes.items():
        taken[incident].append(alone[one])
    note(session, slot, Kind.JOINED, {one: _listed(some) for one, some in taken.items()})


def _listed(incidents: Iterable[int]) -> str:
    first, *more = [str(one) for one in sorted(incidents)]
    if not more:
        return f"incident {first} goes on here"
    named = ", ".join([first, *more][:MOST_NAMED])
    rest = len(more) + 1 - MOST_NAMED
    return f"incidents {named}{f' and {rest} more' if rest > 0 else ''} go on here"


def _open_new() -> Executable:
    given = incoming(
        {
            "rule_id": BigInteger(),
            "rule": String(),
            "severity": String(),
            "kind": String(),
            "extent": String(),
            "name": String(),
            "parent_id": BigInteger(),
            "since": BigInteger(),
            "first": BigInteger(),
        }
    )
    since = time_at(given.c.since)
    why = and_(WHY.c.server_id == given.c.first, WHY.c.observed, WHY.c.datetime == since)
    said = {
        "rule_id": given.c.rule_id,
        "rule": given.c.rule,
        "severity": given.c.severity,
        "kind": given.c.kind,
        "extent": given.c.extent,
        "parent_id": given.c.parent_id,
        "name": func.coalesce(SERVER.c.name, given.c.name),
        "opened": since,
        "confirmed": AT,
        "flaps": literal(0),
        "is_flapping": false(),
        "reason": WHY.c.reason,
        "detail": WHY.c.detail,
    }
    rows = select(*said.values()).select_from(given).where(true())
    rows = rows.outerjoin(SERVER, SERVER.c.id == given.c.parent_id).outerjoin(WHY, why)
    return insert(INCIDENT).from_select(list(said), rows.order_by(given.c.first, given.c.extent))


def _join() -> Executable:
    given = incoming(
        {
            "incident_id": BigInteger(),
            "server_id": BigInteger(),
            "confirmed": BigInteger(),
            "since": BigInteger(),
        }
    )
    said = {
        "incident_id": given.c.incident_id,
        "server_id": SERVER.c.id,
        "name": SERVER.c.name,
        "confirmed": time_at(given.c.confirmed),
        "since": time_at(given.c.since),
    }
    rows = select(*said.values()).join_from(given, SERVER, SERVER.c.id == given.c.server_id)
    added = insert(MEMBER).from_select(list(said), rows.where(true()))
    # Of a server that is looked at otherwise nothing is remembered: it may turn once more.
    return added.on_conflict_do_update(
        index_elements=["incident_id", "server_id"], set_={"until": None}
    )


AT = bindparam("slot", type_=UtcDateTime())
OF_GROUP = INCIDENT.c.extent.in_([extent.value for extent in EXTENTS])
ALONE = select(
    INCIDENT.c.id,
    INCIDENT.c.server_id,
    INCIDENT.c.opened,
    INCIDENT.c.rule_id,
    INCIDENT.c.rule,
    INCIDENT.c.severity,
    INCIDENT.c.kind,
).where(IS_OPEN, INCIDENT.c.confirmed == AT, INCIDENT.c.server_id.is_not(None))
TOGETHER = (
    select(MEMBER.c.server_id)
    .join(INCIDENT, INCIDENT.c.id == MEMBER.c.incident_id)
    .where(IS_OPEN, MEMBER.c.confirmed == AT)
)
SINCE = bindparam("since", type_=UtcDateTime())
THERE = select(
    INCIDENT.c.id,
    INCIDENT.c.rule_id,
    INCIDENT.c.extent,
    INCIDENT.c.name,
    INCIDENT.c.parent_id,
).where(IS_OPEN, OF_GROUP, INCIDENT.c.confirmed.between(SINCE, AT))
OPENED = select(INCIDENT.c.id).where(IS_OPEN, OF_GROUP, INCIDENT.c.confirmed == AT)
OPEN = _open_new()
JOIN = _join()
END = (
    update(INCIDENT)
    .where(INCIDENT.c.id.in_(given_ids()))
    .values(
        resolved=AT,
        how=How.GROUP.value,
        **LET_GO,
    )
)
