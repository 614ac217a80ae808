"""What the slots of packed days add up to: counts, sums, exact percentiles."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from core.history.codec import FINE, LETTERS, UNTIMED, Slots, all_hundredths, all_ms
from core.slots import DAY_SLOTS


class Totals(NamedTuple):
    """What some slots add up to; of a whole day, `day` has these columns.

    `timed` slots have a mean; `hundredths` is the sum of these means in hundredths of a ms, a whole
    number, so that no order of adding up changes it. Percentiles are of these means.
    """

    up: int = 0
    degraded: int = 0
    down: int = 0
    unobserved: int = 0
    sent: int = 0
    received: int = 0
    timed: int = 0
    hundredths: int = 0
    best_ms: float | None = None
    worst_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


PERCENTILES = (50, 95, 99)


def totals(day: Slots, was_due: int, low: int = 0, high: int = DAY_SLOTS) -> Totals:
    """Add up the slots from `low` to before `high`, of which those in `was_due` were due."""
    up, degraded, down = [day.states.count(letter, low, high) for letter in LETTERS.values()]
    unobserved = ((was_due & ~day.observed) >> low & (1 << high - low) - 1).bit_count()
    if not up + degraded + down:
        return Totals(unobserved=unobserved)
    means = sorted(day.mean[low:high])
    worst = max(day.worst[low:high])
    if worst == UNTIMED:  # some slots have no time, or all
        worst = max((one for one in day.worst[low:high] if one != UNTIMED), default=UNTIMED)
    counts = (up, degraded, down, unobserved)
    return summed(counts, day.echoes(low, high), means, min(day.best[low:high]), worst)


def summed(
    counts: Sequence[int], echoes: Sequence[int], means: Sequence[int], best: int, worst: int
) -> Totals:
    """Return the totals of slots that are counted already; `means` are sorted codes.

    `counts` are the slots that were up, degraded, down and unobserved, `echoes` those that were
    sent and received.
    """
    timed = bisect_left(means, UNTIMED)
    times = [best, worst, *_percentiles(means, timed)]
    up, degraded, down, unobserved = counts
    sent, received = echoes
    hundredths = _sum(means[:timed])
    return Totals(
        *(up, degraded, down, unobserved, sent, received, timed, hundredths), *all_ms(times)
    )


def joined(parts: Sequence[Totals], means: Iterable[Sequence[int]]) -> Totals:
    """Add up what parts add up to; `means` are all their slots' means, as codes."""
    timed = sum(part.timed for part in parts)
    return Totals(
        sum(part.up for part in parts),
        sum(part.degraded for part in parts),
        sum(part.down for part in parts),
        sum(part.unobserved for part in parts),
        sum(part.sent for part in parts),
        sum(part.received for part in parts),
        timed,
        sum(part.hundredths for part in parts),
        min((part.best_ms for part in parts if part.best_ms is not None), default=None),
        max((part.worst_ms for part in parts if part.worst_ms is not None), default=None),
        *all_ms(_percentiles(sorted(chain.from_iterable(means)), timed)),
    )


def _percentiles(means: Sequence[int], timed: int) -> Sequence[int]:
    """Return p50, p95 and p99 of the first `timed` of these codes, which are sorted.

    A percentile is the nearest rank: the smallest value that so many percent don't exceed.
    """
    if not timed:
        return [UNTIMED] * len(PERCENTILES)
    return [means[-(-timed * percent // 100) - 1] for percent in PERCENTILES]


def _sum(some_codes: Sequence[int]) -> int:
    """Add up sorted codes, all of them times, in hundredths of a ms."""
    if not some_codes or some_codes[-1] <= FINE:
        return sum(some_codes)
    return sum(map(all_hundredths().__getitem__, some_codes))
