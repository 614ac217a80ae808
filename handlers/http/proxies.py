"""Who asks, and by which address, where a proxy stands between.

Once, before the application sees the request: whatever asks for the caller's address, the scheme,
the host or the prefix gets the truth from the WSGI environment (PEP 3333).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from core.settings import UNIX_SOCKET, Proxy

Address = IPv4Address | IPv6Address

PREFIX = re.compile(r"(/(?!\.\.?(/|$))[\w.~-]+)+", re.ASCII)
"""One slash between parts: what begins with two would be another host. No part leads upwards."""
WITH_PORT = re.compile(r"\[(?P<v6>[^]]+)\](:\d+)?|(?P<v4>[\d.]+):\d+")
PORT_AT_END = re.compile(r":\d+$")
DEFAULT_PORTS = {"http": "80", "https": "443"}


def behind(
    application: WSGIApplication, trusted: Sequence[Proxy]
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Return `application` as it is asked through proxies, of whom only `trusted` are believed."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        believe(environ, trusted)
        return application(environ, start_response)

    return serve


def believe(environ: WSGIEnvironment, trusted: Sequence[Proxy]) -> None:
    """Put what trusted proxies say of the client in place of what the connection says of them.

    The client is the nearest hop that isn't trusted. Of a header to which each proxy adds its word
    the one counts that the outermost trusted proxy wrote. What anybody else says changes nothing.
    """
    if not PREFIX.fullmatch(environ.get("SCRIPT_NAME", "")):
        environ["SCRIPT_NAME"] = ""  # some servers take it from a header
    client, hops = _client(environ, trusted)
    if not hops:
        return
    environ["REMOTE_ADDR"] = client
    said = {
        name: _word(environ.get(f"HTTP_X_FORWARDED_{name}", ""), hops)
        for name in ("PROTO", "HOST", "PORT", "PREFIX")
    }
    if said["PROTO"].lower() in DEFAULT_PORTS:
        environ["wsgi.url_scheme"] = said["PROTO"].lower()
    if said["HOST"]:
        environ["HTTP_HOST"] = said["HOST"]
    if said["PORT"].isdecimal():
        _add_port(environ, said["PORT"])
    prefix = said["PREFIX"].rstrip("/")
    if PREFIX.fullmatch(prefix):
        environ["SCRIPT_NAME"] = prefix


def _client(environ: WSGIEnvironment, trusted: Sequence[Proxy]) -> tuple[str, int]:
    """Return the nearest hop that isn't trusted, and how many before it are."""
    nearest = environ.get("REMOTE_ADDR") or ""
    if not is_trusted(nearest, trusted):
        return nearest, 0
    hops = 1
    for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        address = _address(hop.strip())
        if address is None:
            break  # it was no proxy of ours that wrote this: what is further left is hearsay
        nearest = str(address)
        if not is_trusted(nearest, trusted):
            break
        hops += 1
    return nearest, hops


def is_trusted(hop: str, trusted: Sequence[Proxy]) -> bool:
    """Whether a hop is one of these proxies."""
    # What comes over a Unix socket has no address; servers give it several names.
    address = _address(hop)
    if address is None:
        return UNIX_SOCKET in trusted and hop in ("", "unix:")
    return any(network != UNIX_SOCKET and address in network for network in trusted)


def _address(hop: str) -> Address | None:
    """Return the address of a hop, also of one that comes with a port."""
    found = WITH_PORT.fullmatch(hop)
    try:
        address = ip_address((found["v6"] or found["v4"]) if found else hop)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _word(header: str, hops: int) -> str:
    words = [word.strip() for word in header.split(",")]
    return words[-min(hops, len(words))]


def _add_port(environ: WSGIEnvironment, port: str) -> None:
    """A host that came without its port gets it, unless it's the one that goes without saying."""
    host = environ.get("HTTP_HOST", "")
    if host and not PORT_AT_END.search(host) and port != DEFAULT_PORTS[environ["wsgi.url_scheme"]]:
        environ["HTTP_HOST"] = f"{host}:{port}"
