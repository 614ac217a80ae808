"""What the engine stands on: two ways to wait for sockets, and a socket that serves again."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from core.probe.system import HERE, PORTABLE, TROUBLE, Poller, System


@pytest.fixture(params=[HERE, PORTABLE], ids=["here", "portable"])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    """A poller of each kind."""
    system: System = request.param
    with closing(system.poller()) as opened:
        yield opened


def test_a_poller_reports_what_can_be_read_until_it_is_read(poller: Poller) -> None:
    here, there = socket.socketpair()
    with here, there:
        poller.watch_reading(here.fileno())
        assert poller.wait(0, 8) == []
        there.send(b"x")
        for _ in range(2):
            assert [fd for fd, _mask in poller.wait(50, 8)] == [here.fileno()]
        here.recv(1)
        assert poller.wait(0, 8) == []
        poller.forget(here.fileno())


def test_a_connection_that_failed_is_trouble(poller: Poller, closed_port: int) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", closed_port))
        poller.watch_connecting(sock.fileno())
        [(fd, mask)] = poller.wait(50, 8)
        assert fd == sock.fileno()
        assert mask & TROUBLE
        poller.forget(fd)


def test_a_descriptor_that_was_forgotten_may_be_watched_again(poller: Poller) -> None:
    for _ in range(2):  # the second pair gets the numbers of the first
        here, there = socket.socketpair()
        with here, there:
            there.send(b"x")
            poller.watch_reading(here.fileno())
            assert [fd for fd, _mask in poller.wait(50, 8)] == [here.fileno()]
            poller.forget(here.fileno())


@pytest.mark.skipif(HERE.reset is None, reason="NOT TESTED: sockets that serve again; needs Linux")
def test_a_reset_ends_the_connection_and_leaves_the_socket_as_good_as_new() -> None:
    assert HERE.reset
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
        for _ in range(2):
            sock.connect(server.getsockname())
            connection, _ = server.accept()
            assert HERE.reset(sock.fileno())
            with connection, pytest.raises(ConnectionResetError):
                connection.recv(1)
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # says that it was reset
