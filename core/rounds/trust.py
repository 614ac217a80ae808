"""How far the clock is to be trusted: what contradicts it, and since when rounds vouch for it.

Rounds whose times agree make a *stretch*: in one start of the machine, the clock that nobody can
set (uptime_s) moved on by as much as the wall clock; over a restart, an hour passed at most, and as
much more as between the two rounds before. What lies between two stretches is *doubted*: that time
may have passed, as in a holiday, or the clock may be wrong. It is recorded as nobody's, and removal
doesn't count it: it goes by the time of the newest round, less what is doubted. After 24 hours of
rounds under a clock that the kernel calls synchronised, seven days of others, the doubt is over.

A clock that steps while the machine runs, or that lies behind what was recorded, is *contradicted*:
nothing is recorded by it, nor removed, until it is back, or has proved right, or a person believes
it. It has proved right once it has agreed with itself for ten minutes at least and outweighs what
speaks against it, which seven days always do. What a synchronised clock told is weighed first: a
clock that the kernel calls synchronised needs ten minutes against any other, and one that is behind
after a start of the machine, as with a dead battery, isn't synchronised.

That the database's clock agrees proves nothing here: it may be the same clock. docs/clocks.md has
the table of cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

import msgspec

from core.errors import ClockContradicted
from core.reading import iso
from core.rounds.kernel import Kernel
from core.slots import AHEAD

RESTART = timedelta(minutes=65)
"""Restarting the machine takes less time than this, and so does what runs each hour."""
ASLEEP = timedelta(days=2)
"""Longer than this nobody vouches: a machine asleep is told by the same chip how long it slept."""
RAREST = timedelta(days=1) + RESTART
"""Rounds that come more rarely don't vouch: no server's interval is longer than a day."""
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
    gap_s: float = 0.0  # between its newest round and the reading before

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


def after(trust: Trust, reading: Reading) -> Trust:
    """Return what is to be believed after one more reading."""
    accepted = [one for one in trust.stretches if not one.contradicted]
    for number in reversed(range(len(accepted))):
        one, later = accepted[number], accepted[number + 1 :]
        if _goes_on(one, reading, later) and (_same_start(one, reading) or _outweighs(one, later)):
            return Trust([*accepted[:number], _longer(one, reading)])
    [*candidate] = (one for one in trust.stretches if one.contradicted)
    if candidate and _goes_on(candidate[0], reading):
        return Trust(_settled(accepted, _longer(candidate[0], reading)))
    return Trust(_settled(accepted, _begun(trust, reading)))


def _same_start(one: Stretch, reading: Reading) -> bool:
    return bool(one.boot_id) and one.boot_id == reading.kernel.boot_id


def _step(one: Stretch, reading: Reading) -> timedelta:
    """How far the wall clock was set since; nothing, where two starts can't be compared."""
    if not _same_start(one, reading):
        return timedelta(0)
    ticked = timedelta(seconds=reading.kernel.uptime_s - one.uptime_s)
    return reading.wall - one.ended - ticked


def _goes_on(one: Stretch, reading: Reading, later: Sequence[Stretch] = ()) -> bool:
    """Whether this may be the next round of a stretch, were the `later` ones told by a wrong clock.

    The rounds of those took the time that they took, whatever their clock showed.
    """
    took = timedelta(seconds=sum(other.agreed_s for other in later))
    passed = reading.wall - one.ended
    longest = took + ASLEEP if _same_start(one, reading) else _longest(one)
    return took - AHEAD <= passed <= longest and abs(_step(one, reading)) <= AHEAD


def _longest(one: Stretch) -> timedelta:
    """How long after its newest round the next may come, where two starts can't be compared.

    Rounds that come as rarely as the ones before go on, whoever makes them: a restart is no news.
    """
    usual = timedelta(seconds=one.gap_s)
    return RESTART + (usual if usual <= RAREST else timedelta(0))


def _outweighs(one: Stretch, others: Sequence[Stretch]) -> bool:
    """Whether it counts for no less: by what a synchronised clock told, if that is much.

    A clock that is behind after a start of the machine isn't synchronised.
    """
    others_s = sum(other.synchronised_s for other in others)
    if max(one.synchronised_s, others_s) >= SETTLED_S:
        return one.synchronised_s >= others_s
    return one.worth_s >= sum(other.worth_s for other in others)


def _longer(one: Stretch, reading: Reading) -> Stretch:
    passed_s = max(0.0, (reading.wall - one.ended).total_seconds())
    ended = max(one.ended, reading.wall)
    behind_s = (ended - reading.wall).total_seconds()
    return msgspec.structs.replace(
        one,
        ended=ended,
        boot_id=reading.kernel.boot_id,
        uptime_s=reading.kernel.uptime_s + behind_s,  # as it is when this clock shows `ended`
        agreed_s=one.agreed_s + passed_s,
        synchronised_s=one.synchronised_s + passed_s * reading.kernel.synchronised,
        gap_s=passed_s or one.gap_s,  # a round is noted before and after it is made
    )


def _begun(trust: Trust, reading: Reading) -> Stretch:
    """Begin a stretch, and say what of the time before it is doubted."""
    accepted = [one for one in trust.stretches if not one.contradicted]
    step = _step(accepted[-1], reading) if accepted else timedelta(0)
    before = [one for one in accepted if one.ended <= reading.wall + AHEAD]
    gap = reading.wall - before[-1].ended if before else timedelta(0)
    doubted = step if step > AHEAD and gap - step <= ASLEEP else gap
    newest = trust.stretches[-1].ended if trust.stretches else reading.wall
    return Stretch(
        reading.wall,
        reading.wall,
        reading.kernel.boot_id,
        reading.kernel.uptime_s,
        0.0,
        0.0,
        max(0.0, doubted.total_seconds()),
        step > AHEAD or len(before) < len(accepted),
        max(0.0, (reading.wall - newest).total_seconds()),
    )


def _settled(accepted: Sequence[Stretch], newest: Stretch) -> list[Stretch]:
    """Believe a contradicted stretch that has agreed with itself for long enough."""
    before = [one for one in accepted if one.ended <= newest.ended + AHEAD]
    if newest.contradicted and not _has_proved_right(newest, accepted[len(before) :]):
        return [*accepted, newest]
    return [*before, msgspec.structs.replace(newest, contradicted=False)]


def _has_proved_right(newest: Stretch, against: Sequence[Stretch]) -> bool:
    enough = newest.agreed_s >= SETTLED_S and _outweighs(newest, against)
    return enough or newest.worth_s >= VOUCHED_S


def anew(trust: Trust, reading: Reading) -> Trust:
    """Return what is to be believed of a clock that a person says is right: nothing is doubted."""
    true = [one for one in trust.stretches if not one.contradicted and one.ended <= reading.wall]
    new = Stretch(
        min([one.began for one in true] + [reading.wall]),
        reading.wall,
        reading.kernel.boot_id,
        reading.kernel.uptime_s,
        sum(one.agreed_s for one in true),
        sum(one.synchronised_s for one in true),
    )
    return Trust([new])


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
