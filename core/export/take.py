"""What another instance knew, added to this one.

Every function takes a session inside a transaction that its caller ends.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import astuple, replace
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

from core.checks.records import quantised_ms
from core.errors import NameTaken, WrongRequest
from core.export.records import (
    PLAIN,
    DayKept,
    Exported,
    Imported,
    LastPingKept,
    PlannedKept,
    ServerKept,
)
from core.history import upkeep
from core.models import DATA, DAY, SCHEDULE, SERVER
from core.reading import iso
from core.servers.change import IDS, insert_servers, put, refuse_address
from core.servers.lists import Entry
from core.servers.records import server_interval_s, server_ip, server_name
from core.settings import Settings
from core.slots import AHEAD, DAY_SLOTS, EPOCH, SLOT, first_slot, is_slot, slot_time
from core.sql import incoming, inserted, microseconds, time_at, written

T = TypeVar("T")
DONE = frozenset({"CREATED", "UPDATED", "UNCHANGED"})
TOLD = 20
"""Refused servers that are told of, each on its line."""
RAW_DAYS = 2
"""Days that lie further back than this are packed as they come in: `data` stays small."""


def take(session: Session, page: Exported, settings: Settings, now: datetime) -> Imported:
    """Add what isn't here yet; what is here stays as it is, so taking twice changes nothing.

    Servers are known by their names. One that exists keeps its settings and its schedule; only
    what was due before its schedule begins is added. Raises WrongRequest for what can't have been
    measured, for an address that may not be probed from here, and for pings of a server that
    nobody has.
    """
    servers = [_server(one, f"servers[{at}]", now) for at, one in enumerate(page.servers)]
    days = [_day(one, f"days[{at}]", now) for at, one in enumerate(page.days)]
    for server in servers:
        refuse_address(server.ip, settings)
    added = insert_servers(session, map(_server_row, servers))
    ids = _ids(session, {one.name for one in servers} | {one.server for one in days})
    _refuse_unknown(days, ids)
    began = _began(session, ids.values())
    planned = _planned_rows(servers, ids, settings)
    schedules = inserted(session, TAKE_SCHEDULES, SCHEDULES, {"rows": planned})
    for server_id in sorted(began.keys() & {row.server_id for row in schedules}):
        upkeep.recount(session, server_id, began[server_id].date())
    rows = _ping_rows(days, ids, _packed(session, days, ids))
    pings = written(session, TAKE_PINGS, {"rows": rows})
    _pack(session, days, ids, now)
    return Imported(servers=len(added), schedules=len(schedules), pings=pings)


def take_list(
    session: Session,
    entries: Sequence[Entry],
    settings: Settings,
    now: datetime,
    *,
    upsert: bool = False,
    skip: bool = False,
) -> Counter[str]:
    """Add the servers of a list, all of them or none; return how often each outcome was.

    With `upsert` those that exist are changed, with `skip` they stay as they are; else they are
    refused. Raises WrongRequest that says what is wrong in which place.
    """
    outcomes = put(session, [entry.said for entry in entries], settings, now, upsert=upsert)
    good = DONE | {NameTaken.status} if skip else DONE
    wrong = [
        (entry.place, outcome.detail)
        for entry, outcome in zip(entries, outcomes, strict=True)
        if outcome.status not in good
    ]
    if wrong:
        raise WrongRequest(_refusal(wrong), wrong[0][0])
    return Counter(outcome.status for outcome in outcomes)


def _refusal(wrong: Sequence[tuple[str, str | None]]) -> str:
    lines = [f"{place}: {detail}" for place, detail in wrong[:TOLD]]
    more = [f"and {len(wrong) - TOLD} more"] if len(wrong) > TOLD else []
    return "\n".join(["nothing was imported:", *lines, *more])


def refuse_pings(given: bytes) -> None:
    """Refuse a CSV that an old release exported with pings: as a list it would lose them."""
    if re.match(b"(\xef\xbb\xbf)?record,server,time,", given) and b"\nping," in given:
        raise WrongRequest("pings must come as JSON, got CSV: export them with format=json")


# What comes in, checked; it comes from anywhere.


def _server(one: ServerKept, place: str, now: datetime) -> ServerKept:
    return replace(
        one,
        name=_checked(server_name, one.name, f"{place}.name"),
        ip=_checked(server_ip, one.ip, f"{place}.ip"),
        added=_past(one.added, "added", f"{place}.added", now),
        last_ping=one.last_ping and _last_ping(one.last_ping, f"{place}.last_ping", now),
        schedule=[_planned(row, f"{place}.schedule", now) for row in one.schedule],
    )


def _checked(check: Callable[[object], T], value: object, field: str) -> T:
    try:
        return check(value)
    except WrongRequest as error:
        raise error.at(field) from None


def _past(given: datetime, what: str, field: str, now: datetime) -> datetime:
    """Return a time of the past: one in the future would look fresh for ever.

    `what` is the subject of the sentence that refuses it.
    """
    got = given.isoformat().replace("+00:00", "Z")
    # The latest day's last hours lie beyond datetime's end elsewhere.
    year_9000 = datetime(9000, 1, 1)  # noqa: DTZ001
    if not EPOCH.replace(tzinfo=None) <= given.replace(tzinfo=None) < year_9000:
        raise WrongRequest(f"{what} must be a time from 1970 to 8999", field, got=got)
    if given > now + AHEAD:
        raise WrongRequest(f"{what} must be a time in the past", field, got=got)
    return max(given.astimezone(UTC), EPOCH)


def _planned(row: PlannedKept, field: str, now: datetime) -> PlannedKept:
    _checked(server_interval_s, row.interval_s, field)
    return replace(row, since=_past(row.since, "since", field, now))


def _last_ping(one: LastPingKept, field: str, now: datetime) -> LastPingKept:
    slot = _past(one.slot, "slot", field, now)
    if not is_slot(slot):
        raise WrongRequest("slot must be a whole minute", field, got=iso(slot))
    _refuse_odd(one.sent, one.received, [one.response_ms], field)
    return replace(one, slot=slot, response_ms=_quantised(one.response_ms))


def _day(one: DayKept, place: str, now: datetime) -> DayKept:
    first = first_slot(one.date)
    if first < 0:
        got = one.date.isoformat()
        raise WrongRequest("date must be 1970-01-01 or later", f"{place}.date", got=got)
    end = (now + AHEAD - EPOCH) // SLOT
    late = [first + minute for minute, *_ in one.pings if first + minute > end]
    if late:
        got = iso(slot_time(late[0]))
        raise WrongRequest("a ping must be of a time in the past", f"{place}.pings", got=got)
    pings = [_ping(*ping, f"{place}.pings") for ping in one.pings]
    server = _checked(server_name, one.server, f"{place}.server")
    return replace(one, server=server, pings=pings)


def _ping(minute: int, *heard: Any) -> tuple[Any, ...]:
    mean, best, worst, sent, received, field = heard
    _refuse_odd(sent, received, [mean, best, worst], field)
    return (minute, _quantised(mean), _quantised(best), _quantised(worst), sent, received)


def _refuse_odd(sent: int, received: int, times: Sequence[float | None], field: str) -> None:
    """Refuse what no ping can have added up to; the times are mean, best and worst."""
    if sent < 1:
        raise WrongRequest("sent must be at least 1", field, got=sent)
    if received > sent:
        raise WrongRequest(f"received must be at most {sent}", field, got=received)
    known = [ms for ms in times if ms is not None]
    if known and not received:
        raise WrongRequest("times must be null where nothing was received", field, got=known[0])
    if known and len(known) != len(times):
        sentence = "a ping must have all of mean, best and worst, or none of them"
        raise WrongRequest(sentence, field, got=len(known))
    if len(known) == 3 and not known[1] <= known[0] <= known[2]:
        raise WrongRequest("mean must be between best and worst", field, got=known[0])


def _quantised(ms: float | None) -> float | None:
    return None if ms is None else quantised_ms(ms)


def _refuse_unknown(days: Sequence[DayKept], ids: Mapping[str, int]) -> None:
    for day in days:
        if day.server not in ids:
            raise WrongRequest(
                "server must exist here or be on this page (import the pages in their order)",
                "pings",
                got=day.server,
            )


# What is added


def _server_row(server: ServerKept) -> dict[str, object]:
    row = {name: getattr(server, name) for name in PLAIN} | {"datetime": server.added}
    if server.last_ping is not None:
        heard = ("last_slot", "last_ms", "last_sent", "last_received")
        row |= zip(heard, astuple(server.last_ping), strict=True)
    return row


def _ids(session: Session, names: Iterable[str]) -> dict[str, int]:
    rows = json.dumps([[name] for name in names])
    return {row.name: row.id for row in session.execute(IDS, {"rows": rows})}


def _began(session: Session, ids: Iterable[int]) -> dict[int, datetime]:
    """When each of these servers' schedules begins so far. One statement."""
    first = select(SCHEDULE.c.server_id, func.min(SCHEDULE.c.since)).group_by(SCHEDULE.c.server_id)
    rows = session.execute(first.where(SCHEDULE.c.server_id.in_(list(ids))))
    return {row.server_id: row[1] for row in rows}


def _planned_rows(servers: Sequence[ServerKept], ids: Mapping[str, int], settings: Settings) -> str:
    rows = [
        [ids[server.name], microseconds(row.since), row.interval_s, row.enabled]
        for server in servers
        for row in server.schedule or [_from_start(server, settings)]
    ]
    return json.dumps(rows)


def _from_start(server: ServerKept, settings: Settings) -> PlannedKept:
    # Without any schedule nothing would ever be due, and nothing could be changed.
    return PlannedKept(since=server.added, interval_s=settings.interval_s, enabled=True)


def _packed(
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


def _pack(session: Session, days: Sequence[DayKept], ids: Mapping[str, int], now: datetime) -> None:
    old = (now - timedelta(days=RAW_DAYS)).date()
    by_date: dict[date, set[int]] = defaultdict(set)
    for day in days:
        if day.date < old:
            by_date[day.date].add(ids[day.server])
    for day_date, server_ids in sorted(by_date.items()):
        upkeep.pack(session, day_date, sorted(server_ids))
        upkeep.forget_pings(session, day_date, 0, DAY_SLOTS)


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
