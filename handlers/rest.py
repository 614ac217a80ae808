"""/api/v1: servers and their history, by id. Each view is one call of core."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Flask, request
from flask.typing import ResponseReturnValue

from core import fleet, pings, servers
from core.clock import utc_now
from core.days import Kept
from core.errors import IdUnknown, WrongRequest
from core.schema import (
    SLOT,
    Changes,
    Counts,
    Figures,
    FleetRequest,
    Outcome,
    ServerStatus,
    iso,
    moment,
)
from core.slots import current_slot, slot_time
from handlers import routes, shapes
from handlers.health import Health
from handlers.routes import Later, Route
from infra.database import Database

DAY = timedelta(days=1)
UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
SERVERS = "/api/v1/servers"
SERVER = f"{SERVERS}/<int:server_id>"
UNKNOWN, TAKEN = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT


def register(app: Flask, database: Database) -> None:
    """Serve the servers' part of /api/v1."""
    rest, health = Rest(database), Health(database)
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
                Later("handlers.ping_now.ping_now", database),
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

    def __init__(self, database: Database) -> None:
        self.database = database

    # Servers

    def find(self) -> ResponseReturnValue:
        """List servers with their state and last 24 hours."""
        wanted = routes.query(shapes.FleetQuery)
        now = utc_now()
        with self.database.reading() as session:
            page = fleet.page(session, _fleet_request(wanted), now)
            statuses = pings.fleet(session, now, page.ids)
        by_id = {status.server_id: _server(status) for status in statuses}
        shown = shapes.ServerPage(
            servers=[by_id[server_id] for server_id in page.ids if server_id in by_id],
            totals=dict(page.totals),
            last_round=page.last_round,
            next=page.after,
        )
        return routes.fresh(routes.reply(shown))

    def add(self) -> ResponseReturnValue:
        """Add a server."""
        wanted = shapes.changes(shapes.parse(shapes.ServerWanted, request.get_data()))
        now = utc_now()
        with self.database.transaction() as session:
            server = servers.add(session, wanted, self.database.settings, now)
            shown = _one(pings.fleet(session, now, [server.id]), server.id)
        response = routes.reply(shown, HTTPStatus.CREATED)
        response.headers["Location"] = f"{SERVERS}/{shown.id}"
        return response

    def put(self) -> ResponseReturnValue:
        """Add many servers at once, or add and change them by name, with a result for each."""
        bulk = shapes.parse(shapes.Bulk, request.get_data())
        read = [_read(one) for one in bulk.servers]
        wanted = [one for one in read if not isinstance(one, Outcome)]
        with self.database.transaction() as session:
            done = iter(
                fleet.put(session, wanted, self.database.settings, utc_now(), upsert=bulk.upsert)
            )
        outcomes = [one if isinstance(one, Outcome) else next(done) for one in read]
        return routes.reply(shapes.BulkDone(results=[_item(outcome) for outcome in outcomes]))

    def show(self, server_id: int) -> ResponseReturnValue:
        """Show a server with its state and last 24 hours."""
        _refuse_huge(server_id)
        with self.database.reading() as session:
            shown = _one(pings.fleet(session, utc_now(), [server_id]), server_id)
        return routes.fresh(routes.reply(shown))

    def change(self, server_id: int) -> ResponseReturnValue:
        """Change a server: name, address, probe, port, interval, or pause it."""
        wanted = shapes.changes(shapes.parse(shapes.ServerChange, request.get_data()))
        now = utc_now()
        with self.database.transaction() as session:
            servers.alter(session, server_id, wanted, self.database.settings, now)
            session.flush()
            shown = _one(pings.fleet(session, now, [server_id]), server_id)
        return routes.reply(shown)

    def remove(self, server_id: int) -> ResponseReturnValue:
        """Delete a server and all its history."""
        with self.database.transaction() as session:
            servers.remove_id(session, server_id)
        return routes.reply(shapes.Done(status="DELETED"))

    # History

    def pings(self, server_id: int) -> ResponseReturnValue:
        """Page through a server's pings."""
        wanted = routes.query(shapes.PingsQuery)
        since, until = _moment(wanted, "since"), _moment(wanted, "until")
        with self.database.reading() as session:
            server = servers.find_id(session, server_id)
            page = pings.page(session, server, since, until, wanted.limit)
        here = f"{SERVERS}/{server_id}/pings"
        shown = shapes.PingPage(
            pings=[_ping(ping) for ping in page.pings],
            prev=_link(here, wanted.limit, until=page.before),
            next=_link(here, wanted.limit, since=page.after),
        )
        return routes.fresh(routes.reply(shown))

    def series(self, server_id: int) -> ResponseReturnValue:
        """Reduce a window of a server's history to the points of a chart."""
        wanted = routes.query(shapes.SeriesQuery)
        now = utc_now()
        since, until = _window(wanted, DAY, now)
        with self.database.reading() as session:
            server = servers.find_id(session, server_id)
            buckets = pings.series(session, server, since, until, wanted.points, now)
        shown = shapes.Series(
            since=buckets[0].since,
            until=buckets[-1].until,
            buckets=[_figures(shapes.BucketShown, bucket) for bucket in buckets],
        )
        return routes.fresh(routes.reply(shown))

    def summary(self, server_id: int) -> ResponseReturnValue:
        """Add a window of a server's history up: uptime, coverage, exact percentiles."""
        wanted = routes.query(shapes.SummaryQuery)
        now = utc_now()
        since, until = _window(wanted, _length(wanted.window), now)
        with self.database.reading() as session:
            server = servers.find_id(session, server_id)
            found = pings.summary(session, server, since, until, now)
        return routes.fresh(routes.reply(_figures(shapes.SummaryShown, found)))


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


def _refuse_huge(server_id: int) -> None:
    if server_id > servers.LARGEST_ID:
        raise IdUnknown(server_id)


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


def _window(wanted: Any, length: timedelta, now: datetime) -> tuple[datetime, datetime]:
    """The window wanted, else the last `length`, which ends with the slot we are in."""
    until = _moment(wanted, "until") or slot_time(current_slot(now)) + SLOT
    since = _moment(wanted, "since") or until - min(length, until - EARLIEST)
    return since, until


def _length(window: str) -> timedelta:
    # A timedelta has an end of its own; core says what is too long.
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


def _ping(ping: Kept) -> shapes.PingShown:
    return shapes.PingShown(
        slot=slot_time(ping.slot),
        state=ping.state,
        response_ms=ping.response_ms,
        best_ms=ping.best_ms,
        worst_ms=ping.worst_ms,
        sent=ping.sent,
        received=ping.received,
    )


def _figures(shape: type[routes.Shape], figures: Figures) -> routes.Shape:
    named = {name: getattr(figures, name) for name in shape.__struct_fields__}
    return shape(**named | {"counts": _counts(figures.counts)})


def _link(here: str, limit: int, **bound: datetime | None) -> str | None:
    """The page beside this one, relative, so that it survives proxies."""
    times = {name: iso(moment) for name, moment in bound.items() if moment is not None}
    return f"{here}?{urlencode(times | {'limit': limit})}" if times else None
