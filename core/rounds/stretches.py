"""The table `stretch`: what rounds say of the clock. core/rounds/trust.py knows what that means.

Functions take a session inside a transaction that their caller ends.
"""

import logging
from collections.abc import Iterator
from datetime import datetime

import msgspec
from sqlalchemy import and_, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.accounts import tokens
from core.history import aside
from core.incidents import ahead
from core.models import STRETCH, Schedule, Server
from core.rounds.trust import Reading, Stretch, Trust, after, anew
from core.servers import schedule
from core.slots import AHEAD
from core.sql import turn

log = logging.getLogger("pinglet.worker")


def kept(session: Session) -> Trust:
    """Return what the rounds so far say."""
    return Trust(_stored(session) or list(_before_stretches(session)))


def _stored(session: Session) -> list[Stretch]:
    columns = [STRETCH.c[name] for name in Stretch.__struct_fields__]
    found = session.execute(select(*columns).order_by(STRETCH.c.contradicted, STRETCH.c.began))
    return [Stretch(*row) for row in found]


def _before_stretches(session: Session) -> Iterator[Stretch]:
    """What was recorded before rounds vouched, by an older release or an import, is one stretch.

    A paused server may show a ping of the future for ever: it says nothing.
    """
    newest = select(func.max(Schedule.since)).where(Schedule.server_id == Server.id)
    in_force = Schedule.since == newest.correlate(Server).scalar_subquery()
    pinged = select(func.min(Server.added), func.max(Server.last_slot)).join(
        Schedule, and_(Schedule.server_id == Server.id, in_force, Schedule.enabled)
    )
    began, ended = session.execute(pinged).one()
    if began is not None and ended is not None and began < ended:
        yield Stretch(began, ended, "", 0.0, (ended - began).total_seconds(), 0.0)


def note(session: Session, reading: Reading) -> Trust:
    """Write down what a reading says; return what is to be believed after it."""
    _hold(session)
    new = after(kept(session), reading)
    _write(session, new)
    return new


def _hold(session: Session) -> None:
    """Have the turn of those who write stretches: it comes before every other lock.

    No row's lock would do: at first there is none.
    """
    session.execute(HOLD)


HOLD = select(turn(literal_column("7046154740")))
"""One more than that of names: see core/servers/change.py."""


def was_ahead(session: Session, trust: Trust, now: datetime) -> bool:
    """Whether rounds, or what they recorded, lie in the future of a clock that is right."""
    began_ahead = any(one.ended > now + AHEAD for one in trust.stretches)
    return began_ahead or aside.holds_slots_to_come(session, now)


def put_right(session: Session, now: datetime) -> None:
    """Take slots to come out of the way; what people did in the future, they did now.

    Their caller holds the stretches.
    """
    ahead.bring_back(session, now)
    schedule.hold_all(session)
    count = aside.set_aside(session, now)
    log.warning("the clock was ahead and is right again; pings of slots to come: %d", count)
    schedule.bring_back(session, now)
    tokens.bring_back(session, now)


def believe(session: Session, reading: Reading) -> Trust:
    """Begin anew with a clock that a person says is right: nothing is doubted."""
    _hold(session)
    new = anew(kept(session), reading)
    _write(session, new)
    put_right(session, reading.wall)
    return new


def _write(session: Session, trust: Trust) -> None:
    stored = _stored(session)
    gone = {one.began for one in stored} - {one.began for one in trust.stretches}
    if gone:
        session.execute(delete(STRETCH).where(STRETCH.c.began.in_(gone)))
    for one in trust.stretches:
        if one not in stored:
            row = msgspec.structs.asdict(one)
            put = insert(STRETCH).values(row)
            session.execute(put.on_conflict_do_update(index_elements=["began"], set_=row))


def forget(session: Session, before: datetime) -> None:
    """Delete the stretches that ended before that time."""
    _hold(session)
    session.execute(delete(STRETCH).where(STRETCH.c.ended < before))
