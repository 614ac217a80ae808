"""One ICMP socket, which serves all targets of an address family."""

import errno
import os
import socket
import struct
import sys
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from core.probe.clock import ANCILLARY, SO_TIMESTAMPNS, TIMESPEC
from core.probe.packets import (
    ECHO,
    ECHO_SIZE,
    HEADER_SIZE,
    ICMP6_FILTER,
    ICMP_FILTER,
    SO_ATTACH_FILTER,
    SOL_RAW,
    V4,
    EchoRequest,
    Protocol,
    identifier_filter,
    only,
)

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
SO_MEMINFO = 55
MEMINFO_WORDS = 9  # linux/sock_diag.h
DROPS_AT = 8  # SK_MEMINFO_DROPS
IP_RECVERR = 11  # linux/in.h
IPV6_RECVERR = 25  # linux/in6.h
EXTENDED_ERROR = struct.Struct("@IBBBBII")  # struct sock_extended_err, linux/errqueue.h
FROM_ICMP = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6

BUFFER = 8 << 20  # receive buffer we would like, bytes; the kernel gives what it allows
REPLY_BYTES = 832  # what one reply occupies of it (measured)
SHARE = 0.75  # of the buffer, so that strangers and larger packets find room, too
PACKET_SIZE = 2048  # longer than any ICMP error may be


Received = tuple[int, list[tuple[int, int, bytes]], int, Any]
Receive = Callable[[list[bytearray], int], Received]
Reply = tuple[int, int, str, int]
"""(index, token, source, stamp in ns) of a well-formed reply; is it one we wait for?"""


class Refusal(NamedTuple):
    """An ICMP error about one of our packets; index and token are -1 where the quote was short."""

    sequence: int
    echo_index: int  # not `index`, which is a tuple's method
    token: int
    destination: str
    reason: str


class NoIcmp(OSError):
    """This process may not use ICMP; the message says what to set."""


class Channel:
    """A socket, its identifier, its buffers, and how its bytes are to be read."""

    def __init__(self, protocol: Protocol, kernel_clocks: bool) -> None:
        """Raises NoIcmp."""
        self.protocol = protocol
        self.sock, self.raw = _open(protocol)
        self.sock.setblocking(False)
        self.identifier = self._take_identifier()
        self.stamps = False
        self.error_queue = False
        if kernel_clocks:
            self._set_up_linux()
        self.window = self._window()
        self.request = EchoRequest(protocol, self.identifier)
        # Only IPv4 hands over the IP header, and on Linux only to raw sockets.
        self._header = protocol is V4 and (self.raw or sys.platform != "linux")
        # Linux checks what it delivers to a datagram socket, and ICMPv6 always.
        self._check = protocol is V4 and self.raw
        self._receive: Receive = getattr(self.sock, "recvmsg_into", self._receive_bare)
        self._buffer = bytearray(PACKET_SIZE)
        self._view = memoryview(self._buffer)
        self._drops = self.drops()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def _take_identifier(self) -> int:
        """A random one: firewalls and NATs that remember an old one would swallow replies."""
        if self.raw or sys.platform != "linux":
            return _random_identifier()
        for _ in range(16):  # a datagram socket's identifier is its port, and may be taken
            with suppress(OSError):
                self.sock.bind(("", _random_identifier()))
                break
        else:
            self.sock.bind(("", 0))
        return int(self.sock.getsockname()[1])

    def _set_up_linux(self) -> None:
        sock, v4 = self.sock, self.protocol is V4
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
                break
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.stamps = True
        if not self.raw:
            level, option = (0, IP_RECVERR) if v4 else (socket.IPPROTO_IPV6, IPV6_RECVERR)
            sock.setsockopt(level, option, 1)
            self.error_queue = True
            return
        # Two filters: the first is checked before the packet is copied for us, the second keeps
        # out what is meant for other pingers. We are right without, but disturbed.
        with suppress(OSError):
            if v4:
                sock.setsockopt(SOL_RAW, ICMP_FILTER, only(self.protocol.heard, 32))
            else:
                sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, only(self.protocol.heard, 256))
        with suppress(OSError):
            _attach(sock, identifier_filter(self.protocol, self.identifier))

    def _window(self) -> int:
        """How many packets may be in flight so that all replies at once find room."""
        size = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        return max(1, int(SHARE * size / REPLY_BYTES))

    def _receive_bare(self, buffers: list[bytearray], _ancillary: int) -> Received:
        """recvmsg_into for systems that have none (Windows)."""
        size, source = self.sock.recvfrom_into(buffers[0])
        return size, [], 0, source

    def drops(self) -> int:
        """How many packets the kernel has dropped because our buffer was full."""
        try:
            info = self.sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * MEMINFO_WORDS)
            return array("I", info)[DROPS_AT]
        except (OSError, IndexError, ValueError):
            return 0

    def dropped(self) -> bool:
        """Whether any were since the last call."""
        before, self._drops = self._drops, self.drops()
        return self._drops != before

    # Names of attributes are looked up for every packet, locals aren't.
    # pylint: disable-next=too-many-locals
    def read(self, most: int, replies: list[Reply], refusals: list[Refusal]) -> bool:
        """Read up to `most` packets; False if there may be more."""
        if self.error_queue:
            self.read_errors(refusals)
        receive, buffers, view = self._receive, [self._buffer], self._view
        unpack, reply, own, check = (
            ECHO.unpack_from,
            self.protocol.reply,
            self.identifier,
            self._check,
        )
        base, timespec = (reply << 8) + own, TIMESPEC.unpack
        for _ in range(most):
            try:
                size, ancillary, _, source = receive(buffers, ANCILLARY)
            except BlockingIOError:
                return True
            except OSError:
                continue  # an error about one packet, which the error queue tells better
            start = (view[0] & 15) << 2 if self._header else 0
            if size < start + ECHO_SIZE:
                if size >= start + HEADER_SIZE:
                    self._read_error(start, size, source[0], refusals)
                continue
            kind, code, checksum, identifier, sequence, index, token = unpack(view, start)
            if kind != reply:
                self._read_error(start, size, source[0], refusals)
            elif (
                size != start + ECHO_SIZE or code or identifier != own or sequence != index & 0xFFFF
            ):
                continue
            elif check and (checksum + base + sequence + index + token) % 0xFFFF:
                continue  # the sum of all words isn't zero (see EchoRequest.write): damaged
            else:
                seconds, nanoseconds = timespec(ancillary[0][2]) if ancillary else (0, 0)
                stamp_ns = seconds * 1_000_000_000 + nanoseconds
                replies.append((index, token, source[0], stamp_ns))
        return False

    def _read_error(self, start: int, size: int, source: str, refusals: list[Refusal]) -> None:
        """An ICMP error as a raw socket gets it: its header, and our packet's beginning."""
        kind, code = self._view[start], self._view[start + 1]
        if kind not in (self.protocol.unreachable, self.protocol.expired):
            return
        quote = bytes(self._view[start + HEADER_SIZE : size])
        destination, inner = _unwrap(self.protocol, quote)
        self._refuse(inner, destination, self.protocol.reason(kind, code, source), refusals)

    def read_errors(self, refusals: list[Refusal]) -> bool:
        """The error queue of a datagram socket; whether there was anything."""
        found = False
        while True:
            try:
                quote, ancillary, _, destination = self.sock.recvmsg(
                    PACKET_SIZE, 512, socket.MSG_ERRQUEUE
                )
            except OSError:
                return found
            found = True
            for _, _, data in ancillary:
                if len(data) > EXTENDED_ERROR.size:
                    _, origin, kind, code, *_ = EXTENDED_ERROR.unpack_from(data)
                    if origin in FROM_ICMP:
                        source = _offender(self.protocol, data[EXTENDED_ERROR.size :])
                        reason = self.protocol.reason(kind, code, source)
                        self._refuse(quote, destination[0], reason, refusals)

    def _refuse(self, inner: bytes, destination: str, reason: str, into: list[Refusal]) -> None:
        """Note the error if the quoted packet is a request with our identifier."""
        if len(inner) < HEADER_SIZE:
            return
        if len(inner) >= ECHO_SIZE:
            kind, _, _, identifier, sequence, index, token = ECHO.unpack_from(inner)
        else:
            kind, _, _, identifier, sequence = struct.unpack_from("!BBHHH", inner)
            index = token = -1
        if kind == self.protocol.request and identifier == self.identifier:
            into.append(Refusal(sequence, index, token, destination, reason))


def _random_identifier() -> int:
    return int.from_bytes(os.urandom(2), "big") or 1


def _open(protocol: Protocol) -> tuple[socket.socket, bool]:
    """The socket, and whether it's a raw one."""
    problems = []
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        try:
            sock = socket.socket(protocol.family, kind, protocol.number)
            return sock, kind == socket.SOCK_RAW
        except OSError as error:
            problems.append(error)
    raise NoIcmp(_advice(problems))


def _advice(problems: list[OSError]) -> str:
    numbers = {problem.errno for problem in problems}
    if numbers <= {errno.EPERM, errno.EACCES}:
        advice = "this user may not use ICMP"
        if sys.platform == "linux":
            advice += (
                f': set sysctl net.ipv4.ping_group_range="{os.getgid()} {os.getgid()}"'
                " (or a wider range), or give CAP_NET_RAW"
            )
        return advice
    return "ICMP can't be used here: " + "; ".join(
        sorted({os.strerror(number or 0) for number in numbers})
    )


def _attach(sock: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    code = array("B", b"".join(struct.pack("=HBBI", *step) for step in program))
    address, _ = code.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), address))


def _unwrap(protocol: Protocol, quote: bytes) -> tuple[str, bytes]:
    """The destination and the ICMP part of a quoted IP packet; empty ones if it isn't ICMP."""
    if protocol is V4:
        if len(quote) < 20 or quote[9] != protocol.number:
            return "", b""
        return socket.inet_ntop(protocol.family, quote[16:20]), quote[(quote[0] & 15) * 4 :]
    if len(quote) < 40 or quote[6] != protocol.number:
        return "", b""
    return socket.inet_ntop(protocol.family, quote[24:40]), quote[40:]


def _offender(protocol: Protocol, sockaddr: bytes) -> str:
    """Who sent the error: a struct sockaddr_in or sockaddr_in6."""
    at, size = (4, 4) if protocol is V4 else (8, 16)
    packed = sockaddr[at : at + size]
    return socket.inet_ntop(protocol.family, packed) if len(packed) == size else "somebody"
