"""The judge asked about a long past: only about slots that may change its mind.

While nothing is open that is the next bad slot, while something is the next good one. Decisions are
those of a fold over every slot, in a hundredth of its time.
"""

from collections.abc import Iterator, Sequence

from core.incidents.judge import NOTHING, Decision, Memory, Turn, Verdict, step
from core.incidents.track import Run, Track, verdicts
from core.incidents.when import Measure


def decisions(of: Track, bad: Sequence[Run], by: Measure) -> Iterator[Decision]:
    """Yield what the judge decides of a server's due slots, of which these are bad at all.

    A pause ends what is open, as it does when incidents are announced.
    """
    seen = verdicts(of, bad, by)
    memory, begin, at = NOTHING, 0, 0
    for pause in (*of.pauses, None):
        end = len(seen) if pause is None else pause.place
        while (place := seen.find(_wanted(memory), at, end)) != -1:
            if place > at:  # what was passed is remembered as if each slot had been taken
                low = max(begin, place - by.limits.of)
                memory = memory._replace(slots=tuple(of.slots[low:place]), verdicts=seen[low:place])
                if memory.is_open and Verdict.BAD in seen[at:place]:
                    memory = memory._replace(good=0, good_since=None)
            memory, decision = step(memory, of.slots[place], Verdict(seen[place]), by.limits)
            at = place + 1
            if decision:
                yield decision
        if pause and memory.is_open:
            yield Decision(Turn.RESOLVED, pause.since, pause.since)
            memory, begin, at = NOTHING, pause.place, pause.place
            seen = verdicts(of, bad, by, begin)


def _wanted(memory: Memory) -> Verdict:
    return Verdict.GOOD if memory.is_open else Verdict.BAD
