"""Announcing: once a round, in order of slots, what its pings say of incidents.

How far that has come is one latch. A slot is announced when every server that was due in it has a
ping or a reason why it has none, at the latest when the round after next begins; what comes later
is history. So the order in which results arrive changes nothing, nor does how often they come.

Every function takes a session inside a transaction that its caller ends.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice, takewhile, zip_longest
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Executable,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from core.incidents import judge, rules
from core.incidents.change import ANNOUNCED, end, hold_announcing
from core.incidents.judge import NOTHING, Decision, Memory, Turn, Verdict
from core.incidents.records import How
from core.models import DATA, EVENT, INCIDENT, JUDGED, LATCH, ROUND, SERVER, WHY, Schedule
from core.servers.find import due_in
from core.servers.schedule import Planned, due_slots, in_force, schedules, spans
from core.slots import SLOT, slot_number, slot_time
from core.sql import UtcDateTime, as_rows, incoming, time_at

FENCE = 2 * SLOT
"""A round later than that is judged without what is still missing of it."""


def announce(session: Session, slot: datetime) -> int:
    """Announce what nothing is missing of, now that results of `slot` came; return how many
    decisions that made.

    Nothing of the past is told: before a round begins that notes it there is nothing to announce.
    """
    newest = hold_announcing(session)
    if newest is None or newest >= slot:
        return 0
    # What came before its turn is waiting behind it.
    begun = session.scalar(select(func.max(ROUND.c.slot)))
    whole = takewhile(
        lambda one: not _is_missing(session, one),
        _slots(newest + SLOT, max(slot, begun or slot)),
    )
    last = max(whole, default=newest)
    return _go_on(session, newest + SLOT, last) if last > newest else 0


def close(session: Session, slot: datetime) -> int:
    """Announce what the beginning of the round of `slot` leaves behind the fence.

    Who begins the first round of all begins with its slot.
    """
    newest = hold_announcing(session)
    if newest is None:
        first = insert(LATCH).values(name=ANNOUNCED, since=slot - SLOT).on_conflict_do_nothing()
        session.execute(first)
        return 0
    last = slot - FENCE
    return _go_on(session, newest + SLOT, last) if newest < last else 0


def _slots(first: datetime, last: datetime) -> Iterator[datetime]:
    return map(slot_time, range(slot_number(first), slot_number(last) + 1))


# What is missing


def _is_missing(session: Session, slot: datetime) -> bool:
    """Whether a server that was due in `slot` has neither a ping nor a reason why it has none."""
    pinged = exists().where(DATA.c.server_id == SERVER.c.id, DATA.c.datetime == slot)
    explained = exists().where(
        WHY.c.server_id == SERVER.c.id, ~WHY.c.observed, WHY.c.datetime == slot
    )
    # Nearly all have it as their newest, and are not looked for any further.
    newest = func.coalesce(SERVER.c.last_slot == slot, false())
    missing = due_in(slot, [SERVER.c.id]).where(~newest, ~pinged, ~explained)
    return session.execute(missing.limit(1)).first() is not None


# What is found


class Found(NamedTuple):
    """What there is of some slots: who isn't quiet or had none of its echoes back."""

    revisions: Mapping[int, int]
    memories: Mapping[int, Memory]
    rows: Mapping[int, Mapping[int, int]]
    """How many echoes came back, by server and slot."""
    plans: Mapping[int, Sequence[Planned]]


def _look(session: Session, first: datetime, last: datetime) -> Found:
    known = {
        server_id: (revision, msgspec.json.decode(memory, type=Memory))
        for server_id, revision, memory in session.execute(select(JUDGED))
    }
    span = {"first": first, "last": last}
    ids = {*known, *session.scalars(NEWLY_BAD if first == last else EVER_BAD, span)}
    if not ids:
        return Found({}, {}, {}, {})
    wanted = span | {"rows": as_rows([one] for one in sorted(ids))}
    now = dict(session.execute(REVISIONS, wanted).all())
    memories = {}
    for one in now:
        revision, memory = known.get(one, (now[one], NOTHING))
        memories[one] = memory if revision == now[one] else judge.begun_anew(memory)
    rows: dict[int, dict[int, int]] = defaultdict(dict)
    for server_id, slot, received in session.execute(ROWS, wanted):
        rows[server_id][slot_number(slot)] = received
    # Where every slot has its ping nobody asks what was due.
    slots = slot_number(last) - slot_number(first) + 1
    gaps = [one for one in now if len(rows.get(one, ())) < slots]
    return Found(now, memories, rows, schedules(session, gaps) if gaps else {})


FIRST = bindparam("first", type_=UtcDateTime())
LAST = bindparam("last", type_=UtcDateTime())
WITHIN = DATA.c.datetime.between(FIRST, LAST)
EVER_BAD = select(DATA.c.server_id).where(WITHIN, DATA.c.received == 0)


def _newly_bad() -> Executable:
    """As EVER_BAD, of one slot: as a rule it is every server's newest, which is said beside it."""
    newest = select(SERVER.c.id).where(SERVER.c.last_slot == LAST, SERVER.c.last_received == 0)
    later = (
        select(SERVER.c.id)
        .join(DATA, and_(DATA.c.server_id == SERVER.c.id, DATA.c.datetime == LAST))
        .where(SERVER.c.last_slot > LAST, DATA.c.received == 0)
    )
    return newest.union_all(later)


def _given() -> Select[int]:
    return select(incoming({"server_id": BigInteger()}).c.server_id)


NEWLY_BAD = _newly_bad()
# Held before anything is written of them: whoever removes a server does so before or after.
REVISIONS = (
    select(SERVER.c.id, SERVER.c.revision)
    .where(SERVER.c.id.in_(_given()))
    .order_by(SERVER.c.id)
    .with_for_update(read=True, key_share=True)
)
ROWS = select(DATA.c.server_id, DATA.c.datetime, DATA.c.received).where(
    DATA.c.server_id.in_(_given()), WITHIN
)


# What is decided


class Decided(NamedTuple):
    """A decision about a server, and whether it is flapping then."""

    server_id: int
    decision: Decision
    is_flapping: bool


def _go_on(session: Session, first: datetime, last: datetime) -> int:
    found = _look(session, first, last)
    memories: dict[int, Memory] = {}
    decided: list[list[Decided]] = []
    for server_id, memory in found.memories.items():
        memories[server_id], made = _fold(
            found, server_id, memory, slot_number(first), slot_number(last)
        )
        decided.append(made)
    _remember(session, found, memories, slot_number(last))
    # A server's decisions are carried out one after the other, those of several servers at once.
    for wave in zip_longest(*decided):
        _carry_out(session, [one for one in wave if one])
    _end_without_verdict(session, last)
    session.execute(update(LATCH).where(LATCH.c.name == ANNOUNCED).values(since=last))
    return sum(map(len, decided))


def _fold(
    found: Found, server_id: int, memory: Memory, first: int, last: int
) -> tuple[Memory, list[Decided]]:
    """Judge a server's slots from `first` to `last`, in order."""
    decided = []
    for slot, verdict in _verdicts(found, server_id, first, last):
        memory, decision = judge.step(memory, slot, verdict, rules.DEFAULT.limits)
        if decision:
            decided.append(Decided(server_id, decision, memory.is_flapping))
    return memory, decided


def _verdicts(found: Found, server_id: int, first: int, last: int) -> Iterator[tuple[int, Verdict]]:
    """Yield what each slot says that was due, or was looked at all the same.

    More blind slots in a row than the judge remembers are no news.
    """
    planned = spans(found.plans.get(server_id, ()))
    rows = found.rows.get(server_id, {})
    seen = first - 1
    for slot in [*sorted(rows), last + 1]:
        for blind in islice(due_slots(planned, seen + 1, slot), judge.MOST):
            yield blind, Verdict.BLIND
        if slot <= last:
            yield slot, Verdict.GOOD if rows[slot] else Verdict.BAD
        seen = slot


def _remember(session: Session, found: Found, memories: Mapping[int, Memory], last: int) -> None:
    quiet = [one for one, memory in memories.items() if judge.is_quiet(memory, last)]
    loud = [
        [one, found.revisions[one], msgspec.json.encode(memory).decode()]
        for one, memory in memories.items()
        if not judge.is_quiet(memory, last)
    ]
    if quiet:
        session.execute(FORGET, {"rows": as_rows([one] for one in quiet)})
    if loud:
        session.execute(REMEMBER, {"rows": as_rows(loud)})


def _remembering() -> Executable:
    given = incoming({"server_id": BigInteger(), "revision": Integer(), "memory": String()})
    rows = select(given.c.server_id, given.c.revision, given.c.memory).where(literal(True))
    new = insert(JUDGED).from_select(["server_id", "revision", "memory"], rows)
    anew = {"revision": new.excluded.revision, "memory": new.excluded.memory}
    return new.on_conflict_do_update(index_elements=["server_id"], set_=anew)


REMEMBER = _remembering()
FORGET = delete(JUDGED).where(JUDGED.c.server_id.in_(_given()))


# What comes of it


def _carry_out(session: Session, decided: Sequence[Decided]) -> None:
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
    .where(INCIDENT.c.server_id.in_(_given()))
    .group_by(INCIDENT.c.server_id)
)
OPEN_AGAIN = _changed(resolved=None, how=None, flaps=INCIDENT.c.flaps + 1)
RESOLVE = _changed(resolved=SINCE, how=How.GOOD.value, acked_by=None, acked_until=None)
NOTE = _note()


def _end_without_verdict(session: Session, slot: datetime) -> None:
    """Resolve what is open of servers that nobody watches any more: removed or paused."""
    is_open = INCIDENT.c.resolved.is_(None)
    removed = select(INCIDENT.c.id).where(is_open, INCIDENT.c.server_id.is_(None))
    end(session, session.scalars(removed).all(), How.REMOVED, slot)
    paused = (
        select(INCIDENT.c.id)
        .join(SERVER, SERVER.c.id == INCIDENT.c.server_id)
        .join(Schedule, Schedule.server_id == SERVER.c.id)
        .where(is_open, in_force(slot + SLOT), ~Schedule.enabled)
    )
    end(session, session.scalars(paused).all(), How.PAUSED, slot)
