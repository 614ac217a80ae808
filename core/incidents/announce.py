"""Announcing: once a round, in order of slots, what its pings say of incidents.

How far that has come is one latch. A slot is announced when every server that was to be looked at in
it, due or rechecked, has a ping or a reason why it has none, at the latest when the round after
next begins; what comes later is history. So the order in which results arrive changes nothing, nor
does how often they come.

Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile, zip_longest

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.incidents import recheck, rules
from core.incidents.change import ANNOUNCED, end, hold_announcing
from core.incidents.judge import Memory
from core.incidents.judged import Decided, fold, remember
from core.incidents.look import look
from core.incidents.outcome import carry_out
from core.incidents.records import How
from core.models import DATA, INCIDENT, LATCH, ROUND, SERVER, WHY, Schedule
from core.servers.find import looked_at_in
from core.servers.schedule import in_force
from core.slots import SLOT, slot_number, slot_time

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


def _is_missing(session: Session, slot: datetime) -> bool:
    """Whether a server to be looked at in `slot` has neither a ping nor a reason why not."""
    pinged = exists().where(DATA.c.server_id == SERVER.c.id, DATA.c.datetime == slot)
    explained = exists().where(
        WHY.c.server_id == SERVER.c.id, ~WHY.c.observed, WHY.c.datetime == slot
    )
    # Nearly all have it as their newest, and are not looked for any further.
    is_newest = SERVER.c.last_slot.is_not_distinct_from(slot)
    missing = looked_at_in(slot, [SERVER.c.id]).where(~is_newest, ~pinged, ~explained)
    return session.execute(missing.limit(1)).first() is not None


def _go_on(session: Session, first: datetime, last: datetime) -> int:
    found = look(session, first, last)
    memories: dict[int, Memory] = {}
    decided: list[list[Decided]] = []
    for server_id, memory in found.memories.items():
        memories[server_id], made = fold(
            found, server_id, memory, slot_number(first), slot_number(last)
        )
        decided.append(made)
    remember(session, found, memories, slot_number(last))
    unsure = [
        one for one, memory in memories.items() if recheck.is_wanted(memory, rules.DEFAULT.limits)
    ]
    recheck.keep(session, unsure, last)
    # A server's decisions are carried out one after the other, those of several servers at once.
    for wave in zip_longest(*decided):
        carry_out(session, [one for one in wave if one])
    _end_without_verdict(session, last)
    session.execute(update(LATCH).where(LATCH.c.name == ANNOUNCED).values(since=last))
    return sum(map(len, decided))


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
