"""A long past as the judge sees it: the slots that were due, and how bad each is to a rule.

Bad slots are few or stand side by side, so they are runs: what a rule makes of its window is worked
out where runs come into it and leave it. Each verdict is that of core/incidents/when.py.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from math import inf
from typing import NamedTuple

from core.history.codec import LARGEST, UNTIMED, all_ms
from core.history.days import pieces
from core.history.past import EXEMPT, Past
from core.history.spells import DOWN, NOT_DUE, PAUSED, UNOBSERVED
from core.incidents.judge import Verdict
from core.incidents.when import Measure, Seen, When
from core.slots import DAY_SLOTS

DEGRADED = "~"
NOT_JUDGED = NOT_DUE + EXEMPT + PAUSED
PAUSES = re.compile(f"{PAUSED}[{NOT_JUDGED}]*")
IS_DUE = str.maketrans(f"+~{DOWN}{UNOBSERVED}{NOT_JUDGED}", "\1\1\1\1\0\0\0")
ONLY_DUE = str.maketrans("", "", NOT_JUDGED)
BLIND = str.maketrans(f"+~{DOWN}{UNOBSERVED}", "gggx")
NOT_BLIND = str.maketrans(f"+~{DOWN}{UNOBSERVED}", "gggg")
ALIKE = {
    "down": re.compile(f"{DOWN}{DOWN}*"),  # "-+" would be searched ten times as long
    "loss_pct": re.compile(f"{DOWN}+|{DEGRADED}"),
    "coverage_pct": re.compile(f"{UNOBSERVED}{UNOBSERVED}*"),
}
"""Slots that a kind finds bad: side by side where all are as bad; who knows how much is lost?"""
SLOW = re.compile(b"\1\1*")
UNANSWERED = Seen(1, 0, None)


class Pause(NamedTuple):
    """A pause: before which of the due slots, and since which slot."""

    place: int
    since: int


class Track(NamedTuple):
    """A server's due slots in order, their letters as in a Past, and where it was paused."""

    past: Past
    slots: Sequence[int]
    letters: str
    pauses: Sequence[Pause]


class Run(NamedTuple):
    """Due slots side by side, from a place to before another, each of which has this mark."""

    first: int
    end: int
    mark: int


def track(past: Past) -> Track:
    """Leave out what wasn't due."""
    slots: Sequence[int] = range(past.first, past.first + len(past.letters))
    if not any(one in past.letters for one in NOT_JUDGED):
        return Track(past, slots, past.letters, ())
    slots = list(compress(slots, _is_due(past)))
    begun = [past.first + found.start() for found in PAUSES.finditer(past.letters)]
    pauses = [Pause(bisect_left(slots, since), since) for since in begun]
    return Track(past, slots, past.letters.translate(ONLY_DUE), pauses)


def runs(of: Track, when: When, by: Measure) -> list[Run]:
    """Return the slots that are bad at all, in order."""
    if when.p95_ms is not None:
        return [Run(*one.span(), 1) for one in SLOW.finditer(_slow(of.past, when.p95_ms))]
    found = []
    for one in ALIKE[when.kind].finditer(of.letters):
        first, end = one.span()
        mark = by.mark(_seen(of, first, one[0][0]))
        if mark:
            found.append(Run(first, end, mark))
    return found


def _seen(of: Track, place: int, letter: str) -> Seen | None:
    if letter != DEGRADED:
        return UNANSWERED if letter == DOWN else None
    number, minute = divmod(of.slots[place], DAY_SLOTS)
    slots = of.past.days[number].slots
    return Seen(slots.sent[minute], slots.received[minute], None)


def _slow(past: Past, ms: float) -> bytes:
    """Return an octet for each due slot: 1 where its mean is above `ms`."""
    least = bisect_right(range(LARGEST + 1), ms, key=lambda one: all_ms([one])[0] or 0.0)
    parts = []
    for number, low, high in pieces(past.first, past.first + len(past.letters)):
        if past.worst_ms.get(number, inf) <= ms:
            parts.append(bytes(high - low))
        else:
            means = past.days[number].slots.mean[low:high]
            parts.append(bytes([least <= one < UNTIMED for one in means]))
    return bytes(compress(b"".join(parts), _is_due(past)))


def _is_due(past: Past) -> bytes:
    return past.letters.translate(IS_DUE).encode("ascii")


def verdicts(of: Track, bad: Sequence[Run], by: Measure, begin: int = 0) -> str:
    """Return the verdict on each due slot from the place `begin` on; of what was before, none.

    What lies before `begin` isn't remembered, and so counts as good.
    """
    letters = of.letters.translate(BLIND if by.mark(None) is None else NOT_BLIND)
    counted: Sequence[int] = range(len(letters))
    if Verdict.BLIND in letters:
        counted = [place for place, letter in enumerate(letters) if letter != Verdict.BLIND]
    parts, done = [" " * begin], begin
    for first, end in _enough(_among(counted, bad, begin), by):
        if first >= len(counted):
            break
        low, high = counted[first], counted[min(end, len(counted)) - 1] + 1
        parts += letters[done:low], letters[low:high].replace(Verdict.GOOD, Verdict.BAD)
        done = high
    return "".join([*parts, letters[done:]])


def _among(counted: Sequence[int], bad: Sequence[Run], begin: int) -> Iterator[Run]:
    """Yield runs from the place `begin` on, by their places among the slots that count."""
    later = (Run(max(first, begin), end, mark) for first, end, mark in bad if end > begin)
    if isinstance(counted, range):
        return later
    return (
        Run(bisect_left(counted, first), bisect_left(counted, end), mark)
        for first, end, mark in later
    )


def _enough(bad: Iterable[Run], by: Measure) -> Iterator[tuple[int, int]]:
    """Yield from where to before where the newest `span` marks are enough together."""
    edges = []
    for first, end, mark in bad:
        # In the midst of a long run as much comes as goes.
        edges += [(place, mark) for place in range(first, min(end, first + by.span))]
        edges += [(place + by.span, -mark) for place in range(max(first, end - by.span), end)]
    total, since = 0, None
    for place, change in sorted(edges):
        total += change
        if total >= by.enough and since is None:
            since = place
        elif total < by.enough and since is not None:
            if place > since:
                yield since, place
            since = None
