"""/api/v1/servers: servers and their history. REST and GraphQL make the same calls."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from core.clock import utc_now
from core.errors import IdUnknown
from core.history import figures, slices, today
from core.history import spells as core_spells
from core.history.records import (
    PingRecord,
    PingsPage,
    PingsQuery,
    Series,
    SeriesQuery,
    ServerPage,
    ServerStatus,
    Spells,
    SpellsQuery,
    Summary,
    SummaryQuery,
)
from core.reading import Record, iso
from core.servers import change, find
from core.servers.records import (
    Bulk,
    BulkDone,
    BulkQuery,
    FleetPage,
    FleetQuery,
    ListDone,
    Removed,
    ServerChange,
    ServerWanted,
    Standing,
)
from handlers.http.routes import CSV, JSON, READ, WRITE, Later, Routes
from handlers.instance import Instance

T = TypeVar("T")
ROUTES = Routes()
SERVERS = "/api/v1/servers"
MANY = 100
"""What more of, servers or days of a summary, takes more than a tenth of a second."""
MANY_PINGS = MANY_POINTS = 1_000
SERVER = f"{SERVERS}/<int:server_id>"
UNKNOWN, TAKEN = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT


@ROUTES(
    "GET",
    SERVERS,
    may=READ,
    query=FleetQuery,
    gives=ServerPage,
    fresh=True,
    costly=lambda wanted: wanted.limit > MANY,
)
def listed(here: Instance, wanted: FleetQuery) -> ServerPage:
    """List servers with their state and last 24 hours."""
    return listed_with_cursors(here, wanted)[0]


def listed_with_cursors(here: Instance, wanted: FleetQuery) -> tuple[ServerPage, Sequence[str]]:
    """List servers with their state and last 24 hours; beside them the cursor of each."""
    with here.database.reading() as session:
        return today.page(session, wanted, utc_now())


def standing_with_cursors(here: Instance, wanted: FleetQuery) -> tuple[FleetPage, Sequence[str]]:
    """List servers with their state alone, for who doesn't ask for more, and their cursors."""
    with here.database.reading() as session:
        page = find.page(session, wanted, utc_now())
        return page, page.cursors


@ROUTES(
    "POST",
    SERVERS,
    may=WRITE,
    takes=ServerWanted,
    gives=ServerStatus,
    status=HTTPStatus.CREATED,
    location=lambda shown: f"{SERVERS}/{shown.id}",
    errors=[TAKEN],
)
def add(here: Instance, wanted: ServerWanted) -> ServerStatus:
    """Add a server."""
    now = utc_now()

    def write(session: Session) -> ServerStatus:
        server_id = change.add(session, wanted, here.settings, now)
        return today.of_one(session, server_id, now)

    return here.database.write(write)


ROUTES(
    "POST",
    f"{SERVERS}/bulk",
    may=WRITE,
    by_steps=True,
    query=BulkQuery,
    reads=Bulk,
    accepts=(JSON, CSV),
    gives=(BulkDone, ListDone),
)(Later("handlers.http.bulk.put"))


@ROUTES("GET", SERVER, may=READ, gives=ServerStatus, errors=[UNKNOWN], fresh=True)
def show(here: Instance, server_id: int) -> ServerStatus:
    """Show a server with its state and last 24 hours."""
    with here.database.reading() as session:
        return today.of_one(session, server_id, utc_now())


def show_standing(here: Instance, server_id: int) -> Standing:
    """Show a server with its state alone. Raises IdUnknown."""
    with here.database.reading() as session:
        return find.standing(session, server_id, utc_now())


@ROUTES(
    "PATCH",
    SERVER,
    may=WRITE,
    takes=ServerChange,
    gives=ServerStatus,
    errors=[UNKNOWN, TAKEN],
)
def alter(here: Instance, wanted: ServerChange, server_id: int) -> ServerStatus:
    """Change a server: name, address, probe, port, interval, tags, parent, or pause it."""
    now = utc_now()

    def write(session: Session) -> ServerStatus:
        change.alter(session, server_id, wanted, here.settings, now)
        return today.of_one(session, server_id, now)

    return here.database.write(write)


@ROUTES("DELETE", SERVER, may=WRITE, gives=Removed, errors=[UNKNOWN])
def remove(here: Instance, server_id: int) -> Removed:
    """Delete a server and all its history."""
    children = here.database.write(lambda session: change.remove_id(session, server_id))
    return Removed(status="DELETED", children=children)


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
    costly=lambda wanted: wanted.limit > MANY_PINGS,
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
    costly=lambda wanted: wanted.points > MANY_POINTS,
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


def _is_long(wanted: SummaryQuery | SpellsQuery) -> bool:
    since, until = wanted.between(utc_now())
    return (until - since).days > MANY


@ROUTES(
    "GET",
    f"{SERVER}/summary",
    may=READ,
    query=SummaryQuery,
    gives=Summary,
    errors=[UNKNOWN],
    fresh=True,
    costly=_is_long,
)
def summary(here: Instance, wanted: SummaryQuery, server_id: int) -> Summary:
    """Sum up a window of a server's history: uptime, coverage, exact percentiles."""
    return _of(server_id, summaries(here, wanted, [server_id]))


def summaries(here: Instance, wanted: SummaryQuery, ids: Sequence[int]) -> dict[int, Summary]:
    """Add a window of each server's history up. Raises WrongRequest."""
    now = utc_now()
    window = wanted.between(now)
    with here.database.reading() as session:
        return figures.summaries(session, find.existing(session, ids), window, now)


@ROUTES(
    "GET",
    f"{SERVER}/spells",
    may=READ,
    query=SpellsQuery,
    gives=Spells,
    errors=[UNKNOWN],
    fresh=True,
    costly=_is_long,
)
def spells(here: Instance, wanted: SpellsQuery, server_id: int) -> Spells:
    """Tell from when to when a server was down, unobserved or paused, and why."""
    now = utc_now()
    window = wanted.between(now)
    with here.database.reading() as session:
        return core_spells.spells(session, server_id, window, wanted.limit, now)


def _of(server_id: int, found: Mapping[int, T]) -> T:
    if server_id not in found:
        raise IdUnknown(server_id)
    return found[server_id]


def _link(here: str, limit: int, **bound: datetime | None) -> str | None:
    """The page beside this one, relative, so that it survives proxies."""
    times = {name: iso(moment) for name, moment in bound.items() if moment is not None}
    return f"{here}?{urlencode(times | {'limit': limit})}" if times else None
