"""Browsers and programs ask at the same addresses: which is it, and where to send a browser.

And what every reply tells browsers, whoever gives it.
"""

import re
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from flask import Response, request
from flask.typing import ResponseReturnValue

from core.errors import SettingsError
from core.settings import Settings
from infra import libpq
from infra.postgres import database_url

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every reply; pages loosen what they must. Source: OWASP HTTP Headers Cheat Sheet."""

ON_HTTPS = {"Strict-Transport-Security": "max-age=31536000"}

SESSION_COOKIE = "pinglet_session"
"""How the cookies of sessions begin, and all of it until 0.1."""

SAYS_WHERE = ("host", "search_path")
"""Words after the ? of a URL that tell databases apart, besides those that stand before it."""


@lru_cache(maxsize=64)
def session_cookie(settings: Settings) -> str:
    """Return the name of this instance's cookie.

    Cookies know no ports, and a path is no border to them: two instances on one host would
    overwrite each other's. What tells them apart is where their databases are.
    """
    where = f"{_place(settings.database_url)} {settings.database_secret}"
    return f"{SESSION_COOKIE}_{sha256(where.encode()).hexdigest()[:8]}"


def _place(text_url: str) -> str:
    """Where a database is, without its password: anybody could try passwords on a cookie's name."""
    try:
        url = database_url(text_url)
        if url.get_backend_name() == "sqlite":
            return str(Path(url.database or "").resolve())
        said = libpq.words(url)
        url = libpq.with_places(url, said)
    except SettingsError:
        return ""  # the secret says where: without one nothing would have started
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host or ""
    port = f":{url.port}" if url.port else ""
    name = f"/{url.database}" if url.database else ""
    told = libpq.options(said.get("options", "")) | said
    return " ".join([host + port + name, *(told[word] for word in SAYS_WHERE if word in told)])


BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
"""What browsers say of themselves, and what people call it; most also name those further down."""
PROGRAM = re.compile(r"[A-Za-z][\w.+-]{0,39}(?=/|$)")


def device() -> str:
    """Return what this request's browser is called, such as `Firefox on Linux`; "" if unknown."""
    agent = request.headers.get("User-Agent", "")
    name = next((name for word, name in BROWSERS if word in agent), None)
    system = next((name for word, name in SYSTEMS if word in agent), None)
    if name is None:
        found = PROGRAM.match(agent)
        return found[0] if found and found[0] != "Mozilla" else ""
    return f"{name} on {system}" if system else name


def wants_page() -> bool:
    """Whether a browser asks for something to look at, not a program for data."""
    if request.method not in ("GET", "HEAD"):
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def to_login() -> ResponseReturnValue:
    """Send a browser that isn't logged in to the form, and back afterwards."""
    # With what a filtered list has in its address: somebody may have been sent there.
    wanted = request.full_path if request.query_string else request.path
    return look_at(address(f"/login?{urlencode({'next': address(wanted)})}"))


def address(path: str) -> str:
    """Return where a browser finds what is at `path` here: under a prefix, it begins with that."""
    return request.script_root + path


def look_at(where: str) -> Response:
    """Send a browser elsewhere; Flask's own redirect would say so in HTML."""
    return Response(status=HTTPStatus.FOUND, headers={"Location": where})
