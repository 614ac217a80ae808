"""The table of /api/v1's routes: it registers them, and openapi.json is made of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.utils import import_string

from core.errors import WrongRequest
from handlers.http import shapes

View = Callable[..., ResponseReturnValue]
Shape = TypeVar("Shape", bound=msgspec.Struct)
JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
FRESH = "private, no-cache"
"""A browser may keep it, but asks each time whether it still holds (with its ETag)."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One method of one rule: what calls it, what it takes and what it answers.

    The first line of the view's docstring says what it is for. `reply` are the shapes it can have,
    `media` are the types a reply can
    have, `takes` those of the body; `errors` the codes that this route alone can answer with.
    """

    method: str
    rule: str
    view: View
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    reply: type[msgspec.Struct] | Sequence[type[msgspec.Struct]] = ()
    code: HTTPStatus = HTTPStatus.OK
    media: Sequence[str] = (JSON,)
    takes: Sequence[str] = (JSON,)
    errors: Sequence[HTTPStatus] = ()
    needs_body: bool = True


class Later:
    """A view in a module that is imported at its first call: `GET /` needn't wait for it.

    Source: flask.palletsprojects.com/en/stable/patterns/lazyloading
    """

    def __init__(self, place: str, *given: Any) -> None:
        """`place` is `module.function`; the function gets `given` before what the rule holds."""
        self.place = place
        self.given = given

    @cached_property
    def view(self) -> View:
        """The function itself."""
        found: View = import_string(self.place)
        return found

    def __call__(self, **words: Any) -> ResponseReturnValue:
        """Call it."""
        view: View = self.view
        return view(*self.given, **words)


def register(app: Flask, routes: Sequence[Route]) -> None:
    """Serve these routes, and remember them for openapi.json."""
    for route in routes:
        endpoint = f"{route.method} {route.rule}"
        app.add_url_rule(route.rule, endpoint, route.view, methods=[route.method])
    app.extensions.setdefault("pinglet-routes", []).extend(routes)


def query(shape: type[Shape]) -> Shape:
    """Read this request's query. Raises WrongRequest with the field."""
    words = once_each(query_words())
    try:
        return msgspec.convert(words, shape, strict=False)
    except msgspec.ValidationError as error:
        raise shapes.refusal(error) from None


def query_words() -> dict[str, list[str]]:
    """Return this request's query, strictly decoded. Raises WrongRequest.

    `request.args` keeps octets that aren't UTF-8 as they were escaped: %FF would be text.
    """
    try:
        return parse_qs(request.query_string.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise WrongRequest("the query is not UTF-8, percent-encoded") from None


def once_each(words: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return a query whose every word stands in it once. Raises WrongRequest with the word."""
    for name, values in words.items():
        if len(values) != 1:
            raise WrongRequest("a parameter stands twice in the query", name)
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
    """Return `body`, shapes and all, as JSON."""
    return Response(msgspec.json.encode(body), code, mimetype=JSON)


def fresh(response: Response) -> Response:
    """Return a reply that is left out (304) where the client has it already.

    The ETag is weak: the same body may leave compressed or not.
    """
    response.headers["Cache-Control"] = FRESH
    response.add_etag(weak=True)
    response.make_conditional(request)
    return response
