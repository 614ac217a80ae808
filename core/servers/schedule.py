"""What is due when: a server's schedule as rows, as spans and as bits.

Functions that take a session run inside a transaction that their caller ends.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    FromClause,
    ScalarSelect,
    Select,
    and_,
    case,
    delete,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from core.models import SCHEDULE, Schedule, Server
from core.servers import records
from core.slots import AHEAD, DAY_SLOTS, slot_number
from core.sql import NOW, incoming


class Planned(NamedTuple):
    """A row of a server's schedule: from `since` on it was due every `interval_s`, or paused."""

    since: datetime
    interval_s: int
    enabled: bool


class Span(NamedTuple):
    """From slot `first` to before slot `end` every `step`-th was due, counted from midnight."""

    first: int
    end: int
    step: int


FIELDS = [field.name for field in records.FIELDS if field.table == SCHEDULE.name]
"""What of a server as wanted is said of its schedule."""
NEVER = 1 << 62
WHOLE_DAY = (1 << DAY_SLOTS) - 1


def spans(schedule: Sequence[Planned]) -> list[Span]:
    """Turn a server's schedule, in order of time, into spans.

    A row holds for the slots that begin when it is in force: in the slot in which a server is
    added or paused what counts is what was due as that slot began.
    """
    edges = [*(slot_number(row.since) for row in schedule), NEVER]
    return [
        Span(first, end, row.interval_s // 60)
        for row, (first, end) in zip(schedule, pairwise(edges), strict=True)
        if row.enabled and first < end
    ]


def pauses(schedule: Sequence[Planned]) -> list[Span]:
    """Turn a server's schedule, in order of time, into the spans in which it was paused."""
    edges = [*(slot_number(row.since) for row in schedule), NEVER]
    return [
        Span(first, end, 1)
        for row, (first, end) in zip(schedule, pairwise(edges), strict=True)
        if not row.enabled and first < end
    ]


def due(planned: Iterable[Span], first: int, end: int = NEVER) -> int:
    """Return which of the 1,440 slots from `first`, a midnight, were due before `end`.

    A bit for each slot, the first one lowest: such sets are joined, cut and counted at once.
    """
    bits = 0
    for span in planned:
        low = max(span.first - first, 0)
        high = min(span.end - first, end - first, DAY_SLOTS)
        if low < high:
            bits |= _every(span.step) & (WHOLE_DAY >> DAY_SLOTS - high + low << low)
    return bits


def due_from(planned: Sequence[Span], first: int, end: int) -> int:
    """Return `due` for the 1,440 slots from any slot `first` on, midnight or not."""
    passed = first % DAY_SLOTS
    today = due(planned, first - passed, end)
    tomorrow = due(planned, first - passed + DAY_SLOTS, end)
    return (today | tomorrow << DAY_SLOTS) >> passed & WHOLE_DAY


def due_slots(planned: Sequence[Span], first: int, end: int) -> Iterator[int]:
    """Yield the slots from `first` to before `end` that were due, in order."""
    for since in range(first, end, DAY_SLOTS):
        bits = due_from(planned, since, end)
        while bits:
            lowest = bits & -bits
            yield since + lowest.bit_length() - 1
            bits ^= lowest


@cache
def _every(step: int) -> int:
    return sum(1 << slot for slot in range(0, DAY_SLOTS, step))


def reschedule(
    session: Session, wanted: Mapping[int, Mapping[str, object]], now: datetime
) -> set[int]:
    """From `now` on have servers pinged at another interval, or pause them.

    `wanted` says `interval_s`, `enabled` or both, by the server's id; what it doesn't say stays,
    and so does what was due before `now`. Returns the ids of those whose schedule is another. Two
    statements; their caller has locked the servers.
    """
    said = {
        server_id: {name: words[name] for name in FIELDS if name in words}
        for server_id, words in wanted.items()
    }
    ids = [server_id for server_id, words in said.items() if words]
    if not ids:
        return set()
    newest = session.execute(NEWEST, {"rows": json.dumps([[one] for one in ids])})
    plans = {row.server_id: {name: getattr(row, name) for name in FIELDS} for row in newest}
    anew = {one: plans[one] | said[one] for one in ids if plans[one] | said[one] != plans[one]}
    put_plans(session, anew, now)
    return set(anew)


def in_force(moment: datetime) -> ColumnElement[bool]:
    """The schedule row that held just before `moment`."""
    other = aliased(Schedule)
    newest = (
        select(func.max(other.since))
        .where(other.server_id == Server.id, other.since < moment)
        .correlate(Server)
        .scalar_subquery()
    )
    return Schedule.since == newest


def in_force_or_first() -> ColumnElement[bool]:
    """The schedule row in force; a clock that was ahead when a server was added doesn't hide it."""
    other = aliased(Schedule)
    of_server = other.server_id == Server.id
    newest = select(func.max(other.since)).where(of_server, other.since <= NOW)
    first = select(func.min(other.since)).where(of_server)
    both = [one.correlate(Server).scalar_subquery() for one in (newest, first)]
    return Schedule.since == func.coalesce(*both)


def put_plans(session: Session, plans: Mapping[int, Mapping[str, object]], now: datetime) -> None:
    """Have these servers, by id, due as each of their plans says, from `now` on. One statement."""
    rows = [[server_id, *(plan[name] for name in FIELDS)] for server_id, plan in plans.items()]
    if rows:
        session.execute(PLAN, {"rows": json.dumps(rows), "now": now})


def _newest_of(given: FromClause) -> ScalarSelect[datetime]:
    newest = select(func.max(SCHEDULE.c.since)).where(SCHEDULE.c.server_id == given.c.server_id)
    return newest.correlate(given).scalar_subquery()


def _newest() -> Executable:
    given = incoming({"server_id": BigInteger()})
    of_it = and_(SCHEDULE.c.server_id == given.c.server_id, SCHEDULE.c.since == _newest_of(given))
    return select(SCHEDULE).join(given, of_it)


def _plan() -> Executable:
    given = incoming(
        {"server_id": BigInteger(), **{name: SCHEDULE.c[name].type for name in FIELDS}}
    )
    # Two changes in one instant, or a clock that stepped back: the newer word counts, and no row
    # may lie before one that is there, or what was due before would change.
    newest = _newest_of(given)
    since = case((newest > NOW, newest), else_=NOW)
    rows = select(given.c.server_id, since, *(given.c[name] for name in FIELDS)).where(true())
    added = insert(SCHEDULE).from_select(["server_id", "since", *FIELDS], rows)
    return added.on_conflict_do_update(
        index_elements=["server_id", "since"],
        set_={name: added.excluded[name] for name in FIELDS},
    )


def hold_all(session: Session) -> None:
    """Hold every server, and so what is of it: nobody changes, records, packs or removes any."""
    session.execute(select(Server.id).order_by(Server.id).with_for_update()).all()


def bring_back(session: Session, now: datetime) -> None:
    """Let what was planned from a time to come on, by a clock that was wrong, hold from now on.

    Of several such rows the newest word counts. Servers that were added then were added now.
    """
    later = SCHEDULE.c.since > now + AHEAD
    rows = session.execute(select(SCHEDULE).where(later).order_by(SCHEDULE.c.since)).mappings()
    plans = {row["server_id"]: {name: row[name] for name in FIELDS} for row in rows}
    session.execute(delete(SCHEDULE).where(later))
    put_plans(session, plans, now)
    session.execute(update(Server).where(Server.added > now + AHEAD).values(added=now))


NEWEST = _newest()
PLAN = _plan()


def schedules(session: Session, ids: Sequence[int] | None = None) -> dict[int, list[Planned]]:
    """Return the schedules of these servers or of all, by server, each in order of time."""
    return by_server(session, schedule_rows(ids))


def schedule_rows(ids: Sequence[int] | None) -> Select[int, datetime, int, bool]:
    """Select the schedules of these servers, or of all: server, since, interval_s, enabled."""
    query = select(
        Schedule.server_id, Schedule.since, Schedule.interval_s, Schedule.enabled
    ).order_by(Schedule.server_id, Schedule.since)
    return query if ids is None else query.where(Schedule.server_id.in_(ids))


def by_server(
    session: Session, query: Select[int, datetime, int, bool]
) -> dict[int, list[Planned]]:
    """Return what a query as of `schedule_rows` finds, by server."""
    found: dict[int, list[Planned]] = defaultdict(list)
    for server_id, since, interval_s, enabled in session.execute(query):
        found[server_id].append(Planned(since, interval_s, enabled))
    return dict(found)
