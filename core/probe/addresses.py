"""Addresses as literals. Nothing here or elsewhere in the engine ever asks a name server."""

import socket
from socket import inet_ntop, inet_pton
from typing import NamedTuple

IPV4 = int(socket.AF_INET)


Sockaddr = tuple[str, int] | tuple[str, int, int, int]


class Place(NamedTuple):
    """A literal, understood: its family, the text the kernel writes for it, its scope (IPv6)."""

    family: int
    address: str
    scope: int = 0

    def sockaddr(self, port: int = 0) -> Sockaddr:
        """As connect and sendto want it."""
        if self.family == socket.AF_INET:
            return self.address, port
        return self.address, port, 0, self.scope


def understand(literal: str) -> Place:
    """Read an IPv4 or IPv6 literal; raise ValueError for anything else.

    inet_pton, not inet_aton or getaddrinfo, which take `127.1` and `0x7f000001`. The ipaddress
    module decides alike and takes five times as long (a test compares the two).
    """
    plain, percent, scope = literal.partition("%")
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    try:
        packed = inet_pton(family, plain)
    except (OSError, ValueError):
        raise ValueError(f"not an IP address: {literal!r}") from None
    address = inet_ntop(family, packed)
    if family == socket.AF_INET:
        # Some systems read 010.0.0.1 as 10.0.0.1, others as 8.0.0.1: neither is what we were told.
        if address != literal:
            raise ValueError(f"not an IP address: {literal!r}")
        return Place(family, literal)
    return Place(family, address, _interface(scope, literal) if percent else 0)


def sockaddr_of(literal: str) -> Sockaddr | None:
    """The shortcut for well-formed IPv4: what `understand(literal).sockaddr()` gives, or None."""
    try:
        packed = inet_pton(IPV4, literal)
    except (OSError, ValueError):
        return None
    # Only a part that begins with 0 can be written in two ways.
    if literal[0] != "0" and ".0" not in literal:
        return literal, 0
    return (literal, 0) if inet_ntop(IPV4, packed) == literal else None


def _interface(scope: str, literal: str) -> int:
    if scope.isascii() and scope.isdigit():
        return int(scope)
    try:
        return socket.if_nametoindex(scope)
    except (OSError, ValueError):
        raise ValueError(f"no such network interface: {literal!r}") from None
