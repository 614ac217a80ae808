"""What differs between operating systems: how to wait for sockets, and whether to trust stamps."""

import ctypes
import select
import selectors
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

TROUBLE = 0x08 | 0x10  # EPOLLERR | EPOLLHUP: the socket has an error to tell

UNSPECIFIED = bytes(16)  # a struct sockaddr of family AF_UNSPEC, which is 0

Events = list[tuple[int, int]]


class Poller(Protocol):
    """Something that waits for sockets."""

    def fileno(self) -> int:
        """A descriptor that is readable while events are waiting; -1 if there is none."""

    def wait(self, wait_s: float, most: int) -> Events:
        """Up to `most` pairs of (file descriptor, mask); TROUBLE in the mask: ask for the error."""

    def watch_reading(self, fd: int) -> None:
        """Report while there is something to read."""

    def watch_connecting(self, fd: int) -> None:
        """Report once, when the connection is made or has failed."""

    def watch_again(self, fd: int) -> None:
        """The same for one that has been reported and is connecting anew."""

    def forget(self, fd: int) -> None:
        """Must be called before `fd` is closed."""

    def close(self) -> None:
        """Give back what the poller itself has open."""


class Epoll:
    """Linux: epoll. A connecting socket is watched edge-triggered and one-shot."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.fileno: Callable[[], int] = self._epoll.fileno
        self.wait: Callable[[float, int], Events] = self._epoll.poll
        self.close: Callable[[], None] = self._epoll.close
        self._register = self._epoll.register
        once = select.EPOLLOUT | select.EPOLLONESHOT | select.EPOLLET
        self.watch_connecting: Callable[[int], None] = partial(self._register, eventmask=once)
        self.watch_again: Callable[[int], None] = partial(self._epoll.modify, eventmask=once)

    def watch_reading(self, fd: int) -> None:
        """Level-triggered: what a turn leaves unread is reported again."""
        self._register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Nothing to do: the kernel forgets a descriptor when it is closed."""


class Selector:
    """Elsewhere: whatever `selectors` finds. It can't tell errors, so each event says TROUBLE."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.close = self._selector.close

    def fileno(self) -> int:
        """Not every selector has one."""
        return -1

    def wait(self, wait_s: float, most: int) -> Events:
        """All events there are; `most` would only hide some."""
        del most
        return [(key.fd, TROUBLE) for key, _ in self._selector.select(wait_s)]

    def watch_reading(self, fd: int) -> None:
        """Report while there is something to read."""
        self._selector.register(fd, selectors.EVENT_READ)

    def watch_connecting(self, fd: int) -> None:
        """Report when writable, which a failed connection is, too."""
        self._selector.register(fd, selectors.EVENT_WRITE)

    def watch_again(self, fd: int) -> None:
        """It is still registered."""

    def forget(self, fd: int) -> None:
        """Selectors keep closed descriptors, and the number will be used again."""
        self._selector.unregister(fd)


@dataclass(frozen=True, slots=True)
class System:
    """What the engine stands on."""

    poller: Callable[[], Poller]
    kernel_clocks: bool  # SO_TIMESTAMPNS, TCP_INFO and the other Linux socket options
    reset: Callable[[int], bool] | None = None  # see _reset_by; None: a socket serves once


def _reset_by(connect: Callable[[int, bytes, int], int]) -> Callable[[int], bool]:
    """What ends a connection by a RST and leaves its socket as good as new; false if it can't.

    By libc's connect: connecting to an address of the family AF_UNSPEC dissolves the association
    (connect(2)), and Python's own connect can't say that.
    """
    return lambda fd: not connect(fd, UNSPECIFIED, len(UNSPECIFIED))


def _here() -> System:
    if sys.platform != "linux":
        return PORTABLE
    return System(Epoll, kernel_clocks=True, reset=_reset_by(ctypes.PyDLL(None).connect))


PORTABLE = System(Selector, kernel_clocks=False)
HERE = _here()
