"""A TCP connection within a bound that holds for all of it: the name and every address."""

import socket
import time
from functools import partial
from ipaddress import ip_address
from typing import Any

from infra import patience

KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A peer that is gone without a word is noticed after half a minute, by the kernel."""


def connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Return a connection to a name or an address; its time-out is what is left. Raises OSError."""
    give_up = time.monotonic() + timeout_s
    found = _addresses(host, port, timeout_s)
    refused = OSError(f"{host} has no address")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        # One that swallows everything leaves time for the next.
        share_s = (give_up - time.monotonic()) / (len(found) - number)
        sock = socket.socket(family, kind, protocol)
        try:
            _prepare(sock, max(0.1, share_s))
            sock.connect(address)
        except OSError as error:
            refused = error
            sock.close()
        else:
            sock.settimeout(max(0.1, give_up - time.monotonic()))
            return sock
    raise refused


def _prepare(sock: socket.socket, timeout_s: float) -> None:
    sock.settimeout(timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):  # not everywhere
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _addresses(host: str, port: int, timeout_s: float) -> list[Any]:
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    if _is_address(host):
        return ask()
    try:
        return patience.within(timeout_s, ("resolver", host, port), ask)
    except TimeoutError:
        raise TimeoutError(f"the resolver doesn't answer for {host}") from None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
