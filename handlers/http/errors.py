"""The one table of errors: what core refuses, as replies."""

import logging
from http import HTTPStatus

from flask import Response, request
from flask.typing import ResponseReturnValue
from msgspec import UNSET, UnsetType, json
from werkzeug.exceptions import HTTPException

from core.errors import (
    Busy,
    CoreError,
    CutOff,
    Forbidden,
    HostUnknown,
    IncidentOver,
    IncidentUnknown,
    MaintenanceUnknown,
    NameTaken,
    NameUnknown,
    RuleTaken,
    RuleUnknown,
    TokenRejected,
    TokenUnknown,
    TooManyAttempts,
    Unavailable,
    UserTaken,
    UserUnknown,
    WrongRequest,
)
from core.reading import Record
from handlers.http import browser, notice, routes

log = logging.getLogger("pinglet.api")


class Problem(Record, frozen=True):
    """What went wrong (RFC 9457): `code` for programs, `detail` for people, `field` where."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | UnsetType = UNSET


HTTP_CODES: dict[type[CoreError], HTTPStatus] = {
    WrongRequest: HTTPStatus.BAD_REQUEST,
    TokenRejected: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NameUnknown: HTTPStatus.NOT_FOUND,
    UserUnknown: HTTPStatus.NOT_FOUND,
    TokenUnknown: HTTPStatus.NOT_FOUND,
    IncidentUnknown: HTTPStatus.NOT_FOUND,
    MaintenanceUnknown: HTTPStatus.NOT_FOUND,
    RuleUnknown: HTTPStatus.NOT_FOUND,
    NameTaken: HTTPStatus.CONFLICT,
    RuleTaken: HTTPStatus.CONFLICT,
    IncidentOver: HTTPStatus.CONFLICT,
    UserTaken: HTTPStatus.CONFLICT,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

HTTP_WORDS = {400: "WRONG_REQUEST", 413: "REQUEST_TOO_LARGE"}
"""Words for what Flask refuses by itself; every other code's is its standard phrase."""


SENTENCES = {
    400: "the request can't be understood",
    404: "there is nothing at this address",
    405: "this address doesn't take that method: see the header Allow",
    413: "the body must be at most 1 MB long: send it in parts",
}
"""What Flask refuses by itself, in our words; what a view says of its own stays."""
OUR_FAULT = "Pinglet failed; its log says why"


def reply_with_error(error: CoreError) -> ResponseReturnValue:
    """Answer with the error's word; the sentence for people goes to the log and /api/v1."""
    kind = next(kind for kind in type(error).__mro__ if kind in HTTP_CODES)
    code = HTTP_CODES[kind]
    ours = isinstance(error, Unavailable) and not isinstance(error, Busy)
    level = logging.ERROR if ours else logging.INFO
    log.log(level, "%r: %d %s: %s", _asked(), code, error.status, _logged(error))
    if isinstance(error, TokenRejected) and browser.wants_page():
        return browser.to_login()
    if isinstance(error, HostUnknown) and notice.is_wanted():
        return notice.page(notice.unknown_host(error.host), code)
    headers = {}
    if isinstance(error, Unavailable | TooManyAttempts):
        headers["Retry-After"] = str(error.retry_after_s)
    # What is wrong with our database is nobody's business outside.
    told = "try again later" if ours and not isinstance(error, CutOff) else str(error)
    return _reply(code, error.status, told, headers, getattr(error, "field", None))


def reply_with_refusal(error: HTTPException) -> ResponseReturnValue:
    """Answer what Flask itself refused: no such route, method, size."""
    code = HTTPStatus(error.code or 500)
    word = HTTP_WORDS.get(code, code.phrase.upper().replace(" ", "_").replace("-", "_"))
    kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    told = error.description
    if told is None or told == type(error).description:
        told = SENTENCES.get(code, code.phrase)
    return _reply(code, word, told, kept)


def reply_with_fault(error: Exception) -> ResponseReturnValue:
    """Answer 503 for a defect of ours; the traceback goes to the log, never to the caller."""
    log.error("%r failed", _asked(), exc_info=error)
    return _reply(HTTPStatus.SERVICE_UNAVAILABLE, Unavailable.status, OUR_FAULT, {})


def _logged(error: CoreError) -> str:
    """What is wrong, without what was sent; a GraphQL document's sentences quote it."""
    in_document = request.path == "/graphql" and isinstance(error, WrongRequest)
    return "..." if in_document else error.logged


def _asked() -> str:
    """What was asked for; a log shows it by repr(): both parts may hold control characters."""
    return f"{request.method} {request.path}"


def _reply(
    code: HTTPStatus, word: str, told: str, headers: dict[str, str], field: str | None = None
) -> ResponseReturnValue:
    """The contract's shape; under /api/ a problem as RFC 9457 has it, at /graphql what it has.

    A browser that asks for something to look at gets a page.
    """
    if notice.is_wanted():
        response = notice.page(notice.refused(code, told), code)
        response.headers.update(headers)
        return response
    if request.path == "/graphql":
        extensions = {"code": word} | ({"field": field} if field else {})
        body = {"errors": [{"message": told, "extensions": extensions}]}
        return body, code, headers | {"Content-Type": routes.graphql_media()}
    if not request.path.startswith("/api/"):
        return {"status": word}, code, headers
    problem = Problem(
        type="about:blank",
        title=code.phrase,
        status=int(code),
        code=word,
        detail=told,
        field=field or UNSET,
    )
    return Response(
        json.encode(problem) + b"\n", code, headers, content_type="application/problem+json"
    )
