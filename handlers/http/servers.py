"""/api/v1/servers: servers and their history. REST and GraphQL make the same calls."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from flask import Flask, request
from flask.typing import ResponseReturnValue

from core import models
from core.clock import utc_now
from core.errors import IdUnknown, WrongRequest
from core.history import figures, slices, today
from core.history.records import Bucket, Counts, Figures, ServerStatus
from core.history.slices import Kept
from core.reading import iso, moment
from core.servers import find
from core.servers.change import add, alter, put, remove_id
from core.servers.records import Changes, FleetRequest, Outcome
from core.slots import SLOT, current_slot, slot_time
from handlers.http import routes, shapes
from handlers.http.health import Health
from handlers.http.routes import Later, Route
from infra.database import Database

DAY = timedelta(days=1)
UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
Shape = TypeVar("Shape", bound=msgspec.Struct)


class ServerCalls:
    """The calls."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # Servers

    def find(self, wanted: shapes.FleetQuery) -> tuple[shapes.ServerPage, Sequence[str]]:
        """List servers with their state and last 24 hours; beside them the cursor of each."""
        now = utc_now()
        with self.database.reading() as session:
            page = find.page(session, _fleet_request(wanted), now)
            statuses = today.fleet(session, now, page.ids)
        by_id = {status.server_id: _server(status) for status in statuses}
        # One that was removed between the two is left out.
        cursors = dict(zip(page.ids, page.cursors, strict=True))
        listed = [server_id for server_id in page.ids if server_id in by_id]
        shown = shapes.ServerPage(
            servers=[by_id[server_id] for server_id in listed],
            totals=dict(page.totals),
            last_round=page.last_round,
            next=page.after,
        )
        return shown, [cursors[server_id] for server_id in listed]

    def add(self, wanted: shapes.ServerWanted) -> shapes.ServerShown:
        """Add a server. Raises WrongRequest, NameTaken."""
        said = shapes.changes(wanted)
        now = utc_now()
        with self.database.transaction() as session:
            server = add(session, said, self.database.settings, now)
            return _one(today.fleet(session, now, [server.id]), server.id)

    def put(self, bulk: shapes.Bulk) -> shapes.BulkDone:
        """Add many servers at once, or add and change them by name, with a result for each."""
        read = [_read(one) for one in bulk.servers]
        wanted = [one for one in read if not isinstance(one, Outcome)]
        with self.database.transaction() as session:
            done = iter(put(session, wanted, self.database.settings, utc_now(), upsert=bulk.upsert))
        outcomes = [one if isinstance(one, Outcome) else next(done) for one in read]
        return shapes.BulkDone(results=[_item(outcome) for outcome in outcomes])

    def show(self, server_id: int) -> shapes.ServerShown:
        """Show a server with its state and last 24 hours. Raises IdUnknown."""
        found = self.listed([server_id])
        if not found:
            raise IdUnknown(server_id)
        return found[0]

    def listed(self, ids: Sequence[int]) -> list[shapes.ServerShown]:
        """Show those of these servers that are there."""
        possible = [server_id for server_id in ids if server_id <= models.LARGEST_ID]
        with self.database.reading() as session:
            return [_server(one) for one in today.fleet(session, utc_now(), possible)]

    def change(self, server_id: int, change: shapes.ServerChange) -> shapes.ServerShown:
        """Change a server: name, address, probe, port, interval, or pause it.

        Raises IdUnknown, NameTaken, WrongRequest.
        """
        said = shapes.changes(change)
        now = utc_now()
        with self.database.transaction() as session:
            alter(session, server_id, said, self.database.settings, now)
            session.flush()
            return _one(today.fleet(session, now, [server_id]), server_id)

    def remove(self, server_id: int) -> shapes.Done:
        """Delete a server and all its history. Raises IdUnknown."""
        with self.database.transaction() as session:
            remove_id(session, server_id)
        return shapes.Done(status="DELETED")

    # History: of many servers in as few statements as of one. A server that is gone is left out.

    def pings(self, ids: Sequence[int], wanted: shapes.PingsQuery) -> dict[int, slices.Page]:
        """Return a page of each server's pings. Raises WrongRequest."""
        window = _moment(wanted, "since"), _moment(wanted, "until")
        with self.database.reading() as session:
            return slices.pages(session, find.existing(session, ids), window, wanted.limit)

    def series(self, ids: Sequence[int], wanted: shapes.SeriesQuery) -> dict[int, shapes.Series]:
        """Reduce a window of each server's history to the points of a chart.

        Raises WrongRequest.
        """
        now = utc_now()
        window = _window(wanted, DAY, now)
        with self.database.reading() as session:
            there = find.existing(session, ids)
            found = figures.all_series(session, there, window, wanted.points, now)
        return {server_id: _series(buckets) for server_id, buckets in found.items()}

    def summaries(
        self, ids: Sequence[int], wanted: shapes.SummaryQuery
    ) -> dict[int, shapes.SummaryShown]:
        """Add a window of each server's history up: uptime, coverage, exact percentiles.

        Raises WrongRequest.
        """
        now = utc_now()
        window = _window(wanted, length(wanted.window), now)
        with self.database.reading() as session:
            found = figures.summaries(session, find.existing(session, ids), window, now)
        return {one: _figures(shapes.SummaryShown, figures) for one, figures in found.items()}


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
        return shapes.changes(shapes.convert(shapes.BulkServer, one))
    except WrongRequest as error:
        return Outcome(error.status, detail=str(error), field=error.field)


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


def _item(outcome: Outcome) -> shapes.BulkItem:
    return shapes.BulkItem(
        status=outcome.status,
        id=outcome.server_id,
        detail=outcome.detail,
        field=outcome.field,
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


def _figures(shape: type[Shape], figures: Figures) -> Shape:
    named = {name: getattr(figures, name) for name in shape.__struct_fields__}
    return shape(**named | {"counts": _counts(figures.counts)})


def _series(buckets: Sequence[Bucket]) -> shapes.Series:
    return shapes.Series(
        since=buckets[0].since,
        until=buckets[-1].until,
        buckets=[_figures(shapes.BucketShown, bucket) for bucket in buckets],
    )


T = TypeVar("T")
SERVERS = "/api/v1/servers"
SERVER = f"{SERVERS}/<int:server_id>"
UNKNOWN, TAKEN = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT


def register(app: Flask, database: Database) -> None:
    """Serve the servers' part of /api/v1."""
    rest, health = Rest(ServerCalls(database)), Health(database)
    query, shown = shapes.FleetQuery, shapes.ServerShown
    routes.register(
        app,
        [
            Route("GET", SERVERS, rest.find, query=query, reply=shapes.ServerPage),
            Route(
                "POST",
                SERVERS,
                rest.add,
                body=shapes.ServerWanted,
                reply=shown,
                code=HTTPStatus.CREATED,
                errors=[TAKEN],
            ),
            Route("POST", f"{SERVERS}/bulk", rest.put, body=shapes.Bulk, reply=shapes.BulkDone),
            Route("GET", SERVER, rest.show, reply=shown, errors=[UNKNOWN]),
            Route(
                "PATCH",
                SERVER,
                rest.change,
                body=shapes.ServerChange,
                reply=shown,
                errors=[UNKNOWN, TAKEN],
            ),
            Route("DELETE", SERVER, rest.remove, reply=shapes.Done, errors=[UNKNOWN]),
            Route(
                "GET",
                f"{SERVER}/pings",
                rest.pings,
                query=shapes.PingsQuery,
                reply=shapes.PingPage,
                errors=[UNKNOWN],
            ),
            Route(
                "GET",
                f"{SERVER}/series",
                rest.series,
                query=shapes.SeriesQuery,
                reply=shapes.Series,
                errors=[UNKNOWN],
            ),
            Route(
                "GET",
                f"{SERVER}/summary",
                rest.summary,
                query=shapes.SummaryQuery,
                reply=shapes.SummaryShown,
                errors=[UNKNOWN],
            ),
            Route(
                "POST",
                f"{SERVER}/ping",
                Later("handlers.http.ping_now.view", database),
                reply=shapes.PingNow,
                errors=[UNKNOWN],
            ),
            Route(
                "GET",
                "/api/v1/export",
                Later("handlers.http.export.give", database),
                query=shapes.ExportQuery,
                reply=shapes.Exported,
                media=[routes.JSON, "text/csv"],
            ),
            Route(
                "POST",
                "/api/v1/import",
                Later("handlers.http.export.take", database),
                query=shapes.ImportQuery,
                body=shapes.Exported,
                reply=shapes.Imported,
                takes=[routes.JSON, "text/csv"],
            ),
            Route(
                "GET",
                "/api/v1/metrics",
                Later("handlers.http.metrics.show", database),
                media=["text/plain", "application/openmetrics-text"],
            ),
            Route(
                "GET",
                "/api/v1/health",
                health.show,
                query=shapes.HealthQuery,
                reply=shapes.Health,
                errors=[HTTPStatus.SERVICE_UNAVAILABLE],
            ),
            Route("GET", "/api/v1/openapi.json", Later("handlers.http.openapi.document")),
            Route("GET", "/api/v1/docs", Later("handlers.http.openapi.page"), media=["text/html"]),
            Route(
                "GET", "/api/v1/docs.css", Later("handlers.http.openapi.style"), media=["text/css"]
            ),
        ],
    )


class Rest:
    """The views."""

    def __init__(self, calls: ServerCalls) -> None:
        self.calls = calls

    # Servers

    def find(self) -> ResponseReturnValue:
        """List servers with their state and last 24 hours."""
        shown, _cursors = self.calls.find(routes.query(shapes.FleetQuery))
        return routes.fresh(routes.reply(shown))

    def add(self) -> ResponseReturnValue:
        """Add a server."""
        shown = self.calls.add(shapes.parse(shapes.ServerWanted, request.get_data()))
        response = routes.reply(shown, HTTPStatus.CREATED)
        response.headers["Location"] = f"{SERVERS}/{shown.id}"
        return response

    def put(self) -> ResponseReturnValue:
        """Add many servers at once, or add and change them by name, with a result for each."""
        return routes.reply(self.calls.put(shapes.parse(shapes.Bulk, request.get_data())))

    def show(self, server_id: int) -> ResponseReturnValue:
        """Show a server with its state and last 24 hours."""
        return routes.fresh(routes.reply(self.calls.show(server_id)))

    def change(self, server_id: int) -> ResponseReturnValue:
        """Change a server: name, address, probe, port, interval, or pause it."""
        wanted = shapes.parse(shapes.ServerChange, request.get_data())
        return routes.reply(self.calls.change(server_id, wanted))

    def remove(self, server_id: int) -> ResponseReturnValue:
        """Delete a server and all its history."""
        return routes.reply(self.calls.remove(server_id))

    # History

    def pings(self, server_id: int) -> ResponseReturnValue:
        """Page through a server's pings."""
        wanted = routes.query(shapes.PingsQuery)
        page = _of(server_id, self.calls.pings([server_id], wanted))
        here = f"{SERVERS}/{server_id}/pings"
        shown = shapes.PingPage(
            pings=[ping_shown(ping) for ping in page.pings],
            prev=_link(here, wanted.limit, until=page.before),
            next=_link(here, wanted.limit, since=page.after),
        )
        return routes.fresh(routes.reply(shown))

    def series(self, server_id: int) -> ResponseReturnValue:
        """Reduce a window of a server's history to the points of a chart."""
        found = self.calls.series([server_id], routes.query(shapes.SeriesQuery))
        return routes.fresh(routes.reply(_of(server_id, found)))

    def summary(self, server_id: int) -> ResponseReturnValue:
        """Add a window of a server's history up: uptime, coverage, exact percentiles."""
        found = self.calls.summaries([server_id], routes.query(shapes.SummaryQuery))
        return routes.fresh(routes.reply(_of(server_id, found)))


def _of(server_id: int, found: Mapping[int, T]) -> T:
    if server_id not in found:
        raise IdUnknown(server_id)
    return found[server_id]


def _link(here: str, limit: int, **bound: datetime | None) -> str | None:
    """The page beside this one, relative, so that it survives proxies."""
    times = {name: iso(moment) for name, moment in bound.items() if moment is not None}
    return f"{here}?{urlencode(times | {'limit': limit})}" if times else None
