"""The judge: which slots of a server open an incident under a rule, and which resolve it.

Pure: a fold over the server's slots, each taken once and in order. Nothing here asks for the time.
"""

from enum import StrEnum
from typing import NamedTuple

MOST = 32
"""Slots that a rule may look at, and that are remembered."""
REOPEN_M = 15
"""What turns bad so soon after its resolve is the same incident again: a flap."""
FLAPS, FLAPS_M = 4, 60
"""So many flaps in so many minutes are flapping."""
FLAPPING_CLEAR = 15
"""Good slots in a row that end flapping."""


class Verdict(StrEnum):
    """What a rule says of a slot. Exempt slots, in maintenance or not due, aren't judged at all."""

    GOOD = "g"
    BAD = "b"
    BLIND = "x"  # unobserved: neither confirms nor clears, but time passes


class Limits(NamedTuple):
    """`bad` bad slots of the last `of` open an incident, `clear` good ones in a row resolve it.

    With clear >= of - bad + 1 at most bad - 1 old ones are left in the window at the resolve, and
    each new slot pushes one out: none re-opens on fewer than `bad` new bad slots.
    """

    bad: int
    of: int
    clear: int


class Turn(StrEnum):
    """What a decision does to the incident."""

    OPENED = "opened"
    REOPENED = "reopened"
    RESOLVED = "resolved"


class Decision(NamedTuple):
    """A turn: decided by `slot`, and so since slot `since`, the first bad or the first good one."""

    turn: Turn
    slot: int
    since: int


class Memory(NamedTuple):
    """What is remembered of a server that isn't quiet.

    `slots` are the newest due ones, oldest first, at most MOST; `verdicts` a letter of each. `good`
    counts good ones since the last bad one, from `good_since` on; `flaps` are the slots by which
    the incident opened again, `resolved` the one by which it was resolved last. `marks` say how bad
    the newest slots were to a rule that looks at several at once (core/incidents/when.py).
    """

    slots: tuple[int, ...] = ()
    verdicts: str = ""
    good: int = 0
    good_since: int | None = None
    is_open: bool = False
    is_flapping: bool = False
    resolved: int | None = None
    flaps: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()


NOTHING = Memory()


def step(
    memory: Memory, slot: int, verdict: Verdict, limits: Limits
) -> tuple[Memory, Decision | None]:
    """Take the next slot; return what is remembered then, and what was decided."""
    memory = _with(memory, slot, verdict)
    return _resolve(memory, slot, limits) if memory.is_open else _open(memory, slot, limits)


def _with(memory: Memory, slot: int, verdict: Verdict) -> Memory:
    good, since = memory.good, memory.good_since
    if verdict is Verdict.BAD:
        good, since = 0, None
    elif verdict is Verdict.GOOD:
        good, since = good + 1, slot if since is None else since
    return memory._replace(
        slots=(*memory.slots, slot)[-MOST:],
        verdicts=(memory.verdicts + verdict)[-MOST:],
        good=good,
        good_since=since,
    )


def _resolve(memory: Memory, slot: int, limits: Limits) -> tuple[Memory, Decision | None]:
    needed = max(limits.clear, FLAPPING_CLEAR) if memory.is_flapping else limits.clear
    if memory.good_since is None or memory.good < needed:
        return memory, None
    resolved = memory._replace(is_open=False, is_flapping=False, resolved=slot)
    return resolved, Decision(Turn.RESOLVED, slot, memory.good_since)


def _open(memory: Memory, slot: int, limits: Limits) -> tuple[Memory, Decision | None]:
    first = first_bad(memory, limits)
    if first is None or memory.verdicts[-limits.of :].count(Verdict.BAD) < limits.bad:
        return memory, None
    if memory.resolved is None or slot - memory.resolved > REOPEN_M:
        opened = memory._replace(is_open=True, resolved=None, flaps=())
        return opened, Decision(Turn.OPENED, slot, first)
    flaps = tuple(one for one in (*memory.flaps, slot) if slot - one < FLAPS_M)
    again = memory._replace(is_open=True, is_flapping=len(flaps) >= FLAPS, flaps=flaps)
    return again, Decision(Turn.REOPENED, slot, first)


def first_bad(memory: Memory, limits: Limits) -> int | None:
    """Return the first bad slot that the rule looks at; None where there is none.

    While nothing is open, what it begins is pending.
    """
    place = memory.verdicts.find(Verdict.BAD, max(len(memory.verdicts) - limits.of, 0))
    return None if place == -1 else memory.slots[place]


def is_quiet(memory: Memory, slot: int) -> bool:
    """Whether nothing of it counts any more after `slot`: it may be forgotten."""
    flaps_on = memory.resolved is not None and slot - memory.resolved < REOPEN_M
    is_bad = Verdict.BAD in memory.verdicts or any(memory.marks)
    return not memory.is_open and not is_bad and not flaps_on


def begun_anew(memory: Memory) -> Memory:
    """Return what is left when the server is looked at otherwise: what is open, without a past."""
    return NOTHING._replace(
        is_open=memory.is_open, is_flapping=memory.is_flapping, flaps=memory.flaps
    )
