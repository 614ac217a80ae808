"""How far the clock is to be trusted: what contradicts it, and since when rounds vouch for it.

Rounds whose times agree make a *stretch*: in one start of the machine, the clock that nobody can
set (uptime_s) moved on by as much as the wall clock; over a restart, an hour passed at most. What
lies between two stretches is *doubted*: that time may have passed, as in a holiday, or the clock
may be wrong. It is recorded as nobody's, and removal doesn't count it: it goes by the time of the
newest round, less what is doubted. After 24 hours of rounds under a clock that the kernel calls
synchronised, seven days of others, the doubt is over.

A clock that steps while the machine runs, or that lies behind what was recorded, is *contradicted*:
nothing is recorded by it, nor removed, until it is back, or has agreed with itself for longer than
what speaks against it did (ten minutes at least, seven days at most), or a person believes it.

Functions that take a session run inside a transaction that their caller ends.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

import msgspec
from sqlalchemy import and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.accounts import tokens
from core.errors import ClockContradicted
from core.history import aside
from core.models import STRETCH, Schedule, Server
from core.reading import iso
from core.rounds.kernel import Kernel
from core.servers import schedule
from core.slots import AHEAD

log = logging.getLogger("pinglet.worker")

RESTART = timedelta(minutes=65)
"""Restarting the machine takes less time than this, and so does what runs each hour."""
ASLEEP = timedelta(days=2)
"""Longer than this nobody vouches: a machine asleep is told by the same chip how long it slept."""
SETTLED_S = 600.0
VOUCHED_S = 7 * 86_400.0
SYNCHRONISED_WORTH = 7


UNTIL_RIGHT = (
    "nothing is recorded or removed until it is back or has proved right; "
    "if it is right, say `flask tidy --clock-is-right`"
)


class Reading(NamedTuple):
    """What the clocks showed as a round began."""

    wall: datetime
    kernel: Kernel


class Stretch(msgspec.Struct, frozen=True):
    """Rounds whose times agree, one after the other: a row of `stretch`."""

    began: datetime
    ended: datetime  # its newest round
    boot_id: str  # at `ended`, as `uptime_s`
    uptime_s: float
    agreed_s: float
    synchronised_s: float  # as much of it as the kernel called its clock synchronised
    doubted_s: float = 0.0  # the time before it that nobody vouches for
    contradicted: bool = False

    @property
    def worth_s(self) -> float:
        """What it counts against others: a second of a synchronised clock is worth seven."""
        return self.agreed_s + (SYNCHRONISED_WORTH - 1) * self.synchronised_s


@dataclass(frozen=True, slots=True)
class Trust:
    """What the stretches say, oldest first."""

    stretches: Sequence[Stretch]

    @property
    def contradicted(self) -> bool:
        """Whether nothing may be recorded or removed."""
        return bool(self.stretches) and self.stretches[-1].contradicted

    @property
    def doubted(self) -> timedelta:
        """How much time rounds don't vouch for yet."""
        worth_s = accumulate(one.worth_s for one in reversed(self.stretches))
        doubted_s = (one.doubted_s for one in reversed(self.stretches))
        pairs = zip(worth_s, doubted_s, strict=True)
        return timedelta(seconds=sum(less for since, less in pairs if since < VOUCHED_S))

    @property
    def removal_waits(self) -> str | None:
        """Why nothing, or less than usual, is removed; None where all is well."""
        if self.contradicted:
            return f"the clock is contradicted: {UNTIL_RIGHT}"
        if not self.doubted:
            return None
        return (
            f"rounds don't vouch yet for {self.doubted / timedelta(hours=1):,.1f} hours in which "
            "there were none; they will after 24 hours of rounds by a clock that the kernel calls "
            "synchronised, or after seven days of others"
        )

    @property
    def vouched(self) -> datetime | None:
        """The time that what is kept is measured by; None: nothing is to be removed."""
        if self.contradicted or not self.stretches:
            return None
        return self.stretches[-1].ended - self.doubted


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


def after(trust: Trust, reading: Reading) -> Trust:
    """Return what is to be believed after one more reading."""
    accepted = [one for one in trust.stretches if not one.contradicted]
    for number in reversed(range(len(accepted))):
        one, later = accepted[number], accepted[number + 1 :]
        if _goes_on(one, reading) and (_same_start(one, reading) or _outweighs(one, later)):
            return Trust([*accepted[:number], _longer(one, reading)])
    [*candidate] = (one for one in trust.stretches if one.contradicted)
    if candidate and _goes_on(candidate[0], reading):
        return Trust(_settled(accepted, _longer(candidate[0], reading)))
    return Trust(_settled(accepted, _begun(accepted, reading)))


def _same_start(one: Stretch, reading: Reading) -> bool:
    return bool(one.boot_id) and one.boot_id == reading.kernel.boot_id


def _step(one: Stretch, reading: Reading) -> timedelta:
    """How far the wall clock was set since; nothing, where two starts can't be compared."""
    if not _same_start(one, reading):
        return timedelta(0)
    ticked = timedelta(seconds=reading.kernel.uptime_s - one.uptime_s)
    return reading.wall - one.ended - ticked


def _goes_on(one: Stretch, reading: Reading) -> bool:
    passed = reading.wall - one.ended
    longest = ASLEEP if _same_start(one, reading) else RESTART
    return -AHEAD <= passed <= longest and abs(_step(one, reading)) <= AHEAD


def _outweighs(one: Stretch, others: Sequence[Stretch]) -> bool:
    return not others or one.worth_s > sum(other.worth_s for other in others)


def _longer(one: Stretch, reading: Reading) -> Stretch:
    passed_s = max(0.0, (reading.wall - one.ended).total_seconds())
    return msgspec.structs.replace(
        one,
        ended=max(one.ended, reading.wall),
        boot_id=reading.kernel.boot_id,
        uptime_s=reading.kernel.uptime_s,
        agreed_s=one.agreed_s + passed_s,
        synchronised_s=one.synchronised_s + passed_s * reading.kernel.synchronised,
    )


def _begun(accepted: Sequence[Stretch], reading: Reading) -> Stretch:
    """Begin a stretch, and say what of the time before it is doubted."""
    step = _step(accepted[-1], reading) if accepted else timedelta(0)
    before = [one for one in accepted if one.ended <= reading.wall + AHEAD]
    gap = reading.wall - before[-1].ended if before else timedelta(0)
    return Stretch(
        reading.wall,
        reading.wall,
        reading.kernel.boot_id,
        reading.kernel.uptime_s,
        0.0,
        0.0,
        max(0.0, (step if step > AHEAD else gap).total_seconds()),
        step > AHEAD or len(before) < len(accepted),
    )


def _settled(accepted: Sequence[Stretch], newest: Stretch) -> list[Stretch]:
    """Believe a contradicted stretch that has agreed with itself for long enough."""
    if not newest.contradicted:
        return [*accepted, newest]
    before = [one for one in accepted if one.ended <= newest.ended + AHEAD]
    against_s = sum(one.worth_s for one in accepted[len(before) :])
    if newest.worth_s < min(VOUCHED_S, max(SETTLED_S, against_s)):
        return [*accepted, newest]
    return [*before, msgspec.structs.replace(newest, contradicted=False)]


def check(trust: Trust, wall: datetime, database: datetime | None) -> None:
    """Raise ClockContradicted where nothing may be recorded by the wall clock.

    `database` is the time by the database's clock, None where it isn't asked.
    """
    if database is not None and abs(wall - database) > AHEAD:
        told = f"the database's clock shows {iso(database)}, this machine's {iso(wall)}"
        raise ClockContradicted(f"{told}: nothing is recorded or removed until they agree")
    if trust.contradicted:
        newest = max(one.ended for one in trust.stretches)
        told = f"this machine's clock was set to {iso(wall)} while it ran"
        if newest > wall + AHEAD:
            told = f"this machine's clock shows {iso(wall)}, the newest round began {iso(newest)}"
        raise ClockContradicted(f"{told}: {UNTIL_RIGHT}")


def note(session: Session, reading: Reading) -> Trust:
    """Write down what a reading says; return what is to be believed after it."""
    _hold(session)
    new = after(kept(session), reading)
    _write(session, new)
    return new


def _hold(session: Session) -> None:
    """Have the turn of those who write stretches: it comes before every other lock."""
    session.execute(select(STRETCH.c.began).order_by(STRETCH.c.began).with_for_update()).all()


def was_ahead(session: Session, trust: Trust, now: datetime) -> bool:
    """Whether rounds, or what they recorded, lie in the future of a clock that is right."""
    ahead = any(one.ended > now + AHEAD for one in trust.stretches)
    return ahead or aside.holds_slots_to_come(session, now)


def put_right(session: Session, now: datetime) -> None:
    """Take slots to come out of the way; what people did in the future, they did now.

    Their caller holds the stretches.
    """
    schedule.hold_all(session)
    count = aside.set_aside(session, now)
    log.warning("the clock was ahead and is right again; pings of slots to come: %d", count)
    schedule.bring_back(session, now)
    tokens.bring_back(session, now)


def believe(session: Session, reading: Reading) -> Trust:
    """Begin anew with a clock that a person says is right: nothing is doubted."""
    _hold(session)
    stretches = kept(session).stretches
    true = [one for one in stretches if not one.contradicted and one.ended <= reading.wall]
    new = Stretch(
        min([one.began for one in true] + [reading.wall]),
        reading.wall,
        reading.kernel.boot_id,
        reading.kernel.uptime_s,
        sum(one.agreed_s for one in true),
        sum(one.synchronised_s for one in true),
    )
    _write(session, Trust([new]))
    put_right(session, reading.wall)
    return Trust([new])


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
