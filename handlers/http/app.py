"""The application: its views, its one gate, its one table of errors."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Flask, Request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from core.checks.records import PingNow
from core.errors import CoreError
from core.export import records
from core.history.records import WindowQuery
from core.incidents import maintenance_records as planned
from core.incidents.records import Backtest, BacktestWanted
from core.settings import Settings
from handlers.http import (
    assets,
    compression,
    contract,
    gate,
    health,
    incidents,
    pages,
    people,
    proxies,
    routes,
    rules,
    servers,
)
from handlers.http.browser import HEADERS
from handlers.http.errors import reply_with_error, reply_with_fault, reply_with_refusal
from handlers.http.gate import access_is_open
from handlers.http.routes import CSV, JSON, PUBLIC, READ, WRITE, Later, Route
from handlers.instance import Instance
from infra import patience

# What the command line, too, needs of this room.
__all__ = ["HEADERS", "MAX_BODY", "access_is_open", "create_app"]

MAX_BODY = 1_000_000  # bytes; more is 413 before it is read

METRICS = ("text/plain", "application/openmetrics-text")
MAINTENANCE = "/api/v1/maintenance"
ONE_MAINTENANCE = f"{MAINTENANCE}/<int:maintenance_id>"
LATER = (
    Route(
        method="POST",
        rule="/api/v1/servers/<int:server_id>/ping",
        view=Later("handlers.http.ping_now.ping_now"),
        may=WRITE,
        gives=PingNow,
        errors=[HTTPStatus.NOT_FOUND],
    ),
    Route(
        method="GET",
        rule="/api/v1/export",
        view=Later("handlers.http.export.give"),
        may=READ,
        by_steps=True,
        query=records.ExportQuery,
        gives=records.Exported,
        media=[JSON, CSV],
        costly=lambda _wanted: True,
    ),
    Route(
        method="POST",
        rule="/api/v1/import",
        view=Later("handlers.http.export.take"),
        may=WRITE,
        by_steps=True,
        query=records.ImportQuery,
        reads=records.Exported,
        gives=records.Imported,
        accepts=[JSON, CSV],
    ),
    Route(
        method="POST",
        rule="/api/v1/rules/test",
        view=Later("handlers.http.backtest.test"),
        may=READ,
        takes=BacktestWanted,
        gives=Backtest,
        costly=lambda _wanted: True,
    ),
    Route(
        method="GET",
        rule="/api/v1/servers/<int:server_id>/maintenance",
        view=Later("handlers.http.maintenance.held"),
        may=READ,
        query=WindowQuery,
        gives=planned.HeldRanges,
        errors=[HTTPStatus.NOT_FOUND],
        fresh=True,
    ),
    Route(
        method="GET",
        rule=MAINTENANCE,
        view=Later("handlers.http.maintenance.listed"),
        may=READ,
        query=planned.MaintenanceQuery,
        gives=planned.MaintenancePage,
        fresh=True,
    ),
    Route(
        method="POST",
        rule=MAINTENANCE,
        view=Later("handlers.http.maintenance.make"),
        may=WRITE,
        takes=planned.MaintenanceWanted,
        gives=planned.Maintenance,
        status=HTTPStatus.CREATED,
        location=lambda made: f"{MAINTENANCE}/{made.id}",
    ),
    Route(
        method="GET",
        rule=ONE_MAINTENANCE,
        view=Later("handlers.http.maintenance.show"),
        may=READ,
        gives=planned.Maintenance,
        errors=[HTTPStatus.NOT_FOUND],
        fresh=True,
    ),
    Route(
        method="PATCH",
        rule=ONE_MAINTENANCE,
        view=Later("handlers.http.maintenance.alter"),
        may=WRITE,
        takes=planned.MaintenanceChange,
        gives=planned.Maintenance,
        errors=[HTTPStatus.NOT_FOUND],
    ),
    Route(
        method="DELETE",
        rule=ONE_MAINTENANCE,
        view=Later("handlers.http.maintenance.remove"),
        may=WRITE,
        gives=routes.Done,
        errors=[HTTPStatus.NOT_FOUND],
    ),
    Route(
        method="GET",
        rule="/api/v1/metrics",
        view=Later("handlers.http.metrics.show"),
        may=READ,
        media=METRICS,
        costly=lambda: True,
    ),
    Route(
        method="GET",
        rule="/api/v1/openapi.json",
        view=Later("handlers.http.openapi.document"),
        may=PUBLIC,
    ),
    Route(
        method="GET",
        rule="/api/v1/docs",
        view=Later("handlers.http.openapi.page"),
        may=PUBLIC,
        media=["text/html"],
    ),
    Route(method="GET", rule="/graphql", view=Later("handlers.http.graphql.answer"), may=READ),
    Route(method="POST", rule="/graphql", view=Later("handlers.http.graphql.answer"), may=READ),
)
"""What is loaded at its first use: `GET /` needn't wait for the engine, GraphQL or their like."""


def _patiently(here: Instance, answer: Callable[..., Any]) -> Callable[..., Any]:
    """Let all that a request waits for have one bound: it is answered, whatever hangs."""

    def answer_in_time(*asked: Any) -> Any:
        with patience.of(patience.of_request(here.settings)):
            return answer(*asked)

    return answer_in_time


class BoundedRequest(Request):
    """A request whose body is at most MAX_BODY long, also when it came without a length.

    Werkzeug cuts a chunked body off at the limit without a word; what is left would be read as if
    it were all. So Werkzeug may take one octet more than we do.
    """

    def get_data(self, *args: Any, **kwargs: Any) -> Any:
        """Return the body. Raises RequestEntityTooLarge."""
        body = super().get_data(*args, **kwargs)
        if len(body) > MAX_BODY:
            raise RequestEntityTooLarge
        return body


class OrderedJson(DefaultJSONProvider):
    """JSON with its keys in the order the contract gives them."""

    sort_keys = False
    compact = True


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application. Opens no connection. Raises SettingsError, PlatformError."""
    here = Instance.of(settings or Settings.from_env())
    app = Flask(__name__, static_folder=None)
    app.json = OrderedJson(app)
    app.request_class = BoundedRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # or // would be redirected, in HTML
    app.extensions["pinglet"] = here
    app.jinja_env.globals["static"] = assets.address
    # Flask's own way to wrap an application.
    # Source: flask.palletsprojects.com/en/stable/quickstart/#hooking-in-wsgi-middleware
    trusting = proxies.behind(app.wsgi_app, here.settings.trusted_proxies)
    app.wsgi_app = _patiently(here, trusting)  # type: ignore[method-assign]
    gate.guard(app, here)
    for part in (contract, people, servers, incidents, rules, health, assets, pages):
        routes.register(app, here, part.ROUTES.table)
    routes.register(app, here, LATER)
    compression.register(app)
    app.register_error_handler(CoreError, reply_with_error)
    app.register_error_handler(HTTPException, reply_with_refusal)
    app.register_error_handler(Exception, reply_with_fault)
    return app
