"""What another instance knew, added to this one."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import astuple
from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    Insert,
    Integer,
    Select,
    SmallInteger,
    exists,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.errors import WrongRequest
from core.export.checked import checked, named
from core.export.records import (
    PLAIN,
    DayKept,
    Exported,
    Imported,
    ParentKept,
    PlannedKept,
    ServerKept,
)
from core.history import upkeep
from core.history.codec import Rows
from core.models import DATA, DAY, SCHEDULE, SERVER
from core.servers import parents, tags
from core.servers.change import (
    claim_names,
    existing,
    insert_servers,
    locked_ids,
)
from core.settings import Settings
from core.slots import first_slot, slot_time
from core.sql import incoming, inserted, microseconds, time_at, written

T = TypeVar("T")
Step = Callable[[Session], Imported]
NEW_AT_ONCE = 250
KNOWN_AT_ONCE = 5
"""Servers of one step; of one that is here already a year of days may have to be counted anew."""
PARENTS_AT_ONCE = 2_000
PINGS_AT_ONCE = 3_000
A_DAY = 40
"""What a day costs beside its pings, in pings."""
RAW_DAYS = 2
"""Days that lie further back than this are packed as they come in: `data` stays small."""


def steps(session: Session, page: Exported, settings: Settings, now: datetime) -> list[Step]:
    """Check a page; return the steps that add what isn't here yet, each for its own transaction.

    What is here stays as it is, so each step may be done twice, and whoever was cut off between two
    takes the page once more. A step takes less than 200 ms; `session` is only read. Servers are
    known by their names. One that exists keeps its settings, tags and schedule; only what was due
    before its schedule begins is added, and a parent where it has none. Raises WrongRequest for
    what can't have been measured, for an address that may not be probed from here, and for pings
    or a parent of a server that nobody has.
    """
    page = named(session, checked(page, settings, now))
    servers = {one.name: one for one in page.servers}
    of_days = {one.server: "pings" for one in page.days}
    of_parents = {name: "parents" for one in page.parents for name in (one.server, one.parent)}
    meant = of_days | of_parents
    names = existing(session, {*servers, *meant})
    _refuse_unknown(meant, names | servers.keys())
    new = [one for name, one in servers.items() if name not in names]
    known = [one for name, one in servers.items() if name in names]
    groups = [*_cut(new, NEW_AT_ONCE), *_cut(known, KNOWN_AT_ONCE)]
    return [
        *(partial(_take_servers, servers=some, settings=settings) for some in groups),
        *(partial(_take_parents, links=some) for some in _cut(page.parents, PARENTS_AT_ONCE)),
        *(partial(_take_days, days=some, now=now) for some in _portions(page.days)),
    ]


def _cut(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (whole[start : start + size] for start in range(0, len(whole), size))


def _portions(days: Sequence[DayKept]) -> Iterator[Sequence[DayKept]]:
    portion: list[DayKept] = []
    cost = 0
    for day in days:
        cost += A_DAY + len(day.pings)
        if portion and cost > PINGS_AT_ONCE:
            yield portion
            portion, cost = [], A_DAY + len(day.pings)
        portion.append(day)
    if portion:
        yield portion


def _refuse_unknown(meant: Mapping[str, str], names: set[str]) -> None:
    """Refuse names that nobody has; `meant` says of each where it stands."""
    for name, field in meant.items():
        if name not in names:
            raise WrongRequest(
                "server must exist here or be on this page (import the pages in their order)",
                field,
                got=name,
            )


# Servers


def _take_servers(session: Session, servers: Sequence[ServerKept], settings: Settings) -> Imported:
    """Add servers and what of their schedules is new; one deleted meanwhile is passed over."""
    claim_names(session)
    added = insert_servers(session, map(_server_row, servers))
    new = [one for one in servers if one.tags and one.name in added]
    tags.put(session, {added[one.name]: one.tags for one in new})
    ids = locked_ids(session, [one.name for one in servers])
    began = _began(session, ids.values())
    planned = _planned_rows(servers, ids, settings)
    schedules = inserted(session, TAKE_SCHEDULES, SCHEDULES, {"rows": planned})
    for server_id in sorted(began.keys() & {row.server_id for row in schedules}):
        upkeep.recount(session, server_id, began[server_id].date())
    return Imported(servers=len(added), schedules=len(schedules), pings=0)


def _take_parents(session: Session, links: Sequence[ParentKept]) -> Imported:
    """Give parents to servers that have none; one deleted meanwhile is passed over.

    So is who would stand behind itself: somebody here decided otherwise.
    """
    claim_names(session)
    ids = locked_ids(session, {name for one in links for name in (one.server, one.parent)})
    known = parents.by_name(session)
    wanted = {
        one.server: one.parent
        for one in reversed(links)  # of two for one server the first counts
        if one.server in ids and one.server not in known
    }
    refused = parents.refusals(wanted, (), ids, known)
    given = {ids[name]: parent for name, parent in wanted.items() if name not in refused}
    parents.put(session, given)
    return Imported(servers=0, schedules=0, pings=0)


def _server_row(server: ServerKept) -> dict[str, object]:
    row = {name: getattr(server, name) for name in PLAIN} | {"datetime": server.added}
    if server.last_ping is not None:
        heard = ("last_slot", "last_ms", "last_sent", "last_received")
        row |= zip(heard, astuple(server.last_ping), strict=True)
    return row


def _began(session: Session, ids: Iterable[int]) -> dict[int, datetime]:
    """When each of these servers' schedules begins so far. One statement."""
    first = select(SCHEDULE.c.server_id, func.min(SCHEDULE.c.since)).group_by(SCHEDULE.c.server_id)
    rows = session.execute(first.where(SCHEDULE.c.server_id.in_(list(ids))))
    return {row.server_id: row[1] for row in rows}


def _planned_rows(servers: Sequence[ServerKept], ids: Mapping[str, int], settings: Settings) -> str:
    rows = [
        [ids[server.name], microseconds(row.since), row.interval_s, row.enabled]
        for server in servers
        if server.name in ids
        for row in server.schedule or [_from_start(server, settings)]
    ]
    return json.dumps(rows)


def _from_start(server: ServerKept, settings: Settings) -> PlannedKept:
    # Without any schedule nothing would ever be due, and nothing could be changed.
    return PlannedKept(since=server.added, interval_s=settings.interval_s, enabled=True)


# Days


def _take_days(session: Session, days: Sequence[DayKept], now: datetime) -> Imported:
    """Add days' pings. A server that was deleted meanwhile is passed over."""
    ids = locked_ids(session, {day.server for day in days})
    there = [day for day in days if day.server in ids]
    old = (now - timedelta(days=RAW_DAYS)).date()
    packed = upkeep.add(session, _rows([day for day in there if day.date < old], ids))
    young = [day for day in there if day.date >= old]
    rows = _ping_rows(young, ids, _held(session, young, ids))
    raw = written(session, TAKE_PINGS, {"rows": rows}) if young else 0
    return Imported(servers=0, schedules=0, pings=packed + raw)


def _rows(days: Iterable[DayKept], ids: Mapping[str, int]) -> dict[tuple[int, date], Rows]:
    """Return the pings of days as they are packed; of two that have one slot, the first counts."""
    pings: dict[tuple[int, date], dict[int, Sequence[Any]]] = defaultdict(dict)
    for day in days:
        for minute, *heard in day.pings:
            pings[ids[day.server], day.date].setdefault(minute, heard)
    return {key: _columns(found) for key, found in pings.items()}


def _columns(pings: Mapping[int, Sequence[Any]]) -> Rows:
    mean, best, worst, sent, received = zip(*pings.values(), strict=True)
    return Rows(
        list(pings),
        _hundredths(mean),
        _hundredths(best),
        _hundredths(worst),
        [int(count) for count in sent],
        [int(count) for count in received],
    )


def _hundredths(times: Iterable[float | None]) -> list[int]:
    return [-1 if ms is None else round(ms * 100) for ms in times]


def _held(
    session: Session, days: Sequence[DayKept], ids: Mapping[str, int]
) -> dict[tuple[int, date], int]:
    """The slots that these days hold already, as bits. One statement."""
    found = session.execute(
        select(DAY.c.server_id, DAY.c.date, DAY.c.held)
        .where(DAY.c.server_id.in_({ids[day.server] for day in days}))
        .where(DAY.c.date.in_({day.date for day in days}))
    )
    return {(server_id, day): int(held, 16) for server_id, day, held in found}


def _ping_rows(
    days: Sequence[DayKept], ids: Mapping[str, int], packed: Mapping[tuple[int, date], int]
) -> str:
    rows = []
    for day in days:
        server_id, first = ids[day.server], first_slot(day.date)
        held = packed.get((server_id, day.date), 0)
        for minute, *heard in day.pings:
            if not held >> minute & 1:
                rows.append([server_id, microseconds(slot_time(first + minute)), *heard])
    return json.dumps(rows)


def _take_schedules() -> Insert:
    given = incoming(
        {
            "server_id": BigInteger(),
            "since": BigInteger(),
            "interval_s": Integer(),
            "enabled": Boolean(),
        }
    )
    since = time_at(given.c.since)
    # What is due here from the first row on was decided here.
    decided = exists().where(SCHEDULE.c.server_id == given.c.server_id, SCHEDULE.c.since <= since)
    rows = select(given.c.server_id, since, given.c.interval_s, given.c.enabled).where(~decided)
    return (
        insert(SCHEDULE)
        .from_select(["server_id", "since", "interval_s", "enabled"], rows)
        .on_conflict_do_nothing()
    )


def _schedules() -> Select[int, datetime]:
    given = incoming({"server_id": BigInteger()})
    mine = SCHEDULE.c.server_id.in_(select(given.c.server_id))
    return select(SCHEDULE.c.server_id, SCHEDULE.c.since).where(mine)


def _take_pings() -> Insert:
    given = incoming(
        {
            "server_id": BigInteger(),
            "datetime": BigInteger(),
            "response_time": Double(),
            "best_ms": Double(),
            "worst_ms": Double(),
            "sent": SmallInteger(),
            "received": SmallInteger(),
        }
    )
    columns = [column for column in given.c if column.name != "datetime"]
    # How it was probed is not kept for long: the server's own word stands for it.
    rows = (
        select(*columns, time_at(given.c.datetime), SERVER.c.probe)
        .join_from(given, SERVER, SERVER.c.id == given.c.server_id)
        .where(true())
    )
    names = [column.name for column in columns]
    return insert(DATA).from_select([*names, "datetime", "probe"], rows).on_conflict_do_nothing()


TAKE_SCHEDULES = _take_schedules()
SCHEDULES = _schedules()
TAKE_PINGS = _take_pings()
