"""Pages of a server's pings, wherever they are kept.

Every function takes a session inside a transaction that its caller ends.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session

from core.checks.records import State
from core.history import reasons
from core.history.codec import Slots, all_ms, codes
from core.history.days import MINUTE, date_of_day, hundredths, listed
from core.history.records import HistoryRequest, PingRecord, PingsPage
from core.models import DATA, DAY, Server
from core.slots import DAY_SLOTS, first_slot, slot_number, slot_time


def _time(slot: int) -> datetime:
    return slot_time(slot) if slot < LAST_SLOT else slot_time(LAST_SLOT)


LAST_SLOT = slot_number(datetime.max.replace(tzinfo=UTC)) - 1


def page(
    session: Session, server_id: int, first: int | None, end: int | None, limit: int
) -> list[tuple[int, float | None]]:
    """Return a server's first `limit` pings from slot `first` on, or its last ones before `end`.

    Oldest first, each as its slot and mean in ms; `end` bounds both ways, None bounds nothing. Two
    statements, which read little more than the page.
    """
    found = _raw_page(session, server_id, first, end, limit)
    for _server_id, number, slots in _stored_pages(session, [server_id], first, end, limit):
        start = number * DAY_SLOTS
        for minute in slots.minutes:
            found[start + minute] = slots.mean[minute]
    shown = _cut(found, first, end, limit)
    return list(zip(shown, all_ms(found[slot] for slot in shown), strict=True))


def _cut(found: Collection[int], first: int | None, end: int | None, limit: int) -> list[int]:
    low = min(found, default=0) if first is None else first
    high = max(found, default=0) + 1 if end is None else end
    inside = sorted(slot for slot in found if low <= slot < high)
    return inside[-limit:] if first is None else inside[:limit]


class Kept(NamedTuple):
    """A ping as it is kept, raw or packed: its slot's number, and what came back; times in ms."""

    slot: int
    response_ms: float | None
    best_ms: float | None
    worst_ms: float | None
    sent: int
    received: int

    @property
    def state(self) -> State:
        """What this ping says of its server."""
        return State.of(self.sent, self.received)


def kept(first: int, slots: Slots, minutes: Sequence[int] | None = None) -> Iterator[Kept]:
    """Return the pings of a packed day that begins with the slot `first`, in order.

    Those of `minutes`, which must hold pings; None: all there are.
    """
    mean, best, worst, sent, received = slots.columns
    for at in slots.minutes if minutes is None else minutes:
        mean_ms, best_ms, worst_ms = all_ms((mean[at], best[at], worst[at]))
        yield Kept(first + at, mean_ms, best_ms, worst_ms, sent[at], received[at])


def full_pages(
    session: Session, ids: Sequence[int], first: int | None, end: int | None, limit: int
) -> dict[int, list[Kept]]:
    """Return the same pings as `page`, of many servers, with all that is kept of them.

    Two statements, however many servers; they read little more than the pages, and of a day no
    more pings are held than a page has.
    """
    found = _raw_full_pages(session, ids, first, end, limit)
    for server_id, number, slots in _stored_pages(session, ids, first, end, limit):
        nearer = _nearest(found[server_id], number * DAY_SLOTS, slots, (first, end), limit)
        found[server_id] |= {ping.slot: ping for ping in nearer}
    return {
        server_id: [found[server_id][slot] for slot in _cut(found[server_id], first, end, limit)]
        for server_id in ids
    }


def _nearest(
    found: Collection[int],
    start: int,
    slots: Slots,
    window: tuple[int | None, int | None],
    limit: int,
) -> Iterator[Kept]:
    """Return those of a day's pings that may be on a page for which `found` is there already."""
    low = start if window[0] is None else max(start, window[0])
    high = start + DAY_SLOTS if window[1] is None else min(start + DAY_SLOTS, window[1])
    if len(found) >= limit and window[0] is None:  # what lies beyond these isn't on the page
        low = max(low, min(found))
    elif len(found) >= limit:
        high = min(high, max(found))
    if low >= high:
        return iter(())
    inside = [at for at in slots.minutes if low <= start + at < high]
    nearest = inside[-limit:] if window[0] is None else inside[:limit]
    return kept(start, slots, nearest)


def _raw_full_pages(
    session: Session, ids: Sequence[int], first: int | None, end: int | None, limit: int
) -> dict[int, dict[int, Kept]]:
    order = DATA.c.datetime.desc() if first is None else DATA.c.datetime
    place = func.row_number().over(partition_by=DATA.c.server_id, order_by=order).label("place")
    names = ("response_time", "best_ms", "worst_ms", "sent", "received")
    columns = [DATA.c.server_id, MINUTE.label("slot"), *(DATA.c[name] for name in names)]
    placed = select(*columns, place).where(_inside(ids, first, end)).subquery()
    query = select(*(placed.c[column.name] for column in columns)).where(placed.c.place <= limit)
    found: dict[int, dict[int, Kept]] = defaultdict(dict)
    for server_id, *fields in session.execute(query):
        found[server_id][fields[0]] = Kept(*fields)
    return found


def _inside(ids: Sequence[int], first: int | None, end: int | None) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = [DATA.c.server_id.in_(ids)]
    bounds += [] if first is None else [DATA.c.datetime >= _time(first)]
    bounds += [] if end is None else [DATA.c.datetime < _time(end)]
    return and_(*bounds)


def _raw_page(
    session: Session, server_id: int, first: int | None, end: int | None, limit: int
) -> dict[int, int]:
    order = DATA.c.datetime.desc() if first is None else DATA.c.datetime
    nearest = select(MINUTE.label("slot"), hundredths(DATA.c.response_time).label("mean"))
    nearest = nearest.where(_inside([server_id], first, end)).order_by(order).limit(limit)
    rows = nearest.subquery()
    slots, means = session.execute(select(listed(rows.c.slot), listed(rows.c.mean))).one()
    if slots is None:
        return {}
    return dict(zip(json.loads(f"[{slots}]"), codes(json.loads(f"[{means}]")), strict=True))


def _stored_pages(
    session: Session, ids: Sequence[int], first: int | None, end: int | None, limit: int
) -> Iterator[tuple[int, int, Slots]]:
    earliest = date.min if first is None else date_of_day(first // DAY_SLOTS)
    latest = date.max if end is None else date_of_day((end - 1) // DAY_SLOTS)
    inside = and_(DAY.c.server_id.in_(ids), DAY.c.date.between(earliest, latest))
    counted = select(DAY.c.server_id, DAY.c.date, DAY.c.packed, _nearer(first, earliest, latest))
    inner = counted.where(inside).subquery()
    near_enough = select(inner.c.server_id, inner.c.date, inner.c.packed)
    for server_id, day, packed in session.execute(near_enough.where(inner.c.nearer < limit)):
        yield server_id, first_slot(day) // DAY_SLOTS, Slots(packed)


def _nearer(first: int | None, earliest: date, latest: date) -> ColumnElement[int]:
    """How many slots the days hold that lie nearer to where a page begins.

    Of the nearest day some may be outside the page, so it counts for nothing.
    """
    near, order = (latest, DAY.c.date.desc()) if first is None else (earliest, DAY.c.date)
    held = case((DAY.c.date == near, 0), else_=DAY.c.up + DAY.c.degraded + DAY.c.down)
    summed = func.sum(held).over(partition_by=DAY.c.server_id, order_by=order, rows=(None, -1))
    return case((summed.is_(None), 0), else_=summed).label("nearer")


@dataclass(frozen=True, slots=True)
class History:
    """Pings of one server, oldest first: (slot, mean ms or None where no echo came back).

    `before` and `after` say that there are more: the first slot of the page that follows, and the
    slot up to which the page before reaches (exclusive).
    """

    name: str
    pings: Sequence[tuple[datetime, float | None]]
    before: datetime | None = None
    after: datetime | None = None


def history(session: Session, server: Server, wanted: HistoryRequest) -> History:
    """Return the pings that `wanted` asks for. Two statements, whatever the size of the history."""
    first = None if wanted.since is None else slot_number(wanted.since)
    end = None if wanted.until is None else slot_number(wanted.until)
    # One more than asked for, to know whether there is more.
    found = [
        (slot_time(slot), ms) for slot, ms in page(session, server.id, first, end, wanted.limit + 1)
    ]
    if len(found) <= wanted.limit:
        return History(server.name, found)
    if wanted.since is not None:
        return History(server.name, found[:-1], after=found[-1][0])
    return History(server.name, found[1:], before=found[1][0])


def pages(
    session: Session,
    ids: Sequence[int],
    window: tuple[datetime | None, datetime | None],
    limit: int,
) -> dict[int, PingsPage]:
    """Return each server's first `limit` pings of [since, until), or without `since` the last ones.

    Three statements at most, whatever the size of the histories.
    """
    first, end = (None if bound is None else slot_number(bound) for bound in window)
    found = full_pages(session, ids, first, end, limit + 1)
    failed = {
        server_id: [slot_time(ping.slot) for ping in pings if ping.state is not State.UP]
        for server_id, pings in found.items()
    }
    causes = reasons.of_pings(session, failed)
    return {
        server_id: _page([_record(server_id, ping, causes) for ping in pings], *window, limit)
        for server_id, pings in found.items()
    }


def _page(
    found: Sequence[PingRecord], since: datetime | None, until: datetime | None, limit: int
) -> PingsPage:
    more = len(found) > limit
    if since is not None:
        return PingsPage(found[:limit], before=since, after=found[-1].slot if more else None)
    shown = found[-limit:]
    return PingsPage(shown, before=shown[0].slot if more else None, after=until)


def _record(
    server_id: int, ping: Kept, causes: Mapping[tuple[int, datetime], reasons.Cause]
) -> PingRecord:
    slot = slot_time(ping.slot)
    cause = causes.get((server_id, slot))
    return PingRecord(
        reason=cause and cause.reason,
        detail=cause and cause.detail,
        slot=slot,
        state=ping.state,
        response_ms=ping.response_ms,
        best_ms=ping.best_ms,
        worst_ms=ping.worst_ms,
        sent=ping.sent,
        received=ping.received,
    )
