"""Announcing: once a round, in order of slots, what its pings say of incidents.

How far that has come is one latch. A slot is announced when every server that was to be looked at,
due or rechecked, has a ping or a reason why it has none, at the latest when the round after next
begins; what comes later is history. So the order in which results arrive changes nothing, nor does
how often they come.

Every function takes a session inside a transaction that its caller ends.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import takewhile

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.incidents import recheck
from core.incidents.change import ANNOUNCED, end, hold_announcing
from core.incidents.holds import hold
from core.incidents.holds_planned import note_held
from core.incidents.judge import Memory, Verdict
from core.incidents.judged import Decided, fold, forget, remember
from core.incidents.look import Case, Found, look, unseen_in
from core.incidents.members import leave, leave_unwatched
from core.incidents.outcome import carry_out, newest_of
from core.incidents.records import Extent, How
from core.incidents.rules import DEFAULT_ID
from core.incidents.standing import IS_OPEN
from core.models import INCIDENT, LATCH, ROUND, RULE, SERVER, WHY, Schedule
from core.servers.find import looked_at_in
from core.servers.schedule import in_force
from core.slots import SLOT, slot_number, slot_time

FENCE = 2 * SLOT
"""A round later than that is judged without what is still missing of it."""
ROWS_AT_ONCE = 300_000
"""Rows of `data` that are judged in one transaction, at most: a few seconds and some 60 MB."""


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
    most = _at_once(session, newest, max(slot, begun or slot))
    whole = takewhile(lambda one: not _is_missing(session, one), _slots(newest + SLOT, most))
    last = max(whole, default=newest)
    return _go_on(session, newest + SLOT, last) if last > newest else 0


def close(session: Session, slot: datetime) -> bool:
    """Announce what the beginning of the round of `slot` leaves behind the fence, oldest first.

    At most so much at once; returns whether there is more. Who begins the first round of all begins
    with its slot.
    """
    newest = hold_announcing(session)
    if newest is None:
        first = insert(LATCH).values(name=ANNOUNCED, since=slot - SLOT).on_conflict_do_nothing()
        session.execute(first)
        return False
    last = _at_once(session, newest, slot - FENCE)
    if newest < last:
        _go_on(session, newest + SLOT, last)
    return last < slot - FENCE


def _at_once(session: Session, newest: datetime, last: datetime) -> datetime:
    """Return up to which slot, `last` at most, may be announced in one transaction.

    All that is recorded waits for it. Asks nothing where that is the next slot, as in most rounds.
    """
    if last <= newest + SLOT:
        return last
    servers = session.scalar(select(func.count()).select_from(SERVER)) or 1
    return min(last, newest + max(ROWS_AT_ONCE // servers, 1) * SLOT)


def _slots(first: datetime, last: datetime) -> Iterator[datetime]:
    return map(slot_time, range(slot_number(first), slot_number(last) + 1))


def _is_missing(session: Session, slot: datetime) -> bool:
    """Whether a server to be looked at in `slot` has neither a ping nor a reason why not."""
    explained = exists().where(
        WHY.c.server_id == SERVER.c.id, ~WHY.c.observed, WHY.c.datetime == slot
    )
    missing = unseen_in(slot, looked_at_in).where(~explained).limit(1)
    return session.execute(missing).first() is not None


def _go_on(session: Session, first: datetime, last: datetime) -> int:
    found = look(session, first, last)
    _end_without_rule(session, found, last)
    memories: dict[Case, Memory] = {}
    decided: dict[int, list[Decided]] = defaultdict(list)
    for case in found.cases:
        memories[case], made = fold(found, case, slot_number(first), slot_number(last))
        for one in made:
            decided[one.decision.slot].append(one)
    remember(session, found, memories, slot_number(last))
    unsure = {case.server_id for case in found.cases if recheck.is_wanted(found, case, memories)}
    recheck.keep(session, unsure, last)
    # Those of one slot at once: who turned together is one incident.
    for number in sorted(decided):
        carry_out(session, slot_time(number), decided[number])
    servers = {case.server_id for case in found.cases}
    note_held(session, servers, found.exempt, slot_number(first), slot_number(last))
    _end_without_verdict(session, last)
    if memories:
        hold(session, last, _down(found, memories))
    session.execute(update(LATCH).where(LATCH.c.name == ANNOUNCED).values(since=last))
    return sum(map(len, decided.values()))


def _down(found: Found, memories: Mapping[Case, Memory]) -> set[int]:
    """Return the ids of the servers that are down: by an incident, or in their newest slot."""
    return {
        case.server_id
        for case, memory in memories.items()
        if memory.is_open or memory.verdicts.endswith(Verdict.BAD)
        if found.rules[case].when.kind == "down"
    }


def _end_without_rule(session: Session, found: Found, slot: datetime) -> None:
    """Resolve what is open under rules that were removed, or no longer hold for the server."""
    over = [case for case in found.known if case not in found.cases]
    is_open = [case for case in over if found.known[case].memory.is_open]
    rules = session.scalars(select(RULE.c.id)).all() if is_open else ()
    for note, there in ("rule removed", False), ("no longer matches", True):
        cases = [case for case in is_open if (case.rule_id in {DEFAULT_ID, *rules}) is there]
        newest = newest_of(session, cases)
        alone = [one.incident_id for one in newest.values() if not one.is_group]
        end(session, alone, How.RULE, slot, note=note)
        shared = {case: one.incident_id for case, one in newest.items() if one.is_group}
        leave(session, slot, shared, How.RULE)
    forget(session, over)


def _end_without_verdict(session: Session, slot: datetime) -> None:
    """Resolve what is open of servers that nobody watches any more: removed or paused."""
    of_one = INCIDENT.c.extent == Extent.SERVER.value
    removed = select(INCIDENT.c.id).where(IS_OPEN, of_one, INCIDENT.c.server_id.is_(None))
    end(session, session.scalars(removed).all(), How.REMOVED, slot)
    paused = (
        select(INCIDENT.c.id)
        .join(SERVER, SERVER.c.id == INCIDENT.c.server_id)
        .join(Schedule, Schedule.server_id == SERVER.c.id)
        .where(IS_OPEN, in_force(slot + SLOT), ~Schedule.enabled)
    )
    end(session, session.scalars(paused).all(), How.PAUSED, slot)
    leave_unwatched(session, slot)
