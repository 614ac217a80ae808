"""Events of API Gateway, load balancers and function URLs, made requests of the application.

serverless-wsgi does the translation. It trusts its events, though, and loses cookies; so an event
is read strictly first, and what it doesn't know is never handed on.
Sources, at docs.aws.amazon.com: apigateway/latest/developerguide,
http-api-develop-integrations-lambda (payloads 1.0 and 2.0);
elasticloadbalancing/latest/application/lambda-functions.
"""

import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import serverless_wsgi
from flask import Flask

from core.errors import WrongRequest
from handlers.http import browser

log = logging.getLogger("pinglet.gateway")

Event = dict[str, Any]
Reply = dict[str, Any]

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# What must not be sent as base64 besides text/*: our error and GraphQL media types.
for media_type in ("application/problem+json", "application/graphql-response+json"):
    if media_type not in serverless_wsgi.TEXT_MIME_TYPES:
        serverless_wsgi.TEXT_MIME_TYPES.append(media_type)


def answer(application: Callable[[], Flask], event: object, context: object) -> Reply:
    """Answer one event with what the application says to it.

    An event that is no request, or is none that can be understood, gets 400 in the contract's
    words. An application that can't be built gets 503; the log says why.
    """
    try:
        request = read(event)
    except WrongRequest as error:
        log.warning("an event is refused: %s", error)
        return _refusal(400, "WRONG_REQUEST")
    try:
        reply: Reply = serverless_wsgi.handle_request(application(), request, context)
    except Exception:  # pylint: disable=broad-exception-caught
        # The application answers its own faults: this one is before or after it.
        log.exception("an event can't be answered")
        return _refusal(503, "SERVICE_UNAVAILABLE")
    return _with_all_headers(reply) if request.get("version") == "2.0" else reply


def _refusal(code: int, status: str) -> Reply:
    return {
        "statusCode": code,
        "headers": {"Content-Type": "application/json"} | browser.HEADERS | browser.ON_HTTPS,
        "body": f'{{"status":"{status}"}}',
        "isBase64Encoded": False,
    }


def _with_all_headers(reply: Reply) -> Reply:
    """Give a header that was set several times its place in payload 2.0.

    serverless-wsgi writes it in several mixtures of upper and lower case, of which one would
    survive. Cookies have a list of their own, all others are one header with commas between.
    """
    by_name: dict[str, list[str]] = {}
    for name, value in reply["headers"].items():
        by_name.setdefault(name.lower(), []).append(value)
    cookies = by_name.pop("set-cookie", [])
    joined = {name: ", ".join(values) for name, values in by_name.items()}
    return reply | {"headers": joined} | ({"cookies": cookies} if cookies else {})


def read(event: object) -> Event:
    """Return the parts of `event` that make a request, checked. Raises WrongRequest."""
    given = _mapping(event, "an event")
    if given.get("version") == "2.0":
        return _read_payload_2(given)
    return _read_payload_1(given)


def _read_payload_2(event: Mapping[str, Any]) -> Event:
    http = _mapping(_mapping(event.get("requestContext"), "requestContext").get("http"), "http")
    headers = _headers(event.get("headers"))
    cookies = _list(event.get("cookies"))
    # A Cookie header without the list: serverless-wsgi would put the empty list in its place.
    if not cookies and "cookie" in headers:
        cookies = [headers["cookie"]]
    return {
        "version": "2.0",
        "rawPath": _path(event.get("rawPath")),
        "rawQueryString": _text(event.get("rawQueryString") or ""),
        "headers": headers,
        "cookies": cookies,
        "requestContext": {
            "http": {
                "method": _method(http.get("method")),
                "sourceIp": _text(http.get("sourceIp") or ""),
            }
        },
        **_body(event),
    }


def _read_payload_1(event: Mapping[str, Any]) -> Event:
    """Payload 1.0, and the load balancer's, which has `elb` in its context."""
    context = _mapping(event.get("requestContext") or {}, "requestContext")
    identity = _mapping(context.get("identity") or {}, "identity")
    request: Event = {
        "httpMethod": _method(event.get("httpMethod")),
        "path": _path(event.get("path")),
        "headers": _headers(event.get("headers")),
        "requestContext": {"identity": {"sourceIp": _text(identity.get("sourceIp") or "")}},
        "queryStringParameters": _texts(event.get("queryStringParameters")),
        "multiValueQueryStringParameters": _lists(event.get("multiValueQueryStringParameters")),
        "multiValueHeaders": _lists(event.get("multiValueHeaders")),
        **_body(event),
    }
    for name in request["multiValueHeaders"]:
        _header_name(name)
    if context.get("elb"):
        request["requestContext"]["elb"] = {"targetGroupArn": ""}
    return request


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise WrongRequest(f"{what} is an object")
    return value


def _text(value: object) -> str:
    """Text that may stand in a request's head: encodable, without control characters."""
    if not isinstance(value, str) or CONTROL.search(value) or not _can_be_encoded(value):
        raise WrongRequest("expected text without control characters and lone surrogates")
    return value


def _can_be_encoded(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _list(value: object) -> list[str]:
    if not isinstance(value or [], list):
        raise WrongRequest("expected a list of texts")
    return [_text(item) for item in value or []]  # type: ignore[attr-defined]


def _texts(value: object) -> dict[str, str]:
    pairs = _mapping(value or {}, "expected pairs of texts: this").items()
    return {_text(name): _text(text) for name, text in pairs}


def _lists(value: object) -> dict[str, list[str]]:
    pairs = _mapping(value or {}, "expected lists of texts: this").items()
    return {_text(name): _list(texts) for name, texts in pairs}


def _headers(value: object) -> dict[str, str]:
    return {_header_name(name): text for name, text in _texts(value).items()}


def _header_name(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        raise WrongRequest("a header's name is a token")
    return name.lower()


def _method(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z]{1,20}", _text(value)):
        raise WrongRequest("a method is a word")
    return _text(value).upper()


def _path(value: object) -> str:
    path = _text(value)
    if not path.startswith("/"):
        raise WrongRequest("a path begins with /")
    return path


def _body(event: Mapping[str, Any]) -> Event:
    """The body as serverless-wsgi takes it, known to be decodable."""
    body, encoded = event.get("body") or "", event.get("isBase64Encoded") or False
    if not isinstance(body, str) or not isinstance(encoded, bool) or not _can_be_encoded(body):
        raise WrongRequest("a body is text")
    try:
        if encoded:
            base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise WrongRequest("the body is not base64") from None
    return {"body": body, "isBase64Encoded": encoded}
