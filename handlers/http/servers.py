"""/api/v1/servers: servers and their history. REST and GraphQL make the same calls."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from core import models
from core.clock import utc_now
from core.errors import IdUnknown, WrongRequest
from core.history import figures, slices, today
from core.history.records import Bucket, Counts, Figures, ServerStatus
from core.history.slices import Kept
from core.reading import iso, moment
from core.servers import change, find
from core.servers.records import (
    Bulk,
    BulkDone,
    BulkQuery,
    FleetQuery,
    ListDone,
    ServerChange,
    ServerWanted,
)
from core.slots import SLOT, current_slot, slot_time
from handlers.http import shapes
from handlers.http.routes import CSV, JSON, READ, WRITE, Later, Routes
from handlers.instance import Instance

DAY = timedelta(days=1)
UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
Shape = TypeVar("Shape", bound=msgspec.Struct)
T = TypeVar("T")
ROUTES = Routes()
SERVERS = "/api/v1/servers"
SERVER = f"{SERVERS}/<int:server_id>"
UNKNOWN, TAKEN = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT


@ROUTES("GET", SERVERS, may=READ, query=FleetQuery, gives=shapes.ServerPage, fresh=True)
def listed(here: Instance, wanted: FleetQuery) -> shapes.ServerPage:
    """List servers with their state and last 24 hours."""
    return listed_with_cursors(here, wanted)[0]


def listed_with_cursors(
    here: Instance, wanted: FleetQuery
) -> tuple[shapes.ServerPage, Sequence[str]]:
    """List servers with their state and last 24 hours; beside them the cursor of each."""
    now = utc_now()
    with here.database.reading() as session:
        page = find.page(session, wanted, now)
        statuses = today.fleet(session, now, page.ids)
    by_id = {status.server_id: _server(status) for status in statuses}
    # One that was removed between the two is left out.
    cursors = dict(zip(page.ids, page.cursors, strict=True))
    there = [server_id for server_id in page.ids if server_id in by_id]
    shown = shapes.ServerPage(
        servers=[by_id[server_id] for server_id in there],
        totals=dict(page.totals),
        last_round=page.last_round,
        next=page.after,
    )
    return shown, [cursors[server_id] for server_id in there]


@ROUTES(
    "POST",
    SERVERS,
    may=WRITE,
    takes=ServerWanted,
    gives=shapes.ServerShown,
    status=HTTPStatus.CREATED,
    location=lambda shown: f"{SERVERS}/{shown.id}",
    errors=[TAKEN],
)
def add(here: Instance, wanted: ServerWanted) -> shapes.ServerShown:
    """Add a server."""
    now = utc_now()
    with here.database.transaction() as session:
        server_id = change.add(session, wanted, here.settings, now)
        return _one(today.fleet(session, now, [server_id]), server_id)


ROUTES(
    "POST",
    f"{SERVERS}/bulk",
    may=WRITE,
    query=BulkQuery,
    reads=Bulk,
    gives=(BulkDone, ListDone),
    accepts=(JSON, CSV),
)(Later("handlers.http.bulk.put"))


@ROUTES("GET", SERVER, may=READ, gives=shapes.ServerShown, errors=[UNKNOWN], fresh=True)
def show(here: Instance, server_id: int) -> shapes.ServerShown:
    """Show a server with its state and last 24 hours."""
    found = those(here, [server_id])
    if not found:
        raise IdUnknown(server_id)
    return found[0]


def those(here: Instance, ids: Sequence[int]) -> list[shapes.ServerShown]:
    """Show those of these servers that are there."""
    possible = [server_id for server_id in ids if server_id <= models.LARGEST_ID]
    with here.database.reading() as session:
        return [_server(one) for one in today.fleet(session, utc_now(), possible)]


@ROUTES(
    "PATCH",
    SERVER,
    may=WRITE,
    takes=ServerChange,
    gives=shapes.ServerShown,
    errors=[UNKNOWN, TAKEN],
)
def alter(here: Instance, wanted: ServerChange, server_id: int) -> shapes.ServerShown:
    """Change a server: name, address, probe, port, interval, or pause it."""
    now = utc_now()
    with here.database.transaction() as session:
        change.alter(session, server_id, wanted, here.settings, now)
        return _one(today.fleet(session, now, [server_id]), server_id)


@ROUTES("DELETE", SERVER, may=WRITE, gives=shapes.Done, errors=[UNKNOWN])
def remove(here: Instance, server_id: int) -> shapes.Done:
    """Delete a server and all its history."""
    with here.database.transaction() as session:
        change.remove_id(session, server_id)
    return shapes.Done(status="DELETED")


# History: of many servers in as few statements as of one. A server that is gone is left out.


@ROUTES(
    "GET",
    f"{SERVER}/pings",
    may=READ,
    query=shapes.PingsQuery,
    gives=shapes.PingPage,
    errors=[UNKNOWN],
    fresh=True,
)
def pings(here: Instance, wanted: shapes.PingsQuery, server_id: int) -> shapes.PingPage:
    """Page through a server's pings."""
    page = _of(server_id, all_pings(here, wanted, [server_id]))
    address = f"{SERVERS}/{server_id}/pings"
    return shapes.PingPage(
        pings=[ping_shown(ping) for ping in page.pings],
        prev=_link(address, wanted.limit, until=page.before),
        next=_link(address, wanted.limit, since=page.after),
    )


def all_pings(
    here: Instance, wanted: shapes.PingsQuery, ids: Sequence[int]
) -> dict[int, slices.Page]:
    """Return a page of each server's pings. Raises WrongRequest."""
    window = _moment(wanted, "since"), _moment(wanted, "until")
    with here.database.reading() as session:
        return slices.pages(session, find.existing(session, ids), window, wanted.limit)


@ROUTES(
    "GET",
    f"{SERVER}/series",
    may=READ,
    query=shapes.SeriesQuery,
    gives=shapes.Series,
    errors=[UNKNOWN],
    fresh=True,
)
def series(here: Instance, wanted: shapes.SeriesQuery, server_id: int) -> shapes.Series:
    """Reduce a window of a server's history to the points of a chart."""
    return _of(server_id, all_series(here, wanted, [server_id]))


def all_series(
    here: Instance, wanted: shapes.SeriesQuery, ids: Sequence[int]
) -> dict[int, shapes.Series]:
    """Reduce a window of each server's history to the points of a chart. Raises WrongRequest."""
    now = utc_now()
    window = _window(wanted, DAY, now)
    with here.database.reading() as session:
        there = find.existing(session, ids)
        found = figures.all_series(session, there, window, wanted.points, now)
    return {server_id: _series(buckets) for server_id, buckets in found.items()}


@ROUTES(
    "GET",
    f"{SERVER}/summary",
    may=READ,
    query=shapes.SummaryQuery,
    gives=shapes.SummaryShown,
    errors=[UNKNOWN],
    fresh=True,
)
def summary(here: Instance, wanted: shapes.SummaryQuery, server_id: int) -> shapes.SummaryShown:
    """Add a window of a server's history up: uptime, coverage, exact percentiles."""
    return _of(server_id, summaries(here, wanted, [server_id]))


def summaries(
    here: Instance, wanted: shapes.SummaryQuery, ids: Sequence[int]
) -> dict[int, shapes.SummaryShown]:
    """Add a window of each server's history up. Raises WrongRequest."""
    now = utc_now()
    window = _window(wanted, length(wanted.window), now)
    with here.database.reading() as session:
        found = figures.summaries(session, find.existing(session, ids), window, now)
    return {one: _figures(shapes.SummaryShown, sums) for one, sums in found.items()}


# What comes in


def _moment(wanted: Any, field: str) -> datetime | None:
    text = getattr(wanted, field)
    if text is msgspec.UNSET:
        return None
    try:
        found = moment(text, field)
    except WrongRequest as error:
        raise WrongRequest(str(error), field) from None
    if not EARLIEST <= found < LATEST:
        raise WrongRequest(f"{field} is a time between 1970 and 9000", field)
    return found


def _window(wanted: Any, default: timedelta, now: datetime) -> tuple[datetime, datetime]:
    """The window wanted, else the last `default`, which ends with the slot we are in."""
    until = _moment(wanted, "until") or slot_time(current_slot(now)) + SLOT
    since = _moment(wanted, "since") or until - min(default, until - EARLIEST)
    return since, until


def length(window: str) -> timedelta:
    """Return how long `30d` is. A timedelta has an end of its own; core says what is too long."""
    longest_s = int((LATEST - EARLIEST).total_seconds())
    return timedelta(seconds=min(int(window[:-1]) * UNITS[window[-1]], longest_s))


# What goes out


def _one(found: list[ServerStatus], server_id: int) -> shapes.ServerShown:
    if not found:
        raise IdUnknown(server_id)
    return _server(found[0])


def _server(status: ServerStatus) -> shapes.ServerShown:
    return shapes.ServerShown(
        id=status.server_id,
        name=status.name,
        ip=status.ip,
        probe=status.probe,
        port=status.port,
        added=status.added,
        interval_s=status.interval_s,
        enabled=status.enabled,
        state=status.state,
        last_ping=_last_ping(status),
        uptime=status.uptime,
        coverage=status.coverage,
        counts=_counts(status.counts),
        strip=[half_hour.worst for half_hour in status.strip],
        means_ms=list(status.means_ms),
    )


def _last_ping(status: ServerStatus) -> shapes.LastPing | None:
    if status.last_slot is None:
        return None
    return shapes.LastPing(
        slot=status.last_slot,
        response_ms=status.last_ms,
        sent=status.last_sent or 0,
        received=status.last_received or 0,
    )


def _counts(counts: Counts) -> shapes.CountsShown:
    return shapes.CountsShown(
        up=counts.up,
        degraded=counts.degraded,
        down=counts.down,
        unobserved=counts.unobserved,
        due=counts.due,
    )


def ping_shown(ping: Kept) -> shapes.PingShown:
    """Show a ping as it is kept."""
    return shapes.PingShown(
        slot=slot_time(ping.slot),
        state=ping.state,
        response_ms=ping.response_ms,
        best_ms=ping.best_ms,
        worst_ms=ping.worst_ms,
        sent=ping.sent,
        received=ping.received,
    )


def _figures(shape: type[Shape], sums: Figures) -> Shape:
    named = {name: getattr(sums, name) for name in shape.__struct_fields__}
    return shape(**named | {"counts": _counts(sums.counts)})


def _series(buckets: Sequence[Bucket]) -> shapes.Series:
    return shapes.Series(
        since=buckets[0].since,
        until=buckets[-1].until,
        buckets=[_figures(shapes.BucketShown, bucket) for bucket in buckets],
    )


def _of(server_id: int, found: Mapping[int, T]) -> T:
    if server_id not in found:
        raise IdUnknown(server_id)
    return found[server_id]


def _link(here: str, limit: int, **bound: datetime | None) -> str | None:
    """The page beside this one, relative, so that it survives proxies."""
    times = {name: iso(moment) for name, moment in bound.items() if moment is not None}
    return f"{here}?{urlencode(times | {'limit': limit})}" if times else None
