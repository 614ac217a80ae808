"""A window of history as a chart or as figures, of one server or of many."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from sqlalchemy.orm import Session

from core.errors import WrongRequest
from core.history import days
from core.history.days import Day
from core.history.records import Bucket, Counts, Summary
from core.models import Server
from core.slots import DAY_SLOTS, current_slot, slot_number, slot_time

WINDOW_DAYS = 800
STEPS = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1_440)
"""How many slots a bucket of a series may hold; beyond these, whole days."""
F = TypeVar("F", Bucket, Summary)


def series(  # pylint: disable=too-many-positional-arguments
    session: Session, server: Server, since: datetime, until: datetime, points: int, now: datetime
) -> list[Bucket]:
    """Reduce the slots of [since, until) to at most `points` buckets, oldest first.

    A bucket holds 1, 2, 3, 5, 10, 15, 20, 30 minutes, 1, 2, 3, 4, 6, 8, 12 hours or whole days,
    from UTC's midnight on; the first and the last are cut off by the window. Every slot of the
    window is in exactly one bucket. Raises WrongRequest for an empty window or a too long one.
    """
    return all_series(session, [server.id], (since, until), points, now)[server.id]


def all_series(
    session: Session,
    ids: Sequence[int],
    window: tuple[datetime, datetime],
    points: int,
    now: datetime,
) -> dict[int, list[Bucket]]:
    """Return the series of many servers, by server. Three statements."""
    first, end = _window(*window)
    step, start = _step(first, end, points)
    found = days.windows(session, ids, first, end, current_slot(now), whole=step == DAY_SLOTS)
    edges = [first, *range(start + step, end, step), end]
    return {
        server_id: [_add_up(Bucket, of_one, low, high) for low, high in pairwise(edges)]
        for server_id, of_one in found
    }


def summary(
    session: Session, server: Server, since: datetime, until: datetime, now: datetime
) -> Summary:
    """Return the slots of [since, until) in figures, whichever table holds them.

    Due are the slots that the schedule in force as they began wanted, and those that were pinged
    all the same (such as the one in which a server was added). A slot without a ping is
    unobserved when the next slot has begun; until then, and in the future, it is not due.
    Raises WrongRequest for an empty window or a too long one.
    """
    return summaries(session, [server.id], (since, until), now)[server.id]


def summaries(
    session: Session, ids: Sequence[int], window: tuple[datetime, datetime], now: datetime
) -> dict[int, Summary]:
    """Return the summaries of many servers, by server. Three statements."""
    first, end = _window(*window)
    found = days.windows(session, ids, first, end, current_slot(now))
    return {server_id: _add_up(Summary, of_one, first, end) for server_id, of_one in found}


def _window(since: datetime, until: datetime) -> tuple[int, int]:
    first, end = slot_number(since), slot_number(until)
    if first >= end:
        raise WrongRequest("the window holds no slot: until comes after since")
    if end - first > WINDOW_DAYS * DAY_SLOTS:
        raise WrongRequest(f"a window is at most {WINDOW_DAYS} days long")
    return first, end


def _step(first: int, end: int, points: int) -> tuple[int, int]:
    """The slots of a bucket, and where the first bucket would begin were it whole."""
    midnight = first - first % DAY_SLOTS
    for step in STEPS:
        start = first - first % step
        if end - start <= points * step:
            return step, start
    whole_days = -(-(end - midnight) // (points * DAY_SLOTS))
    return whole_days * DAY_SLOTS, midnight


def _add_up(kind: type[F], found: Mapping[int, Day], first: int, end: int) -> F:
    sums = days.add_up(list(_pieces(found, first, end)))
    counted = sum(sums[:4])
    return kind(
        counts=Counts(*sums[:4], not_due=end - first - counted),
        sent=sums.sent,
        received=sums.received,
        best_ms=sums.best_ms,
        worst_ms=sums.worst_ms,
        mean_ms=sums.hundredths / sums.timed / 100 if sums.timed else None,
        p50_ms=sums.p50_ms,
        p95_ms=sums.p95_ms,
        p99_ms=sums.p99_ms,
        since=slot_time(first),
        until=slot_time(end),
    )


def _pieces(found: Mapping[int, Day], first: int, end: int) -> Iterator[tuple[Day, int, int]]:
    """Cut slots into pieces that lie within a day each."""
    for number in range(first // DAY_SLOTS, (end - 1) // DAY_SLOTS + 1):
        start = number * DAY_SLOTS
        yield found[number], max(first - start, 0), min(end - start, DAY_SLOTS)
