"""Which slots of a server are exempt: those of planned work, for itself or for whom it is behind.

What is planned, and how it becomes ranges, is core/incidents/maintenance.py. Every function takes a
session inside a transaction that its caller ends.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import MAINTENANCE_RANGE, PARENT, SERVER
from core.servers import tags
from core.servers.criteria import Criteria
from core.servers.schedule import Span
from core.slots import slot_number, slot_time
from core.sql import as_rows, given_ids


class Range(NamedTuple):
    """From slot `first` to before slot `end` a maintenance holds those that its criteria mean.

    `counts`: they are part of uptime and coverage all the same. Without an id it was removed.
    """

    first: int
    end: int
    counts: bool
    name: str
    maintenance_id: int | None
    criteria: str


def ranges(
    session: Session, ids: Sequence[int], first: int, end: int
) -> dict[int, Sequence[Range]]:
    """Return the ranges that touch slots from `first` to before `end`, by server, in order.

    One statement where there is none; else four at most. Who isn't held has none.
    """
    found = _between(session, first, end) if ids else []
    if not found:
        return {}
    criteria = {one.criteria: Criteria.of(msgspec.json.decode(one.criteria)) for one in found}
    held = _held(session, ids, criteria)
    # Most are held by the same ranges: they share one list.
    shared = {some: [one for one in found if one.criteria in some] for some in {*held.values()}}
    return {server_id: shared[some] for server_id, some in held.items() if some}


def _between(session: Session, first: int, end: int) -> list[Range]:
    one = MAINTENANCE_RANGE.c
    query = select(one.since, one.until, one.counts, one.name, one.maintenance_id, one.criteria)
    within = query.where(one.until > slot_time(first), one.since < slot_time(end))
    return [
        Range(slot_number(since), slot_number(until), *more)
        for since, until, *more in session.execute(within.order_by(one.since, one.id))
    ]


def _held(
    session: Session, ids: Sequence[int], criteria: Mapping[str, Criteria]
) -> dict[int, frozenset[str]]:
    """Return which criteria mean each server, or one that it is behind."""
    every = frozenset(text for text, one in criteria.items() if one.is_everyone)
    some = {text: one for text, one in criteria.items() if text not in every}
    if not some:
        return dict.fromkeys(ids, every)
    lines = _lines(session, ids)
    above = {server_id for line in lines.values() for server_id in line}
    meant = _meant(session, sorted(above), some)
    return {
        server_id: every.union(*(meant.get(one, ()) for one in line))
        for server_id, line in lines.items()
    }


def _lines(session: Session, ids: Iterable[int]) -> dict[int, Collection[int]]:
    """Return each server with all that it is behind."""
    parents = dict(session.execute(select(PARENT.c.server_id, PARENT.c.parent_id)).all())
    lines: dict[int, Collection[int]] = {}
    for server_id in ids:
        line = {server_id: None}
        at = parents.get(server_id)
        while at is not None and at not in line:
            line[at] = None
            at = parents.get(at)
        lines[server_id] = line
    return lines


def _meant(
    session: Session, ids: Sequence[int], criteria: Mapping[str, Criteria]
) -> dict[int, set[str]]:
    names = session.execute(NAMES, {"rows": as_rows([one] for one in ids)})
    tagged = tags.of(session, ids) if any(one.tags for one in criteria.values()) else {}
    return {
        server_id: {
            text for text, one in criteria.items() if one.match(name, tagged.get(server_id, ()))
        }
        for server_id, name in names
    }


NAMES = select(SERVER.c.id, SERVER.c.name).where(SERVER.c.id.in_(given_ids()))


def exempt(session: Session, ids: Sequence[int], first: int, end: int) -> dict[int, Sequence[Span]]:
    """Return which slots from `first` to before `end` are exempt, by server; none for one without.

    As many statements as of `ranges`.
    """
    return spans_of(ranges(session, ids, first, end), first, end)


def left_out(
    session: Session, ids: Sequence[int], first: int, end: int
) -> dict[int, Sequence[Span]]:
    """Return those of the exempt slots that are no part of uptime and coverage."""
    return spans_of(uncounted(ranges(session, ids, first, end)), first, end)


def uncounted(found: Mapping[int, Sequence[Range]]) -> dict[int, Sequence[Range]]:
    """Return those ranges whose slots are no part of uptime and coverage."""
    kept = {one: [held for held in some if not held.counts] for one, some in found.items()}
    return {one: some for one, some in kept.items() if some}


def spans_of(
    found: Mapping[int, Sequence[Range]], first: int, end: int
) -> dict[int, Sequence[Span]]:
    """Return the slots from `first` to before `end` of ranges as `ranges` returns them."""
    known: dict[tuple[Range, ...], Sequence[Span]] = {}
    spans = {}
    for server_id, some in found.items():
        key = tuple(some)
        if key not in known:
            known[key] = united(some, first, end)
        spans[server_id] = known[key]
    return spans


def united(some: Sequence[Range], first: int, end: int) -> Sequence[Span]:
    """Return ranges, in order, as spans that neither touch nor leave the slots asked about."""
    spans: list[Span] = []
    for one in some:
        low, high = max(one.first, first), min(one.end, end)
        if low >= high:
            continue
        if spans and low <= spans[-1].end:
            spans[-1] = spans[-1]._replace(end=max(high, spans[-1].end))
        else:
            spans.append(Span(low, high, 1))
    return spans


def is_exempt(spans: Iterable[Span], slot: int) -> bool:
    """Whether a slot lies in one of these."""
    return any(one.first <= slot < one.end for one in spans)
