"""The application: its views, its one table of errors, and the entry for API Gateway."""

import logging
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Flask, Request, request
from flask.json.provider import DefaultJSONProvider
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from core.errors import (
    CoreError,
    Forbidden,
    NameTaken,
    NameUnknown,
    TokenRejected,
    TokenUnknown,
    TooManyAttempts,
    Unavailable,
    UserTaken,
    UserUnknown,
    WrongRequest,
)
from core.settings import Settings
from handlers import (
    auth,
    browser,
    compression,
    contract,
    dashboard,
    gateway,
    people,
    rest,
    routes,
)
from infra import logs
from infra.database import Database

log = logging.getLogger("pinglet.api")

MAX_BODY = 1_000_000  # bytes; more is 413 before it is read

HTTP_CODES: dict[type[CoreError], HTTPStatus] = {
    WrongRequest: HTTPStatus.BAD_REQUEST,
    TokenRejected: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NameUnknown: HTTPStatus.NOT_FOUND,
    UserUnknown: HTTPStatus.NOT_FOUND,
    TokenUnknown: HTTPStatus.NOT_FOUND,
    NameTaken: HTTPStatus.CONFLICT,
    UserTaken: HTTPStatus.CONFLICT,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

HTTP_WORDS = {400: "WRONG_REQUEST", 413: "REQUEST_TOO_LARGE"}
"""Words for what Flask refuses by itself; every other code's is its standard phrase."""


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
    """Build the application. Opens no connection. Raises SettingsError."""
    settings = settings or Settings.from_env()
    database = Database(settings)
    app = Flask(__name__, static_folder=None)
    app.json = OrderedJson(app)
    app.request_class = BoundedRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # or // would be redirected, in HTML
    app.extensions["pinglet"] = database
    auth.guard(app, database)
    contract.register(app, database)
    people.register(app, database)
    dashboard.register(app)
    rest.register(app, database)
    graphql = routes.Later("handlers.graphql.answer", database)
    app.add_url_rule("/graphql", "graphql", graphql, methods=["GET", "POST"])
    compression.register(app)
    app.register_error_handler(CoreError, reply_with_error)
    app.register_error_handler(HTTPException, reply_with_refusal)
    app.register_error_handler(Exception, reply_with_fault)
    return app


def reply_with_error(error: CoreError) -> ResponseReturnValue:
    """Answer with the error's word; the sentence for people goes to the log and /api/v1."""
    kind = next(kind for kind in type(error).__mro__ if kind in HTTP_CODES)
    code = HTTP_CODES[kind]
    level = logging.ERROR if isinstance(error, Unavailable) else logging.INFO
    # What GraphQL says of a wrong value repeats it, and it may be a password.
    told = "..." if request.path == "/graphql" and isinstance(error, WrongRequest) else str(error)
    log.log(level, "%r: %d %s: %s", _asked(), code, error.status, told)
    if isinstance(error, TokenRejected) and browser.wants_page():
        return browser.to_login()
    headers = {}
    if isinstance(error, Unavailable | TooManyAttempts):
        headers["Retry-After"] = str(error.retry_after_s)
    # What is wrong with our database is nobody's business outside.
    told = "try again later" if isinstance(error, Unavailable) else str(error)
    return _reply(code, error.status, told, headers, getattr(error, "field", None))


def reply_with_refusal(error: HTTPException) -> ResponseReturnValue:
    """Answer what Flask itself refused: no such route, method, size."""
    code = HTTPStatus(error.code or 500)
    word = HTTP_WORDS.get(code, code.phrase.upper().replace(" ", "_").replace("-", "_"))
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return _reply(code, word, error.description or code.phrase, kept)


def reply_with_fault(error: Exception) -> ResponseReturnValue:
    """Answer 503 for a defect of ours; the traceback goes to the log, never to the caller."""
    log.error("%r failed", _asked(), exc_info=error)
    return _reply(HTTPStatus.SERVICE_UNAVAILABLE, Unavailable.status, "this is our fault", {})


def _asked() -> str:
    """What was asked for; a log shows it by repr(): both parts may hold control characters."""
    return f"{request.method} {request.path}"


def _reply(
    code: HTTPStatus, word: str, told: str, headers: dict[str, str], field: str | None = None
) -> ResponseReturnValue:
    """The contract's shape; under /api/ a problem as RFC 9457 has it, at /graphql what it has."""
    if request.path == "/graphql":
        extensions = {"code": word} | ({"field": field} if field else {})
        body = {"errors": [{"message": told, "extensions": extensions}]}
        return body, code, headers | {"Content-Type": routes.graphql_media()}
    if not request.path.startswith("/api/"):
        return {"status": word}, code, headers
    problem = {"type": "about:blank", "title": code.phrase, "status": int(code), "code": word}
    problem |= {"detail": told} | ({"field": field} if field else {})
    return problem, code, headers | {"Content-Type": "application/problem+json"}


warm_app = cache(create_app)  # the first event builds it, the warm container keeps it


def handler(event: object, context: object) -> dict[str, Any]:
    """Answer one event of API Gateway, a load balancer or a function URL."""
    logs.configure(context)
    return gateway.answer(warm_app, event, context)
