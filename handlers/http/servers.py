"""/api/v1/servers: servers and their history. REST and GraphQL make the same calls."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from core.clock import utc_now
from core.errors import IdUnknown, WrongRequest
from core.history import figures, slices, today
from core.history.records import (
    PingRecord,
    PingsPage,
    PingsQuery,
    Series,
    SeriesQuery,
    ServerPage,
    ServerStatus,
    Summary,
    SummaryQuery,
)
from core.reading import Record, convert, iso
from core.servers import change, find
from core.servers.records import Changes, FleetRequest, Outcome
from handlers.http import shapes
from handlers.http.routes import READ, WRITE, Routes
from handlers.instance import Instance

T = TypeVar("T")
ROUTES = Routes()
SERVERS = "/api/v1/servers"
SERVER = f"{SERVERS}/<int:server_id>"
UNKNOWN, TAKEN = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT


@ROUTES("GET", SERVERS, may=READ, query=shapes.FleetQuery, gives=ServerPage, fresh=True)
def listed(here: Instance, wanted: shapes.FleetQuery) -> ServerPage:
    """List servers with their state and last 24 hours."""
    return listed_with_cursors(here, wanted)[0]


def listed_with_cursors(
    here: Instance, wanted: shapes.FleetQuery
) -> tuple[ServerPage, Sequence[str]]:
    """List servers with their state and last 24 hours; beside them the cursor of each."""
    with here.database.reading() as session:
        return today.page(session, _fleet_request(wanted), utc_now())


@ROUTES(
    "POST",
    SERVERS,
    may=WRITE,
    takes=shapes.ServerWanted,
    gives=ServerStatus,
    status=HTTPStatus.CREATED,
    location=lambda shown: f"{SERVERS}/{shown.id}",
    errors=[TAKEN],
)
def add(here: Instance, wanted: shapes.ServerWanted) -> ServerStatus:
    """Add a server."""
    said = shapes.changes(wanted)
    now = utc_now()
    with here.database.transaction() as session:
        server = change.add(session, said, here.settings, now)
        return today.of_one(session, server.id, now)


@ROUTES("POST", f"{SERVERS}/bulk", may=WRITE, takes=shapes.Bulk, gives=shapes.BulkDone)
def put(here: Instance, bulk: shapes.Bulk) -> shapes.BulkDone:
    """Add many servers at once, or add and change them by name, with a result for each."""
    read = [_read(one) for one in bulk.servers]
    wanted = [one for one in read if not isinstance(one, Outcome)]
    with here.database.transaction() as session:
        done = iter(change.put(session, wanted, here.settings, utc_now(), upsert=bulk.upsert))
    outcomes = [one if isinstance(one, Outcome) else next(done) for one in read]
    return shapes.BulkDone(results=[_item(outcome) for outcome in outcomes])


@ROUTES("GET", SERVER, may=READ, gives=ServerStatus, errors=[UNKNOWN], fresh=True)
def show(here: Instance, server_id: int) -> ServerStatus:
    """Show a server with its state and last 24 hours."""
    with here.database.reading() as session:
        return today.of_one(session, server_id, utc_now())


@ROUTES(
    "PATCH",
    SERVER,
    may=WRITE,
    takes=shapes.ServerChange,
    gives=ServerStatus,
    errors=[UNKNOWN, TAKEN],
)
def alter(here: Instance, wanted: shapes.ServerChange, server_id: int) -> ServerStatus:
    """Change a server: name, address, probe, port, interval, or pause it."""
    said = shapes.changes(wanted)
    now = utc_now()
    with here.database.transaction() as session:
        change.alter(session, server_id, said, here.settings, now)
        session.flush()
        return today.of_one(session, server_id, now)


@ROUTES("DELETE", SERVER, may=WRITE, gives=shapes.Done, errors=[UNKNOWN])
def remove(here: Instance, server_id: int) -> shapes.Done:
    """Delete a server and all its history."""
    with here.database.transaction() as session:
        change.remove_id(session, server_id)
    return shapes.Done(status="DELETED")


# History: of many servers in as few statements as of one. A server that is gone is left out.


class PingPage(Record, frozen=True):
    """Pings, oldest first, and the links to the pages beside."""

    pings: Sequence[PingRecord]
    prev: str | None
    next: str | None


@ROUTES(
    "GET",
    f"{SERVER}/pings",
    may=READ,
    query=PingsQuery,
    gives=PingPage,
    errors=[UNKNOWN],
    fresh=True,
)
def pings(here: Instance, wanted: PingsQuery, server_id: int) -> PingPage:
    """Page through a server's pings."""
    page = _of(server_id, all_pings(here, wanted, [server_id]))
    address = f"{SERVERS}/{server_id}/pings"
    return PingPage(
        pings=page.pings,
        prev=_link(address, wanted.limit, until=page.before),
        next=_link(address, wanted.limit, since=page.after),
    )


def all_pings(here: Instance, wanted: PingsQuery, ids: Sequence[int]) -> dict[int, PingsPage]:
    """Return a page of each server's pings. Raises WrongRequest."""
    window = wanted.bounds()
    with here.database.reading() as session:
        return slices.pages(session, find.existing(session, ids), window, wanted.limit)


@ROUTES(
    "GET",
    f"{SERVER}/series",
    may=READ,
    query=SeriesQuery,
    gives=Series,
    errors=[UNKNOWN],
    fresh=True,
)
def series(here: Instance, wanted: SeriesQuery, server_id: int) -> Series:
    """Reduce a window of a server's history to the points of a chart."""
    return _of(server_id, all_series(here, wanted, [server_id]))


def all_series(here: Instance, wanted: SeriesQuery, ids: Sequence[int]) -> dict[int, Series]:
    """Reduce a window of each server's history to the points of a chart. Raises WrongRequest."""
    now = utc_now()
    window = wanted.between(now)
    with here.database.reading() as session:
        there = find.existing(session, ids)
        return figures.all_series(session, there, window, wanted.points, now)


@ROUTES(
    "GET",
    f"{SERVER}/summary",
    may=READ,
    query=SummaryQuery,
    gives=Summary,
    errors=[UNKNOWN],
    fresh=True,
)
def summary(here: Instance, wanted: SummaryQuery, server_id: int) -> Summary:
    """Add a window of a server's history up: uptime, coverage, exact percentiles."""
    return _of(server_id, summaries(here, wanted, [server_id]))


def summaries(here: Instance, wanted: SummaryQuery, ids: Sequence[int]) -> dict[int, Summary]:
    """Add a window of each server's history up. Raises WrongRequest."""
    now = utc_now()
    window = wanted.between(now)
    with here.database.reading() as session:
        return figures.summaries(session, find.existing(session, ids), window, now)


# What comes in


def _fleet_request(wanted: shapes.FleetQuery) -> FleetRequest:
    return FleetRequest(
        search=wanted.search,
        name=wanted.name,
        state=None if wanted.state is msgspec.UNSET else wanted.state,
        sort=wanted.sort,
        after=wanted.after,
        limit=wanted.limit,
    )


def _read(one: Mapping[str, object]) -> Changes | Outcome:
    """What was said of one server of many, or why it can't be understood."""
    try:
        return shapes.changes(convert(shapes.BulkServer, one))
    except WrongRequest as error:
        return Outcome(error.status, detail=str(error), field=error.field)


# What goes out


def _item(outcome: Outcome) -> shapes.BulkItem:
    return shapes.BulkItem(
        status=outcome.status,
        id=outcome.server_id,
        detail=outcome.detail,
        field=outcome.field,
    )


def _of(server_id: int, found: Mapping[int, T]) -> T:
    if server_id not in found:
        raise IdUnknown(server_id)
    return found[server_id]


def _link(here: str, limit: int, **bound: datetime | None) -> str | None:
    """The page beside this one, relative, so that it survives proxies."""
    times = {name: iso(moment) for name, moment in bound.items() if moment is not None}
    return f"{here}?{urlencode(times | {'limit': limit})}" if times else None
