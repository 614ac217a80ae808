"""A window of history as a chart or as figures, of one server or of many."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from sqlalchemy.orm import Session

from core.errors import WrongRequest
from core.history import brief, days
from core.history.days import DayView
from core.history.records import Bucket, Series, Summary
from core.models import Server
from core.reading import iso
from core.servers import exempt
from core.servers.schedule import Span
from core.slots import DAY_SLOTS, current_slot, slot_number, slot_time

WINDOW_DAYS = 800
STEPS = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1_440)
"""How many slots a bucket of a series may hold; beyond these, whole days."""


def series(
    session: Session, server: Server, since: datetime, until: datetime, points: int, now: datetime
) -> Series:
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
) -> dict[int, Series]:
    """Return the series of many servers, by server. Three statements for every 100 of them."""
    first, end = window_slots(*window)
    step, start = _step(first, end, points)
    found = days.windows(session, ids, first, end, current_slot(now), whole=step == DAY_SLOTS)
    edges = [first, *range(start + step, end, step), end]
    return {server_id: _series(of_one, edges) for server_id, of_one in found}


def _series(found: Mapping[int, DayView], edges: Sequence[int]) -> Series:
    times = [slot_time(edge) for edge in edges]
    buckets = [
        Bucket.of(days.add_up(found, first, end), since, until)
        for (first, end), (since, until) in zip(pairwise(edges), pairwise(times), strict=True)
    ]
    return Series(since=times[0], until=times[-1], buckets=buckets)


def summary(
    session: Session, server: Server, since: datetime, until: datetime, now: datetime
) -> Summary:
    """Return the slots of [since, until) in figures, whichever table holds them.

    Due are the slots that the schedule in force as they began wanted, and those that were pinged
    all the same (such as the one in which a server was added). A slot without a ping is
    unobserved when the next slot has begun; until then, and in the future, it is not due.
    Slots in maintenance are left out, unless it says that they count.
    Raises WrongRequest for an empty window or a too long one.
    """
    return summaries(session, [server.id], (since, until), now)[server.id]


def summaries(
    session: Session, ids: Sequence[int], window: tuple[datetime, datetime], now: datetime
) -> dict[int, Summary]:
    """Return the summaries of many servers, by server.

    brief.py says in how many statements. One more asks for maintenance; whoever was in any takes
    six more for every 100 servers.
    """
    first, end = window_slots(*window)
    left_out = exempt.left_out(session, ids, first, end)
    whole = [one for one in ids if one not in left_out]
    since, until = slot_time(first), slot_time(end)
    found = brief.totals_of(session, whole, first, end, current_slot(now))
    summed = {server_id: Summary.of(sums, since, until) for server_id, sums in found}
    cut = days.windows(session, [*left_out], first, end, current_slot(now))
    return summed | {
        server_id: _summary(its_days, left_out[server_id], first, end)
        for server_id, its_days in cut
    }


def _summary(
    its_days: Mapping[int, DayView], left_out: Sequence[Span], first: int, end: int
) -> Summary:
    sums = days.add_up_all(its_days, _between(left_out, first, end))
    maintenance = sum(days.count_due(its_days, span.first, span.end) for span in left_out)
    return Summary.of(sums, slot_time(first), slot_time(end), maintenance)


def _between(spans: Sequence[Span], first: int, end: int) -> list[tuple[int, int]]:
    """Return from where to where nothing of these spans lies."""
    lows = [first, *(span.end for span in spans)]
    highs = [*(span.first for span in spans), end]
    return [(low, high) for low, high in zip(lows, highs, strict=True) if low < high]


def window_slots(since: datetime, until: datetime) -> tuple[int, int]:
    """Return the first slot of a window and the one after its last.

    Raises WrongRequest for an empty window or a too long one.
    """
    first, end = slot_number(since), slot_number(until)
    if first >= end:
        raise WrongRequest(
            "until must be at least a minute after since", got=f"{iso(since)} to {iso(until)}"
        )
    if end - first > WINDOW_DAYS * DAY_SLOTS:
        days_wanted = -(-(end - first) // DAY_SLOTS)
        raise WrongRequest(f"a window must be at most {WINDOW_DAYS} days long", got=days_wanted)
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
