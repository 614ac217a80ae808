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
        log.warning("refused an event: %s", error.logged)
        return _refusal(400, "WRONG_REQUEST")
    try:
        reply: Reply = serverless_wsgi.handle_request(application(), request, context)
    except Exception:  # pylint: disable=broad-exception-caught
        # The application answers its own faults: this one is before or after it.
        log.exception("can't answer an event")
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
    given = _mapping(event, "the event")
    if given.get("version") == "2.0":
        return _read_payload_2(given)
    return _read_payload_1(given)


def _read_payload_2(event: Mapping[str, Any]) -> Event:
    http = _mapping(_mapping(event.get("requestContext"), "requestContext").get("http"), "http")
    headers = _headers(event)
    cookies = _list(event.get("cookies"), "cookies")
    # A Cookie header without the list: serverless-wsgi would put the empty list in its place.
    if not cookies and "cookie" in headers:
        cookies = [headers["cookie"]]
    return {
        "version": "2.0",
        "rawPath": _path(event.get("rawPath")),
        "rawQueryString": _text(event.get("rawQueryString") or "", "rawQueryString"),
        "headers": headers,
        "cookies": cookies,
        "requestContext": {
            "http": {
                "method": _method(http.get("method")),
                "sourceIp": _text(http.get("sourceIp") or "", "sourceIp"),
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
        "headers": _headers(event),
        "requestContext": {
            "identity": {"sourceIp": _text(identity.get("sourceIp") or "", "sourceIp")}
        },
        "queryStringParameters": _texts(event, "queryStringParameters"),
        "multiValueQueryStringParameters": _lists(event, "multiValueQueryStringParameters"),
        "multiValueHeaders": _lists(event, "multiValueHeaders"),
        **_body(event),
    }
    for name in request["multiValueHeaders"]:
        _header_name(name)
    if context.get("elb"):
        request["requestContext"]["elb"] = {"targetGroupArn": ""}
    return request


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise WrongRequest(f"{what} must be an object")
    return value


def _text(value: object, what: str) -> str:
    """Text that may stand in a request's head: encodable, without control characters."""
    if not isinstance(value, str) or CONTROL.search(value) or not _can_be_encoded(value):
        # Without the value, here and below: it may be somebody's token.
        raise WrongRequest(f"{what} must be text without control characters or lone surrogates")
    return value


def _can_be_encoded(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _list(value: object, what: str) -> list[str]:
    items = value or []
    if not isinstance(items, list):
        raise WrongRequest(f"{what} must be a list of strings")
    return [_text(item, what) for item in items]


def _texts(event: Mapping[str, Any], what: str) -> dict[str, str]:
    pairs = _mapping(event.get(what) or {}, what).items()
    return {_text(name, what): _text(text, what) for name, text in pairs}


def _lists(event: Mapping[str, Any], what: str) -> dict[str, list[str]]:
    pairs = _mapping(event.get(what) or {}, what).items()
    return {_text(name, what): _list(texts, what) for name, texts in pairs}


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    return {_header_name(name): text for name, text in _texts(event, "headers").items()}


def _header_name(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        raise WrongRequest("a header's name must be letters, digits and -, without blanks")
    return name.lower()


def _method(value: object) -> str:
    method = _text(value, "the method")
    if not re.fullmatch(r"[A-Za-z]{1,20}", method):
        raise WrongRequest("the method must be 1 to 20 letters", got=method)
    return method.upper()


def _path(value: object) -> str:
    path = _text(value, "the path")
    if not path.startswith("/"):
        raise WrongRequest("the path must begin with /", got=path)
    return path


def _body(event: Mapping[str, Any]) -> Event:
    """The body as serverless-wsgi takes it, known to be decodable."""
    body, encoded = event.get("body") or "", event.get("isBase64Encoded") or False
    if not isinstance(body, str) or not isinstance(encoded, bool) or not _can_be_encoded(body):
        raise WrongRequest("the body must be text")
    try:
        if encoded:
            base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise WrongRequest("the body must be base64") from None
    return {"body": body, "isBase64Encoded": encoded}
