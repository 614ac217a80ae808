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

from core.incidents.groups import FEWEST, JOIN_M, MOST_PCT, SCOPES, Group, gathered, groups_of
from core.incidents.judged import Decided
from core.incidents.records import How, Kind
from core.incidents.timeline import note, servers
from core.models import INCIDENT, MEMBER, PARENT, SERVER, WHY, Schedule
from core.servers import tags
from core.servers.schedule import in_force
from core.slots import SLOT, slot_time
from core.sql import UtcDateTime, as_rows, incoming, time_at

MOST_NAMED = 20


class _Turned(NamedTuple):
    """Who turned within two slots; of those that are in no group yet, since when they are bad."""

    everybody: set[int]
    since: dict[int, datetime]
    alone: dict[int, int]
    """The incident of each that turned a slot before and went alone."""


def gather(
    session: Session, slot: datetime, opened: Sequence[Decided], named: Mapping[str, str]
) -> set[int]:
    """Have who turned in `slot` go with its group, where most of that turned; return who does.

    Whoever went alone a slot before goes along, and its own incident ends. `named` is the rule: its
    name as `rule`, and its `severity`.
    """
    turned = _turned(session, slot, opened)
    there = _there(session, slot)
    if not there and 100 * len(turned.everybody) < MOST_PCT * FEWEST:
        return set()
    fleet = _fleet(session, slot)
    groups = gathered(fleet, turned.everybody, turned.since.keys(), there.keys())
    _open(session, slot, _first(groups, turned, there), named)
    incidents = _there(session, slot)
    goes = {one: incidents[group] for one, group in groups.items()}
    rows = [[incident, one, slot, turned.since[one]] for one, incident in goes.items()]
    if rows:
        session.execute(JOIN, {"rows": as_rows(rows)})
    _take_in(session, slot, {one: goes[one] for one in turned.alone if one in goes}, turned.alone)
    news = [one.server_id for one in opened if one.server_id in goes]
    joined = Counter(there[groups[one]] for one in news if groups[one] in there)
    note(session, slot, Kind.JOINED, {one: servers(number) for one, number in joined.items()})
    return set(news)


def _turned(session: Session, slot: datetime, opened: Sequence[Decided]) -> _Turned:
    before = {"slot": slot - SLOT}
    alone = session.execute(ALONE, before).all()
    since = {one.server_id: one.opened for one in alone}
    since |= {one.server_id: slot_time(one.decision.since) for one in opened}
    everybody = {*since, *session.scalars(TOGETHER, before)}
    return _Turned(everybody, since, {one.server_id: one.id for one in alone})


def _there(session: Session, slot: datetime) -> dict[Group, int]:
    """The incidents that take in who turns, by their groups."""
    found = session.execute(THERE, {"slot": slot, "since": slot - JOIN_M * SLOT})
    return {
        Group(scope, "" if parent_id else name, parent_id): incident
        for incident, scope, name, parent_id in found
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


def _first(
    groups: Mapping[int, Group], turned: _Turned, there: Mapping[Group, int]
) -> dict[Group, tuple[datetime, int]]:
    """Of each new group the slot in which its first server was bad, and that server."""
    members: dict[Group, list[tuple[datetime, int]]] = defaultdict(list)
    for one, group in groups.items():
        if group not in there:
            members[group].append((turned.since[one], one))
    return {group: min(some) for group, some in members.items()}


def _open(
    session: Session,
    slot: datetime,
    first: Mapping[Group, tuple[datetime, int]],
    named: Mapping[str, str],
) -> None:
    rows = [[*group, since, server_id] for group, (since, server_id) in first.items()]
    if rows:
        session.execute(OPEN, {"rows": as_rows(rows), "slot": slot, **named})
        opened = session.scalars(OPENED, {"slot": slot})
        note(session, slot, Kind.OPENED, dict.fromkeys(opened))


def _take_in(
    session: Session, slot: datetime, goes: Mapping[int, int], alone: Mapping[int, int]
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
            "scope": String(),
            "name": String(),
            "parent_id": BigInteger(),
            "since": BigInteger(),
            "first": BigInteger(),
        }
    )
    since = time_at(given.c.since)
    why = and_(WHY.c.server_id == given.c.first, WHY.c.observed, WHY.c.datetime == since)
    said = {
        "rule": bindparam("rule", type_=String()),
        "severity": bindparam("severity", type_=String()),
        "scope": given.c.scope,
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
    return insert(INCIDENT).from_select(list(said), rows.order_by(given.c.first, given.c.scope))


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
IS_OPEN = INCIDENT.c.resolved.is_(None)
OF_GROUP = INCIDENT.c.scope.in_([scope.value for scope in SCOPES])
ALONE = select(INCIDENT.c.id, INCIDENT.c.server_id, INCIDENT.c.opened).where(
    IS_OPEN, INCIDENT.c.confirmed == AT, INCIDENT.c.server_id.is_not(None)
)
TOGETHER = (
    select(MEMBER.c.server_id)
    .join(INCIDENT, INCIDENT.c.id == MEMBER.c.incident_id)
    .where(IS_OPEN, MEMBER.c.confirmed == AT)
)
THERE = select(INCIDENT.c.id, INCIDENT.c.scope, INCIDENT.c.name, INCIDENT.c.parent_id).where(
    IS_OPEN, OF_GROUP, INCIDENT.c.confirmed.between(bindparam("since", type_=UtcDateTime()), AT)
)
OPENED = select(INCIDENT.c.id).where(IS_OPEN, OF_GROUP, INCIDENT.c.confirmed == AT)
OPEN = _open_new()
JOIN = _join()
END = (
    update(INCIDENT)
    .where(INCIDENT.c.id.in_(select(incoming({"id": BigInteger()}).c.id)))
    .values(
        resolved=AT,
        how=How.GROUP.value,
        is_flapping=False,
        held=None,
        acked_by=None,
        acked_until=None,
    )
)
