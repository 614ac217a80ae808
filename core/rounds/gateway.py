"""Witnesses to be asked: whether our own network works. They are asked with every batch.

This loads neither the database nor its library: a prober has none.
"""

from pathlib import Path

from core.settings import GATEWAY, Settings

ROUTES = Path("/proc/net/route")
"""The kernel's routes of IPv4. Source: proc_pid_net(5)."""
UP_AND_BY_GATEWAY = 0x3
"""The flags RTF_UP and RTF_GATEWAY of a route. Source: linux/route.h"""


def witnesses(settings: Settings) -> tuple[str, ...]:
    """Return the addresses of the witnesses, each time anew: a laptop changes its network."""
    if settings.witnesses != (GATEWAY,):
        return settings.witnesses
    found = default_gateway()
    return (found,) if found else ()


def default_gateway() -> str | None:
    """Return the address of this machine's default gateway; None where there is none to be read.

    Of several it is that of the smallest metric, as the kernel takes it.
    """
    try:
        lines = ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except (OSError, ValueError):
        return None
    fields = [line.split() for line in lines]
    found = [
        (int(metric), gateway)
        for _, destination, gateway, flags, _, _, metric, *_ in fields
        if destination == "00000000" and int(flags, 16) & UP_AND_BY_GATEWAY == UP_AND_BY_GATEWAY
    ]
    return _address(min(found)[1]) if found else None


def _address(word: str) -> str:
    """Read an address as the kernel writes it there: its octets in hexadecimal, backwards."""
    return ".".join(str(octet) for octet in reversed(bytes.fromhex(word)))
