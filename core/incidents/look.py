"""What there is of some slots: who isn't quiet, or may be bad under a rule that holds for it.

Every function takes a session inside a transaction that its caller ends.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Double,
    Executable,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    or_,
    select,
)
from sqlalchemy.orm import Session

from core.incidents import judge, rulebook
from core.incidents.judge import NOTHING, Memory
from core.incidents.rules import Rule, Rules
from core.incidents.when import Seen
from core.models import DATA, JUDGED, SERVER
from core.servers import tags
from core.servers.exempt import exempt
from core.servers.find import due_in
from core.servers.schedule import Planned, Span, schedules
from core.slots import slot_number
from core.sql import UtcDateTime, as_rows, given_ids

Among = Callable[[datetime, Sequence[Any]], Select[*tuple[Any, ...]]]
"""Selects columns of servers of whom something is wanted in a slot."""


class Case(NamedTuple):
    """A server under a rule."""

    server_id: int
    rule_id: int


class Known(NamedTuple):
    """What is remembered of a case: of which revision of the server, by which terms of the rule."""

    revision: int
    terms: str
    memory: Memory


class Found(NamedTuple):
    """What there is of some slots: who isn't quiet or may be bad under a rule that holds for it."""

    known: Mapping[Case, Known]
    """What is remembered."""
    cases: Mapping[Case, Known]
    """What is to be judged: by which terms, and what still counts of what is remembered."""
    rules: Mapping[Case, Rule]
    rows: Mapping[int, Mapping[int, Seen]]
    """What came of the echoes, by server and slot."""
    plans: Mapping[int, Sequence[Planned]]
    exempt: Mapping[int, Sequence[Span]]
    """Which slots aren't judged, from the one before on."""


NOTHING_FOUND = Found({}, {}, {}, {}, {}, {})


def look(session: Session, first: datetime, last: datetime) -> Found:
    """Read what the judge is to be asked about in the slots from `first` to `last`."""
    known, made = _known(session), rulebook.in_force(session)
    ids = {case.server_id for case in known} | _suspects(session, made, first, last)
    if not ids:
        return NOTHING_FOUND
    wanted = {"first": first, "last": last, "rows": as_rows([one] for one in sorted(ids))}
    servers = session.execute(SERVERS, wanted).all()
    revisions = {one.id: one.revision for one in servers}
    rules = _rules(session, made, servers)
    rows = _rows(session, wanted)
    # Where every slot has its ping nobody asks what was due.
    low, end = slot_number(first), slot_number(last) + 1
    gaps = [one for one in revisions if len(rows.get(one, ())) < end - low]
    return Found(
        known={case: one for case, one in known.items() if case.server_id in revisions},
        cases={
            case: _as_now(known.get(case), revisions[case.server_id], rule.terms)
            for case, rule in rules.items()
        },
        rules=rules,
        rows=rows,
        plans=schedules(session, gaps) if gaps else {},
        exempt=exempt(session, sorted(revisions), low - 1, end),
    )


def _rules(
    session: Session, made: Rules, servers: Sequence[Row[*tuple[Any, ...]]]
) -> dict[Case, Rule]:
    """Return the rules that hold for each of these servers."""
    tagged = tags.of(session, [one.id for one in servers]) if made.ask_tags else {}
    return {
        Case(server.id, rule_id): rule
        for server in servers
        for rule_id, rule in made.of(server.name, tagged.get(server.id, ())).items()
    }


def _rows(session: Session, wanted: Mapping[str, object]) -> dict[int, dict[int, Seen]]:
    rows: dict[int, dict[int, Seen]] = defaultdict(dict)
    for server_id, slot, *seen in session.execute(ROWS, wanted):
        rows[server_id][slot_number(slot)] = Seen(*seen)
    return rows


def _known(session: Session) -> dict[Case, Known]:
    return {
        Case(server_id, rule_id): Known(revision, terms, msgspec.json.decode(memory, type=Memory))
        for server_id, rule_id, revision, terms, memory in session.execute(KNOWN)
    }


def _as_now(known: Known | None, revision: int, terms: str) -> Known:
    """Return what is remembered of a case, as far as the server and the rule are still the same.

    What is open keeps the terms it was opened by.
    """
    if known is None or (known.terms != terms and not known.memory.is_open):
        return Known(revision, terms, NOTHING)
    if known.revision != revision:
        return Known(revision, known.terms, judge.begun_anew(known.memory))
    return known


FIRST = bindparam("first", type_=UtcDateTime())
LAST = bindparam("last", type_=UtcDateTime())
WITHIN = DATA.c.datetime.between(FIRST, LAST)


def _suspects(session: Session, made: Rules, first: datetime, last: datetime) -> set[int]:
    """Return the ids of the servers that may be bad in one of the slots under one of the rules."""
    statement = (_in_one_slot if first == last else _in_slots)(
        bool(made.numbers("loss_pct")), bool(made.numbers("p95_ms"))
    )
    slowest = min(made.numbers("p95_ms"), default=0)
    found = set(session.scalars(statement, {"first": first, "last": last, "slow_ms": slowest}))
    if made.numbers("coverage_pct"):
        # Of several slots, which are rare, everybody is asked about.
        blind = unseen_in(last) if first == last else select(SERVER.c.id)
        found |= set(session.scalars(blind))
    return found


def unseen_in(slot: datetime, among: Among = due_in) -> Select[int]:
    """Select the ids of the servers that were due in `slot`, or others, that have no ping of it."""
    pinged = exists().where(DATA.c.server_id == SERVER.c.id, DATA.c.datetime == slot)
    # Nearly all have it as their newest, and are not looked for any further.
    is_newest = SERVER.c.last_slot.is_not_distinct_from(slot)
    return among(slot, [SERVER.c.id]).where(~is_newest, ~pinged)


SLOW_MS: BindParameter[float] = bindparam("slow_ms", type_=Double())


def _may_be_bad(
    sent: ColumnElement[int],
    received: ColumnElement[int],
    ms: ColumnElement[float | None],
    *,
    by_loss: bool,
    by_time: bool,
) -> ColumnElement[bool]:
    bad = received < sent if by_loss else received == 0
    return or_(bad, ms > SLOW_MS) if by_time else bad


@cache
def _in_slots(by_loss: bool, by_time: bool) -> Executable:
    columns = DATA.c.sent, DATA.c.received, DATA.c.response_time
    bad = _may_be_bad(*columns, by_loss=by_loss, by_time=by_time)
    return select(DATA.c.server_id).where(WITHIN, bad)


@cache
def _in_one_slot(by_loss: bool, by_time: bool) -> Executable:
    """As `_in_slots`: as a rule it is every server's newest, which is said beside it."""
    newest = SERVER.c.last_sent, SERVER.c.last_received, SERVER.c.last_ms
    bad = _may_be_bad(*newest, by_loss=by_loss, by_time=by_time)
    now = select(SERVER.c.id).where(SERVER.c.last_slot == LAST, bad)
    columns = DATA.c.sent, DATA.c.received, DATA.c.response_time
    bad = _may_be_bad(*columns, by_loss=by_loss, by_time=by_time)
    later = (
        select(SERVER.c.id)
        .join(DATA, and_(DATA.c.server_id == SERVER.c.id, DATA.c.datetime == LAST))
        .where(SERVER.c.last_slot > LAST, bad)
    )
    return now.union_all(later)


KNOWN = select(
    JUDGED.c.server_id, JUDGED.c.rule_id, JUDGED.c.revision, JUDGED.c.terms, JUDGED.c.memory
)
# Held before anything is written of them: whoever removes a server does so before or after.
SERVERS = (
    select(SERVER.c.id, SERVER.c.revision, SERVER.c.name)
    .where(SERVER.c.id.in_(given_ids()))
    .order_by(SERVER.c.id)
    .with_for_update(read=True, key_share=True)
)
ROWS = select(
    DATA.c.server_id, DATA.c.datetime, DATA.c.sent, DATA.c.received, DATA.c.response_time
).where(DATA.c.server_id.in_(given_ids()), WITHIN)
