"""What API Gateway and load balancers make of a request."""

import json
from typing import Any

from handlers.functions import api
from handlers.http import browser
from tests.cloud import Context

HOST = "abc123.execute-api.eu-central-1.amazonaws.com"
TOKEN = "pinglet_" + "of-the-tests-" * 3 + "of-A"
HEADERS = {
    "host": HOST,
    "content-type": "application/json",
    "authorization": f"Bearer {TOKEN}",
}


WEB = {"server": {"name": "web", "IP": "192.0.2.1"}}


def payload_2(method: str = "GET", body: object = None, **more: Any) -> dict[str, Any]:
    """What an HTTP API, or a function URL, makes of a request."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {**HEADERS, "x-forwarded-port": "443"},
        "requestContext": {
            "accountId": "1",
            "domainName": HOST,
            "stage": "$default",
            "http": {"method": method, "path": "/", "sourceIp": "203.0.113.7"},
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
        **more,
    }


def payload_1(method: str = "GET", body: object = None, **more: Any) -> dict[str, Any]:
    """What a REST API makes of a request."""
    return {
        "version": "1.0",
        "resource": "/{proxy+}",
        "path": "/",
        "httpMethod": method,
        "headers": dict(HEADERS),
        "multiValueHeaders": {name: [value] for name, value in HEADERS.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"stage": "prod", "identity": {"sourceIp": "203.0.113.7"}},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
        **more,
    }


def balancer(method: str = "GET", body: object = None, **more: Any) -> dict[str, Any]:
    """What an application load balancer makes of a request."""
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        "httpMethod": method,
        "path": "/",
        "queryStringParameters": {},
        "headers": dict(HEADERS),
        "body": "" if body is None else json.dumps(body),
        "isBase64Encoded": False,
        **more,
    }


KINDS = [payload_2, payload_1, balancer]


def answer(event: object) -> tuple[int, Any]:
    """Return the code and the JSON of the answer; it says what every reply says to browsers."""
    reply = api.handler(event, Context())
    several = {name: values[0] for name, values in reply.get("multiValueHeaders", {}).items()}
    said = {name.lower(): value for name, value in (reply.get("headers") or several).items()}
    for name, value in browser.HEADERS.items():
        assert said[name.lower()] == value
    return reply["statusCode"], json.loads(reply["body"])


def is_a_clean_answer(reply: dict[str, Any], method: str = "") -> None:
    assert reply["statusCode"] in {200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 421}
    json.dumps(reply)
    # Hypothesis reads our source: it asks for /login, too, and gets that page; or as a browser
    # does, and is told by a page what is wrong.
    is_page = "text/html" in content_type(reply) or (
        reply["statusCode"] == 200 and "text/" in content_type(reply)
    )
    if method != "HEAD" and reply.get("body") and not is_page:
        json.loads(reply["body"])


def content_type(reply: dict[str, Any]) -> str:
    headers = reply.get("multiValueHeaders") or reply["headers"]
    return str({name.lower(): value for name, value in headers.items()}.get("content-type"))
