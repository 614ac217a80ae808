"""Tallies: what a round was to do, what came of it, and when. One row for each slot.

A local fault writes no ping, so the pings can't tell how the rounds themselves fare: this does.
Every function takes a session inside a transaction that its caller ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Integer, Update, and_, bindparam, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.models import ROUND
from core.slots import AHEAD, SLOT
from core.sql import UtcDateTime

OVER = 3 * SLOT
"""A round waits for the database until the slot after next begins; then it is recorded or lost."""
LOOKED_BACK = timedelta(days=1)
"""The longest interval there is: each server was due since."""
CEASED = 5 * SLOT
"""One round begins every minute, even where no server is due."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One round: how many pings were due and recorded; `ended` with its last ping, None before."""

    slot: datetime
    due: int
    observed: int
    began: datetime
    ended: datetime | None

    @property
    def unobserved(self) -> int:
        """Pings that were due and never recorded: local faults, lost results, removed servers."""
        return max(0, self.due - self.observed)

    @property
    def lag(self) -> timedelta:
        """How long after its slot it began."""
        return self.began - self.slot

    @property
    def duration(self) -> timedelta | None:
        """How long it took until its last ping was recorded; None where none was."""
        # On AWS two machines say when; their clocks may be apart by more than a round takes.
        return None if self.ended is None else max(timedelta(0), self.ended - self.began)


def database_time(session: Session) -> datetime:
    """Return the time by the database's clock."""
    return session.execute(select(func.now(type_=UtcDateTime()))).scalar_one()


def begin(session: Session, slot: datetime, due: int, now: datetime) -> None:
    """Note that a round began with so many pings due. One that began twice began the first time."""
    new = insert(ROUND).values(slot=slot, due=due, observed=0, began=now)
    session.execute(new.on_conflict_do_nothing())


def add(session: Session, slot: datetime, observed: int, now: datetime) -> None:
    """Note that `observed` new pings of a round were recorded by now, if it has begun.

    None is no news: results that come twice change nothing. In a transaction that records pings
    this comes after them: so no two wait for each other.
    """
    if observed:
        session.execute(ADD, {"of": slot, "new": observed, "now": now})


def _add() -> Update:
    """Made once: it runs with every batch, and takes longer to make than to run."""
    now = bindparam("now", type_=UtcDateTime())
    later = or_(ROUND.c.ended.is_(None), ROUND.c.ended < now)
    return (
        update(ROUND)
        .where(ROUND.c.slot == bindparam("of"))
        .values(
            observed=ROUND.c.observed + bindparam("new", type_=Integer()),
            ended=case((later, now), else_=ROUND.c.ended),
        )
    )


ADD = _add()


def between(session: Session, first: datetime, end: datetime) -> Sequence[Tally]:
    """Return the rounds of the slots from `first` to before `end`, oldest first. One statement."""
    rows = session.execute(
        select(ROUND).where(ROUND.c.slot >= first, ROUND.c.slot < end).order_by(ROUND.c.slot)
    )
    return [Tally(*row) for row in rows]


def fails(session: Session, now: datetime) -> bool:
    """Whether the newest round that is over, and in which pings were due, recorded none of them."""
    over = and_(ROUND.c.slot > now - LOOKED_BACK, ROUND.c.slot <= now - OVER, ROUND.c.due > 0)
    newest = select(ROUND.c.observed).where(over).order_by(ROUND.c.slot.desc()).limit(1)
    return session.scalar(newest) == 0


def ceased(session: Session, now: datetime) -> bool:
    """Whether rounds began once, but none has for minutes: nobody makes them, or can note them."""
    newest = session.scalar(select(func.max(ROUND.c.slot)).where(ROUND.c.slot <= now + AHEAD))
    return newest is not None and newest < now - CEASED


def forget(session: Session, before: datetime) -> None:
    """Delete the rounds of the slots before that time."""
    session.execute(delete(ROUND).where(ROUND.c.slot < before))
