"""The judge asked about a long past: only about slots that may change its mind.

While nothing is open that is the next bad slot, while something is the next good one. Decisions are
those of a fold over every slot, in a hundredth of its time.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import compress
from bisect import bisect_left
from typing import NamedTuple

from core.history.past import Past
from core.history.spells import DOWN, NOT_DUE, PAUSED, UNOBSERVED
from core.incidents.judge import MOST, NOTHING, Decision, Limits, Memory, Turn, Verdict, step

PAUSES = re.compile(f"{PAUSED}[{PAUSED}{NOT_DUE}]*")
IS_DUE = str.maketrans({NOT_DUE: "\0", PAUSED: "\0", "+": "\1", "~": "\1", DOWN: "\1"} | {UNOBSERVED: "\1"})
WITHOUT = str.maketrans({NOT_DUE: None, PAUSED: None})


class Pause(NamedTuple):
    """A pause: before which of the due slots, and since which slot."""

    place: int
    since: int


class Track(NamedTuple):
    """A server's due slots in order, their letters as in a Past, and where it was paused."""

    slots: Sequence[int]
    letters: str
    pauses: Sequence[Pause]


def track(past: Past) -> Track:
    """Leave out what wasn't due."""
    first, letters = past.first, past.letters
    slots: Sequence[int] = range(first, first + len(letters))
    if NOT_DUE not in letters and PAUSED not in letters:
        return Track(slots, letters, ())
    slots = list(compress(slots, letters.translate(IS_DUE).encode()))
    begun = [first + found.start() for found in PAUSES.finditer(letters)]
    pauses = [Pause(bisect_left(slots, since), since) for since in begun]
    return Track(slots, letters.translate(WITHOUT), pauses)


def decisions(
    slots: Sequence[int], verdicts: str, pauses: Sequence[Pause], limits: Limits
) -> Iterator[Decision]:
    """Yield what the judge decides of these slots, of each of which a verdict is given.

    A pause ends what is open, as it does when incidents are announced.
    """
    memory, begin, at = NOTHING, 0, 0
    for pause in (*pauses, None):
        end = len(verdicts) if pause is None else pause.place
        while (place := verdicts.find(_wanted(memory), at, end)) != -1:
            low = max(begin, place - MOST)
            seen = memory._replace(slots=tuple(slots[low:place]), verdicts=verdicts[low:place])
            if verdicts.find(Verdict.BAD, at, place) != -1:
                seen = seen._replace(good=0, good_since=None)
            memory, decision = step(seen, slots[place], Verdict(verdicts[place]), limits)
            at = place + 1
            if decision:
                yield decision
        if pause and memory.is_open:
            yield Decision(Turn.RESOLVED, pause.since, pause.since)
            memory, begin, at = NOTHING, pause.place, pause.place


def _wanted(memory: Memory) -> Verdict:
    return Verdict.GOOD if memory.is_open else Verdict.BAD
