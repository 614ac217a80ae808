"""Servers that are looked at each minute until the rule decides, though they are due less often.

A recheck is no due slot: nobody misses it where it isn't made. But what is made is waited for.
Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.incidents.judge import Memory, first_bad
from core.incidents.look import Case, Found
from core.incidents.rules import measure_by
from core.models import RECHECK, ROUND, SERVER, Schedule
from core.servers.schedule import in_force
from core.slots import SLOT
from core.sql import UtcDateTime, as_rows, given_ids


def is_wanted(found: Found, case: Case, memories: Mapping[Case, Memory]) -> bool:
    """Whether a rule has seen a server down, which will count with the next slot."""
    memory = memories[case]
    if memory.is_open or found.rules[case].when.down is None:
        return False
    limits = measure_by(found.cases[case].terms).limits
    return first_bad(memory, limits._replace(of=limits.of - 1)) is not None


def keep(session: Session, ids: Collection[int], last: datetime) -> None:
    """Have these servers rechecked, after the slot `last`, and no others.

    Those that are due each minute need none. It begins with the first round that can know of it.
    """
    given = {"rows": as_rows([one] for one in sorted(ids))}
    session.execute(END, given)
    if not ids:
        return
    begun = session.scalar(select(func.max(ROUND.c.slot)))
    since = max(last, begun or last) + SLOT
    rarely = (
        select(SERVER.c.id, literal(since, UtcDateTime()))
        .join(Schedule, Schedule.server_id == SERVER.c.id)
        .where(SERVER.c.id.in_(given_ids()), in_force(last + SLOT))
        .where(Schedule.enabled, Schedule.interval_s > SLOT.total_seconds())
        .order_by(SERVER.c.id)
    )
    new = insert(RECHECK).from_select(["server_id", "since"], rarely)
    session.execute(new.on_conflict_do_nothing(), given)


END = delete(RECHECK).where(RECHECK.c.server_id.not_in(given_ids()))
