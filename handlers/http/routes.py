"""Routes: who may call each, what it takes and gives, and its view, in one place.

The gate, openapi.json and the tests read the same table. A route that doesn't say who may call it
can't be written.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from flask import Flask, Response, g, request
from flask.typing import ResponseReturnValue
from werkzeug.utils import import_string

from core.accounts.records import Level
from core.errors import WrongRequest
from core.reading import Record, Request, read_json
from core.refusals import refusal
from handlers.http import browser
from handlers.instance import Instance
from infra import patience

PUBLIC, READ, WRITE, ADMIN = Level.NOTHING, Level.READ, Level.WRITE, Level.ADMIN

View = Callable[..., Any]
Decorated = TypeVar("Decorated", bound=View)
Shape = TypeVar("Shape", bound=msgspec.Struct)
Wanted = TypeVar("Wanted", bound=Request)
JSON = "application/json"
CSV = "text/csv"
GRAPHQL_JSON = "application/graphql-response+json"
FRESH = "private, no-cache"
"""A browser may keep it, but asks each time whether it still holds (with its ETag)."""
TABLE = "pinglet-routes"


class Done(Record, frozen=True):
    """A word for what was done."""

    status: str


class Later:
    """A view in a module that is imported at its first call: `GET /` needn't wait for it.

    Source: flask.palletsprojects.com/en/stable/patterns/lazyloading
    """

    def __init__(self, place: str) -> None:
        """`place` is `module.function`."""
        self.place = place

    @cached_property
    def view(self) -> View:
        """The function itself."""
        found: View = import_string(self.place)
        return found

    def __call__(self, *given: Any, **words: Any) -> Any:
        """Call it."""
        view: View = self.view
        return view(*given, **words)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """One method of one rule.

    The view is called with the Instance, then with the query and the body where their shapes are
    given (None for an optional body that is empty), and with the rule's variables by name. What it
    returns is encoded as JSON, unless it is a Response already or the route `gives` nothing.

    `may` is the least that the caller must be allowed; `status` is that of success, `errors` are
    those that this route alone can answer with. `reads` is the shape of a body that the view reads
    by itself. `media` are the types of a reply, `accepts` those of a body; all three only describe.
    A route `by_steps` does much: each of its waits has a bound, their sum has none.
    `location` returns the address of what was made. `fresh` replies
    carry an ETag and are left out (304) where the client has them already. `costly` says, of the
    query where there is one, whether an answer takes a turn of its caller's (handlers/turns.py).
    The first line of the view's docstring says what the route is for.
    """

    method: str
    rule: str
    view: View
    may: Level
    query: type[msgspec.Struct] | None = None
    takes: type[Request] | None = None
    reads: type[msgspec.Struct] | None = None
    body_required: bool = True
    gives: type[msgspec.Struct] | Sequence[type[msgspec.Struct]] = ()
    status: HTTPStatus = HTTPStatus.OK
    errors: Sequence[HTTPStatus] = ()
    media: Sequence[str] = (JSON,)
    accepts: Sequence[str] = (JSON,)
    location: Callable[[Any], str] | None = None
    by_steps: bool = False
    fresh: bool = False
    costly: Callable[..., bool] | None = None

    @property
    def body(self) -> type[msgspec.Struct] | None:
        """The shape of its body, whoever reads it."""
        return self.takes or self.reads

    @property
    def endpoint(self) -> str:
        """Its name in Flask."""
        return f"{self.method} {self.rule}"


class Routes:
    """The routes of one module."""

    def __init__(self) -> None:
        self.table: list[Route] = []

    def __call__(
        self, method: str, rule: str, *, may: Level, **more: Any
    ) -> Callable[[Decorated], Decorated]:
        """Serve `method rule` by the decorated view; `more` is what Route says of it."""

        def add(view: Decorated) -> Decorated:
            self.table.append(Route(method=method, rule=rule, view=view, may=may, **more))
            return view

        return add


def register(app: Flask, here: Instance, table: Sequence[Route]) -> None:
    """Serve these routes, and remember them for the gate and for openapi.json."""
    for route in table:
        app.add_url_rule(
            route.rule,
            route.endpoint,
            _served(here, route),
            methods=[route.method],
            strict_slashes=route.rule != "/",  # or an empty path would be redirected, in HTML
        )
        routes_of(app)[route.endpoint] = route


def routes_of(app: Flask) -> dict[str, Route]:
    """Return an application's routes by endpoint."""
    table: dict[str, Route] = app.extensions.setdefault(TABLE, {})
    return table


def _served(here: Instance, route: Route) -> Callable[..., ResponseReturnValue]:
    def serve(**words: Any) -> ResponseReturnValue:
        given: list[Any] = [query(route.query)] if route.query else []
        if route.takes:
            given.append(_body(route.takes, route.body_required))
        bound = patience.of(patience.of_steps(here.settings)) if route.by_steps else nullcontext()
        with bound, _turn(here, route, given):
            answer: Any = route.view(here, *given, **words)
            is_told = isinstance(answer, Response) or not route.gives
            return answer if is_told else _told(route, answer)

    return serve


def _turn(here: Instance, route: Route, given: Sequence[Any]) -> AbstractContextManager[None]:
    is_costly = route.costly is not None and route.costly(*given)
    return here.turns.taken(g.identity.name) if is_costly else nullcontext()


def _body(shape: type[Wanted], required: bool) -> Wanted | None:
    body = request.get_data()
    return shape.of(read_json(body)) if body or required else None


def _told(route: Route, answer: object) -> Response:
    response = reply(answer, route.status)
    if route.location:
        response.headers["Location"] = browser.address(route.location(answer))
    return fresh(response) if route.fresh else response


def query(shape: type[Shape]) -> Shape:
    """Read this request's query. Raises WrongRequest with the field."""
    words = once_each(query_words())
    try:
        return msgspec.convert(words, shape, strict=False)
    except msgspec.ValidationError as error:
        raise refusal(error, shape, words) from None


def query_words() -> dict[str, list[str]]:
    """Return this request's query, strictly decoded. Raises WrongRequest.

    `request.args` keeps octets that aren't UTF-8 as they were escaped: %FF would be text.
    """
    try:
        return parse_qs(request.query_string.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise WrongRequest("the query must be UTF-8, percent-encoded") from None


def once_each(words: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return a query whose every word stands in it once. Raises WrongRequest with the word."""
    for name, values in words.items():
        if len(values) != 1:
            raise WrongRequest("a parameter appears twice in the query", name, got=name)
    return {name: values[0] for name, values in words.items()}


def graphql_media() -> str:
    """Return the type that a reply of /graphql has, its errors included.

    It is application/json unless the newer one is asked for by its name, and no less wanted: older
    clients know no other. Source: graphql.github.io/graphql-over-http, "Media Types".
    """
    wanted: dict[str, float] = {}
    for kind, quality in request.accept_mimetypes:
        # Without what follows, such as a charset, with which Werkzeug's own matching finds nothing.
        name = kind.partition(";")[0].strip().lower()
        wanted[name] = max(quality, wanted.get(name, 0.0))
    older = next((wanted[one] for one in (JSON, "application/*", "*/*") if one in wanted), 0.0)
    newer = wanted.get(GRAPHQL_JSON, 0.0)
    return GRAPHQL_JSON if newer > 0 and newer >= older else JSON


def reply(body: object, code: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return `body`, records and all, as JSON."""
    return Response(msgspec.json.encode(body), code, mimetype=JSON)


def fresh(response: Response) -> Response:
    """Return a reply that is left out (304) where the client has it already.

    The ETag is weak: the same body may leave compressed or not.
    """
    response.headers["Cache-Control"] = FRESH
    response.add_etag(weak=True)
    response.make_conditional(request)
    return response
