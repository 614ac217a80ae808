"""What is due when: a server's schedule as rows, as spans and as bits.

Functions that take a session run inside a transaction that their caller ends.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Executable,
    Integer,
    Row,
    Select,
    case,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from core.models import SCHEDULE, Schedule, Server
from core.servers.records import Changes
from core.slots import DAY_SLOTS, slot_number
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


@cache
def _every(step: int) -> int:
    return sum(1 << slot for slot in range(0, DAY_SLOTS, step))


MOMENT = timedelta(microseconds=1)


def reschedule(
    session: Session,
    server: Server,
    *,
    interval_s: int | None = None,
    enabled: bool | None = None,
    now: datetime,
) -> Schedule:
    """From `now` on, have the server pinged every `interval_s`, or pause it; None: as before.

    `interval_s` is whole minutes that divide a day (core.servers.records.interval_s reads it). What
    was due before `now` stays as it was. Returns the schedule in force.
    """
    before = session.scalars(
        select(Schedule)
        .where(Schedule.server_id == server.id)
        .order_by(Schedule.since.desc())
        .limit(1)
    ).one()
    # Two changes in one instant, or a clock that stepped back: the newer word counts, and no row
    # may lie before one that is there, or what was due before `now` would change.
    planned = before if before.since >= now else Schedule(server_id=server.id, since=now)
    planned.interval_s = before.interval_s if interval_s is None else interval_s
    planned.enabled = before.enabled if enabled is None else enabled
    session.add(planned)
    session.flush()
    return planned


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


def put_plans(session: Session, planned: Sequence[Sequence[object]], now: datetime) -> None:
    if planned:
        session.execute(PLAN, {"rows": json.dumps(planned), "now": now})


def planned_anew(row: Row[Any], wanted: Changes) -> list[object] | None:
    now_is = [row.interval_s, row.enabled]
    to_be = [wanted.get("interval_s", row.interval_s), wanted.get("enabled", row.enabled)]
    return None if now_is == to_be else [row.id, *to_be]


def _plan_anew() -> Executable:
    """From now on these servers are due otherwise; as servers.reschedule does it for one."""
    given = incoming({"server_id": BigInteger(), "interval_s": Integer(), "enabled": Boolean()})
    newest = (
        select(func.max(SCHEDULE.c.since))
        .where(SCHEDULE.c.server_id == given.c.server_id)
        .correlate(given)
        .scalar_subquery()
    )
    # No row may lie before one that is there: what was due before would change.
    since = case((newest > NOW, newest), else_=NOW)
    rows = select(given.c.server_id, since, given.c.interval_s, given.c.enabled).where(true())
    added = insert(SCHEDULE).from_select(["server_id", "since", "interval_s", "enabled"], rows)
    return added.on_conflict_do_update(
        index_elements=["server_id", "since"],
        set_={"interval_s": added.excluded.interval_s, "enabled": added.excluded.enabled},
    )


PLAN = _plan_anew()


def schedules(session: Session, ids: Sequence[int] | None = None) -> dict[int, list[Planned]]:
    """Return the schedules of these servers or of all, by server, each in order of time."""
    return by_server(session, schedule_rows(ids))


def schedule_rows(ids: Sequence[int] | None) -> Select[int, datetime, int, bool]:
    query = select(
        Schedule.server_id, Schedule.since, Schedule.interval_s, Schedule.enabled
    ).order_by(Schedule.server_id, Schedule.since)
    return query if ids is None else query.where(Schedule.server_id.in_(ids))


def by_server(
    session: Session, query: Select[int, datetime, int, bool]
) -> dict[int, list[Planned]]:
    found: dict[int, list[Planned]] = defaultdict(list)
    for server_id, since, interval_s, enabled in session.execute(query):
        found[server_id].append(Planned(since, interval_s, enabled))
    return dict(found)
