"""/api/v1: servers and their history, by id. Each view is one call of core."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode

from flask import Flask, request
from flask.typing import ResponseReturnValue

from core.errors import IdUnknown
from core.schema import iso
from handlers import routes, shapes
from handlers.health import Health
from handlers.routes import Later, Route
from handlers.server_calls import ServerCalls, ping_shown
from infra.database import Database

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
                Later("handlers.ping_now.view", database),
                reply=shapes.PingNow,
                errors=[UNKNOWN],
            ),
            Route(
                "GET",
                "/api/v1/export",
                Later("handlers.transfer.give", database),
                query=shapes.ExportQuery,
                reply=shapes.Exported,
                media=[routes.JSON, "text/csv"],
            ),
            Route(
                "POST",
                "/api/v1/import",
                Later("handlers.transfer.take", database),
                query=shapes.ImportQuery,
                body=shapes.Exported,
                reply=shapes.Imported,
                takes=[routes.JSON, "text/csv"],
            ),
            Route(
                "GET",
                "/api/v1/metrics",
                Later("handlers.metrics.show", database),
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
            Route("GET", "/api/v1/openapi.json", Later("handlers.openapi.document")),
            Route("GET", "/api/v1/docs", Later("handlers.openapi.page"), media=["text/html"]),
            Route("GET", "/api/v1/docs.css", Later("handlers.openapi.style"), media=["text/css"]),
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
