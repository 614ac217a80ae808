"""Connections: a resolver that hangs, addresses that refuse, ends that are gone."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from infra import sockets

HERE = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HERE, 0)) as listening:
        yield listening


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize("host", [HERE, "localhost"])
def test_an_address_and_a_name_are_connected_to(listener: socket.socket, host: str) -> None:
    with sockets.connect(host, port_of(listener), 250) as connected:
        assert connected.getpeername() == (HERE, port_of(listener))
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert 0 < (connected.gettimeout() or 0) <= 250


def addresses(*hosts: str, port: int) -> list[tuple[object, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]


def test_an_address_that_refuses_leaves_the_next(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(listener)
    found = addresses("127.0.0.99", HERE, port=port)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with sockets.connect("db.example", port, 250) as connected:
        assert connected.getpeername() == (HERE, port)


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.98", port_of(listener)))
        full.listen(0)
        waiting = []
        for _ in range(4):  # its queue is full from here on: what comes is dropped in silence
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        found = addresses("127.0.0.98", HERE, port=port_of(listener))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with sockets.connect("db.example", port_of(listener), 1) as connected:
            assert connected.getpeername()[0] == HERE
        for one in waiting:
            one.close()


def test_nobody_who_listens_is_refused() -> None:
    with socket.socket() as reserved:
        reserved.bind((HERE, 0))
        with pytest.raises(ConnectionRefusedError):
            sockets.connect(HERE, port_of(reserved), 250)


def test_a_resolver_that_hangs_is_given_up_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, asked = threading.Event(), []

    def never(*question: object, **_more: object) -> list[tuple[object, ...]]:
        asked.append(question)
        hangs.wait(250)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"resolver .* db\.example"):
            sockets.connect("db.example", 5432, 0.05)
    assert time.monotonic() - began < 5
    assert len(asked) == 1
    hangs.set()
