"""What the tests of the engine share: a world of its own, and ports on loopback."""

import socket
from collections.abc import Iterator

import pytest

from benchmarks.probe.world import World, lacking


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A running world; each test gives it a plan of its own."""
    lack = lacking()
    if lack:
        pytest.skip(f"NOT TESTED: the engine against a network of its own; needs {lack}")
    with World() as running:
        yield running


@pytest.fixture(name="port")
def fixture_port() -> Iterator[int]:
    """A port that accepts on 127.0.0.0/8 and ::1."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.listen(4096)
        yield int(server.getsockname()[1])


@pytest.fixture(name="closed_port")
def fixture_closed_port() -> Iterator[int]:
    """A port that nobody else takes and where nobody listens."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        holder.bind(("::", 0))
        yield int(holder.getsockname()[1])


@pytest.fixture(name="deaf_port")
def fixture_deaf_port() -> Iterator[int]:
    """A port whose queue of waiting connections is full: the kernel drops further SYNs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        waiting[0].settimeout(50)
        yield int(address[1])
        for one in waiting:
            one.close()
