"""What another instance says it knew, checked: it comes from anywhere."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from msgspec.structs import replace
from sqlalchemy.orm import Session

from core.checks.records import quantised_ms
from core.errors import WrongRequest
from core.export.records import (
    DayKept,
    Exported,
    LastPingKept,
    ParentKept,
    PlannedKept,
    ServerKept,
)
from core.reading import iso, nfc
from core.servers import find
from core.servers.change import refuse_address
from core.servers.records import (
    new_name,
    server_interval_s,
    server_ip,
    server_name,
    server_tags,
)
from core.settings import Settings
from core.slots import AHEAD, EPOCH, SLOT, first_slot, is_slot, slot_time

T = TypeVar("T")


def checked(page: Exported, settings: Settings, now: datetime) -> Exported:
    """Return the page as it may be added: names trimmed, times of the past and in UTC.

    Raises WrongRequest for what can't have been measured, and for an address that may not be probed
    from here.
    """
    servers = [_server(one, f"servers[{at}]", now) for at, one in enumerate(page.servers)]
    days = [_day(one, f"days[{at}]", now) for at, one in enumerate(page.days)]
    for server in servers:
        refuse_address(server.ip, settings)
    links = [_parent(one, f"parents[{at}]") for at, one in enumerate(page.parents)]
    return replace(page, servers=servers, parents=links, days=days)


def named(session: Session, page: Exported) -> Exported:
    """Return the page with the names that servers have here, or that new ones will be kept under.

    Raises WrongRequest for a name that no new server may have, or that stands there twice, in
    whatever spelling.
    """
    here = find.names_here(
        session,
        {
            *(one.name for one in page.servers),
            *(name for one in page.parents for name in (one.server, one.parent)),
            *(one.server for one in page.days),
        },
    )

    def meant(name: str) -> str:
        return here.get(name) or nfc(name)

    servers = [
        replace(one, name=here.get(one.name) or _checked(new_name, one.name, f"servers[{at}].name"))
        for at, one in enumerate(page.servers)
    ]
    _refuse_twice([one.name for one in servers])
    links = [ParentKept(server=meant(one.server), parent=meant(one.parent)) for one in page.parents]
    days = [replace(one, server=meant(one.server)) for one in page.days]
    return replace(page, servers=servers, parents=links, days=days)


def _refuse_twice(names: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for at, name in enumerate(names):
        if first.setdefault(name, at) != at:
            sentence = f"{{}} appears twice (first: servers[{first[name]}])"
            raise WrongRequest(sentence, f"servers[{at}].name", got=name)


def _server(one: ServerKept, place: str, now: datetime) -> ServerKept:
    return replace(
        one,
        name=_checked(server_name, one.name, f"{place}.name"),
        ip=_checked(server_ip, one.ip, f"{place}.ip"),
        added=_past(one.added, "added", f"{place}.added", now),
        tags=_checked(server_tags, one.tags, f"{place}.tags"),
        last_ping=one.last_ping and _last_ping(one.last_ping, f"{place}.last_ping", now),
        schedule=[_planned(row, f"{place}.schedule", now) for row in one.schedule],
    )


def _parent(one: ParentKept, place: str) -> ParentKept:
    return ParentKept(
        server=_checked(server_name, one.server, f"{place}.server"),
        parent=_checked(server_name, one.parent, f"{place}.parent"),
    )


def _checked(check: Callable[[Any], T], value: object, field: str) -> T:
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
    first = EPOCH.replace(tzinfo=None)
    if not first <= given.replace(tzinfo=None) < first.replace(year=9000):
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
