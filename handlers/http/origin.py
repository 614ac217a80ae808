"""From where a request comes: which hosts are ours, which pages may change something."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import request

from core.errors import Forbidden
from core.settings import Settings

SAFE = ("GET", "HEAD", "OPTIONS")

FROM_PROXIES = ("Forwarded", "Via", "X-Forwarded", "X-Real-Ip", "X-Client-Ip", "Cf-", "True-Client")
"""How headers begin by which proxies say that somebody else asks."""


def refuse_strangers(settings: Settings) -> None:
    """Let no web page of another origin change anything, and answer to no unknown Host.

    A page next door can make a browser send requests here; a name that somebody points at this
    machine's address (DNS rebinding) makes them look like ours. Non-browsers send neither Origin
    nor Sec-Fetch-Site. Source: OWASP CSRF Prevention Cheat Sheet; W3C Fetch Metadata.
    """
    if not _is_known(_hostname(request.host), settings):
        raise Forbidden(
            f"the host {request.host!r} isn't known here: add it to PINGLET_HOSTS if it is yours"
        )
    if request.method in SAFE:
        return
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Forbidden("a page of another origin can't change anything")
    origin = request.headers.get("Origin")
    if origin is not None and _netloc(origin) != request.host.lower():
        raise Forbidden(f"a page of {origin!r} can't change anything")


def _hostname(host: str) -> str:
    # urlsplit knows brackets and ports; a Host that it can't read is nobody's.
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    # "null" has none, and what urlsplit can't read is not ours either.
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_known(hostname: str, settings: Settings) -> bool:
    if hostname == "localhost" or hostname in settings.hosts or "*" in settings.hosts:
        return True
    # A bare address can't be pointed elsewhere, so it can't be a rebinding.
    return _is_address(hostname)


def _is_address(hostname: str) -> bool:
    try:
        ip_address(hostname)
    except ValueError:
        return False
    return True


def is_local_request() -> bool:
    """Whether this request comes from this machine to this machine, not through a proxy."""
    if any(name.startswith(FROM_PROXIES) for name, _ in request.headers):
        return False
    return all(
        name == "localhost" or (_is_address(name) and ip_address(name).is_loopback)
        for name in (request.remote_addr or "", _hostname(request.host))
    )
