"""Browsers and programs ask at the same addresses: which is it, and where to send a browser.

And what every reply tells browsers, whoever gives it.
"""

from http import HTTPStatus
from urllib.parse import urlencode

from flask import Response, request
from flask.typing import ResponseReturnValue

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every reply; pages loosen what they must. Source: OWASP HTTP Headers Cheat Sheet."""

ON_HTTPS = {"Strict-Transport-Security": "max-age=31536000"}


def wants_page() -> bool:
    """Whether a browser asks for something to look at, not a program for data."""
    if request.method not in ("GET", "HEAD"):
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def to_login() -> ResponseReturnValue:
    """Send a browser that isn't logged in to the form, and back afterwards."""
    # With what a filtered list has in its address: somebody may have been sent there.
    wanted = request.full_path if request.query_string else request.path
    return look_at(f"/login?{urlencode({'next': wanted})}")


def look_at(address: str) -> Response:
    """Send a browser elsewhere; Flask's own redirect would say so in HTML."""
    return Response(status=HTTPStatus.FOUND, headers={"Location": address})
