"""From where a request comes: which hosts are ours, which pages may change something."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import request

from core.errors import Forbidden, HostUnknown
from core.settings import Settings
from handlers.http.proxies import DEFAULT_PORTS, PORT_AT_END, is_trusted

SAFE = ("GET", "HEAD", "OPTIONS")
HEALTH = "/api/v1/health"
ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>\d+))?")

FROM_PROXIES = ("Forwarded", "Via", "X-Forwarded", "X-Real-Ip", "X-Client-Ip", "Cf-", "True-Client")
"""How headers begin by which proxies say that somebody else asks."""


def refuse_strangers(settings: Settings) -> None:
    """Let no web page of another origin change anything, and answer to no unknown Host.

    A page next door can make a browser send requests here; a name that somebody points at this
    machine's address (DNS rebinding) makes them look like ours. Non-browsers send neither Origin
    nor Sec-Fetch-Site. Source: OWASP CSRF Prevention Cheat Sheet; W3C Fetch Metadata.
    """
    if request.path == HEALTH and request.method in SAFE:
        return  # load balancers ask by address, by a name of their own, or by none
    if not _is_known(_hostname(request.host), settings):
        raise HostUnknown(request.host)
    if request.method in SAFE:
        return
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Forbidden("a page of another origin can't change anything")
    origin = request.headers.get("Origin")
    if origin is not None and not _is_ours(origin, settings):
        raise Forbidden(
            f"a page of {origin!r} can't change anything: add its host to PINGLET_HOSTS if it is "
            "yours, behind a proxy"
        )


def _is_ours(origin: str, settings: Settings) -> bool:
    """Whether a page of this origin is one of our own, whatever a proxy made of the Host."""
    asked, host = _asked(origin), _hostname(request.host)
    if asked is None:
        return False  # "null", and what no browser sends
    scheme, name, port = asked
    if scheme == "http" and request.is_secure and not _stays_here(name):
        return False  # whoever is on the way can have written it
    if (name, port) == (host, _port(request.host, scheme)):
        return True
    # The proxy put another Host in its place; the settings say by which name we are known.
    if _is_local_name(host) and _netloc(name, port, scheme) in settings.hosts:
        return True
    # Or it left the port out. That it is the same origin is then the browser's own word, which no
    # page can change. But a page whose name is pointed here (DNS rebinding) is of one origin, too:
    # it has nobody's credentials, and where none are asked for its name must be known.
    if request.headers.get("Sec-Fetch-Site") != "same-origin":
        return f"{name}:{port}" in settings.hosts
    return settings.authentication or _is_known(name, settings)


def _asked(origin: str) -> tuple[str, str, str] | None:
    found = ORIGIN.fullmatch(origin.lower())
    if found is None:
        return None
    scheme, name = found["scheme"], found["name"]
    return scheme, name.strip("[]"), found["port"] or DEFAULT_PORTS[scheme]


def _port(host: str, scheme: str) -> str:
    found = PORT_AT_END.search(host)
    return found[0][1:] if found else DEFAULT_PORTS[scheme]


def _netloc(name: str, port: str, scheme: str) -> str:
    return name if port == DEFAULT_PORTS[scheme] else f"{name}:{port}"


def _hostname(host: str) -> str:
    # urlsplit knows brackets and ports; a Host that it can't read is nobody's.
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_known(hostname: str, settings: Settings) -> bool:
    if "*" in settings.hosts or hostname in (PORT_AT_END.sub("", host) for host in settings.hosts):
        return True
    return _is_local_name(hostname)


def _is_local_name(hostname: str) -> bool:
    # A bare address can't be pointed elsewhere, so it can't be a rebinding.
    return hostname == "localhost" or _is_address(hostname)


def _is_address(hostname: str) -> bool:
    try:
        ip_address(hostname)
    except ValueError:
        return False
    return True


def _stays_here(hostname: str) -> bool:
    """Whether what is sent there never leaves this machine. Source: RFC 6761, section 6.3."""
    if hostname == "localhost" or hostname.endswith(".localhost"):
        return True
    return _is_address(hostname) and ip_address(hostname).is_loopback


def is_local_request(settings: Settings) -> bool:
    """Whether this request comes from this machine to this machine, not through a proxy.

    A proxy on this machine that isn't trusted, says nothing and asks by a name of this machine is
    told by pages alone: their browser says where they are from.
    """
    caller = request.remote_addr or ""
    if any(name.startswith(FROM_PROXIES) for name, _ in request.headers):
        return False
    if is_trusted(caller, settings.trusted_proxies) or _is_of_page_elsewhere():
        return False
    return _stays_here(caller) and _stays_here(_hostname(request.host))


def _is_of_page_elsewhere() -> bool:
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    asked = _asked(origin)
    return asked is None or not _stays_here(asked[1])
