"""openapi.json, made of the table of routes and the shapes, and a page to read it.

Loaded at first use. Source: spec.openapis.org/oas/v3.1.0
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import msgspec
from flask import Response, current_app, render_template, request
from flask.typing import ResponseReturnValue

from core.servers.records import BulkServer
from handlers.http import browser, routes
from handlers.http.errors import Problem
from handlers.http.health import Health
from handlers.http.routes import Later, Route
from handlers.instance import Instance

REF = "#/components/schemas/{name}"
PROBLEM = {"application/problem+json": {"schema": {"$ref": REF.format(name="Problem")}}}
PARAMETER = re.compile(r"<(?:(?P<kind>[a-z]+):)?(?P<name>[a-z_]+)>")
KINDS: dict[str | None, dict[str, Any]] = {
    "int": {"type": "integer", "minimum": 0},
    None: {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
}
Shapes = Sequence[type[msgspec.Struct]]
TOLD = {
    HTTPStatus.BAD_REQUEST: "What was sent can't be understood or isn't allowed",
    HTTPStatus.UNAUTHORIZED: "No token or password, or one that isn't valid",
    HTTPStatus.FORBIDDEN: "You may not do this, or not from there",
    HTTPStatus.NOT_FOUND: "Nothing has that id",
    HTTPStatus.CONFLICT: "That name is taken",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is longer than 1 MB: send it in parts",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many attempts: wait",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database can't be reached, or is too busy",
}
NAMES = {
    "Bucket": "BucketShown",
    "Counts": "CountsShown",
    "PingRecord": "PingShown",
    "ServerStatus": "ServerShown",
    "Summary": "SummaryShown",
    "TokenKind": "Kind",
}
"""What a component is called here where its class has another name."""
TOLD_AS = NAMES | {REF.format(name=ours): REF.format(name=told) for ours, told in NAMES.items()}
PAGE_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"


def document(here: Instance) -> ResponseReturnValue:
    """Describe this interface, as OpenAPI 3.1."""
    response = routes.reply(_as_found(here))
    return routes.fresh(response)


def page(here: Instance) -> ResponseReturnValue:
    """Show this description as a page."""
    spec = _as_found(here)
    text = render_template("docs.html", spec=spec, operations=list(operations(spec)))
    response = Response(text, mimetype="text/html")
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return routes.fresh(response)


def _as_found(here: Instance) -> dict[str, Any]:
    """The document as it is read here: under which prefix, and what the cookie is called."""
    spec = described(described_routes())
    session = SECURITY["session"] | {"name": browser.session_cookie(here.settings)}
    components = spec["components"] | {"securitySchemes": SECURITY | {"session": session}}
    servers = {"servers": [{"url": request.script_root}]} if request.script_root else {}
    return spec | servers | {"components": components}


def described_routes() -> tuple[Route, ...]:
    """Return the routes that are described: those of /api/v1."""
    table = routes.routes_of(current_app).values()
    return tuple(route for route in table if route.rule.startswith("/api/"))


@lru_cache(maxsize=1)
def described(table: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        path = PARAMETER.sub(r"{\g<name>}", route.rule)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    told = {
        "openapi": "3.1.0",
        "info": {
            "title": "Pinglet",
            "version": _version(),
            "description": "Servers, their state and their history. Times are UTC, in ISO 8601; "
            "response times are milliseconds.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(table), "securitySchemes": SECURITY},
    }
    return cast(dict[str, Any], _renamed(told))


SECURITY = {
    "token": {"type": "http", "scheme": "bearer"},
    "password": {"type": "http", "scheme": "basic"},
    "session": {"type": "apiKey", "in": "cookie"},
}


def _version() -> str:
    try:
        return version("pinglet")
    except PackageNotFoundError:  # run from a checkout that wasn't installed
        return "0"


def _operation(route: Route) -> dict[str, Any]:
    open_to_all = route.may is routes.PUBLIC
    described_as: dict[str, Any] = {
        "summary": _first_line(route),
        "operationId": _operation_id(route),
        "tags": [route.rule.split("/")[3].partition(".")[0]],
        "parameters": [*_path_parameters(route.rule), *_query_parameters(route)],
        "responses": _responses(route, open_to_all),
        "security": [] if open_to_all else [{scheme: []} for scheme in SECURITY],
    }
    if not open_to_all:
        described_as["description"] = f"Needs {route.may.name.lower()} access."
    if route.body is not None:
        described_as["requestBody"] = {
            "required": route.body_required,
            "content": {kind: _media(kind, [route.body]) for kind in route.accepts},
        }
    return described_as


def _first_line(route: Route) -> str:
    view = route.view.view if isinstance(route.view, Later) else route.view
    return (view.__doc__ or "").strip().splitlines()[0]


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z_]+", PARAMETER.sub("", route.rule.removeprefix("/api/v1/")))
    one = ["one"] if route.rule.endswith(">") else []
    return "_".join([route.method.lower(), *words, *one])


def _path_parameters(rule: str) -> list[dict[str, Any]]:
    return [
        {"name": found["name"], "in": "path", "required": True, "schema": KINDS[found["kind"]]}
        for found in PARAMETER.finditer(rule)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    _, schemas = msgspec.json.schema_components([route.query], ref_template=REF)
    properties = schemas[route.query.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _responses(route: Route, open_to_all: bool) -> dict[str, Any]:
    good: dict[str, Any] = {"description": _first_line(route)}
    good["content"] = {kind: _media(kind, _replies(route)) for kind in route.media}
    responses = {str(int(route.status)): good}
    if route.location:
        good["headers"] = {"Location": {"schema": {"type": "string"}}}
    for code in sorted({*_refusals(route, open_to_all), *route.errors}):
        responses[str(int(code))] = {"description": TOLD[code], "content": PROBLEM}
    if route.gives is Health:
        responses["503"]["content"] = good["content"]
    return responses


def _refusals(route: Route, open_to_all: bool) -> Iterable[HTTPStatus]:
    yield from (HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE)
    if route.body is not None or route.query is not None:
        yield HTTPStatus.BAD_REQUEST
    if route.body is not None:
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if not open_to_all:
        yield from (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)


def _replies(route: Route) -> Shapes:
    return route.gives if isinstance(route.gives, Sequence) else [route.gives]


def _media(kind: str, replies: Shapes) -> dict[str, Any]:
    if kind != routes.JSON:
        return {"schema": {"type": "string"}}
    known = [{"$ref": REF.format(name=shape.__name__)} for shape in replies]
    return {"schema": known[0] if len(known) == 1 else {"anyOf": known or [{"type": "object"}]}}


def _schemas(table: Sequence[Route]) -> dict[str, Any]:
    used: set[type[msgspec.Struct]] = {Problem, BulkServer}
    for route in table:
        used |= {*_replies(route), *([route.body] if route.body else [])}
    queries = {route.query for route in table if route.query}
    in_order = sorted(used | queries, key=lambda shape: NAMES.get(shape.__name__, shape.__name__))
    _, schemas = msgspec.json.schema_components(in_order, ref_template=REF)
    # A query's keys are parameters; of its shape only the words they refer to are left.
    parameters = {shape.__name__ for shape in queries}
    return {name: schema for name, schema in schemas.items() if name not in parameters}


def _renamed(part: Any) -> Any:
    """The same with each class's name, as key, title or reference, as it is written here."""
    if isinstance(part, dict):
        return {NAMES.get(key, key): _renamed(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_renamed(value) for value in part]
    return TOLD_AS.get(part, part) if isinstance(part, str) else part


def operations(spec: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Yield each operation with its method and path."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation
