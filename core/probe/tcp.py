"""TCP echoes: how long a handshake takes, from SYN to SYN-ACK or RST, for thousands at once."""

import errno
import os
import socket
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from time import monotonic_ns

from core.probe.addresses import Sockaddr
from core.probe.clock import RESOLUTION_NS, up_to
from core.probe.ledger import ANSWERED, KERNEL, NO_ANSWER, REFUSED, UNREACHABLE, USER
from core.probe.loop import NEVER_NS, Sweep
from core.probe.signature import Destination, Heard, Pace
from core.probe.system import TROUBLE, Events, System

# As plain numbers and names: each is looked up once for every handshake.
IPV4, IPV6 = int(socket.AF_INET), int(socket.AF_INET6)
SOL_SOCKET, SO_ERROR, SO_LINGER = socket.SOL_SOCKET, socket.SO_ERROR, socket.SO_LINGER
IPPROTO_TCP, TCP_INFO = int(socket.IPPROTO_TCP), getattr(socket, "TCP_INFO", 0)
Socket = socket.SocketType
STREAM = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds
EPHEMERAL_FROM = 1024  # a port below can't be our own source port

# struct tcp_info, linux/include/uapi/linux/tcp.h
TCP_INFO_SIZE = 144
RETRANS_AT = 100  # tcpi_total_retrans
HANDSHAKE = struct.Struct("@68xI28xI")  # tcpi_rtt, us: from SYN to SYN-ACK; tcpi_total_retrans
HANDSHAKE_SIZE = HANDSHAKE.size
SEGS_IN_AT = 140  # tcpi_segs_in
RESENT_BOUND_MS = 1.001  # TCP time stamps, which tell a resent SYN's round trip, count in ms
RESEND_NS = 950_000_000  # the first SYN is sent again after a second (RFC 6298), or a bit less

FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
NO_WAY_NAMES = (
    "EHOSTUNREACH",
    "ENETUNREACH",
    "EHOSTDOWN",
    "ENONET",
    "ENOPROTOOPT",
    "EPROTO",
    "EOPNOTSUPP",
    "EMSGSIZE",
    "EACCES",
)
NO_WAY = {  # what ICMP errors become, those that this system knows
    getattr(errno, name) for name in NO_WAY_NAMES if hasattr(errno, name)
}
OPENED_AND_CLOSED = {0, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN}
IN_PROGRESS = errno.EWOULDBLOCK if sys.platform == "win32" else errno.EINPROGRESS

LOOK_NS = 2_000_000  # a refusal is timed by looking: look this often, and state it as its bound
SHARE = 0.85  # of the free file descriptors
WINDOW = 16_384  # connections under way, however many descriptors are free
SPARED = "not sent: no port answered the first echo"

IPV4_PARTS = 2  # of a socket address; IPv6 has four

Line = tuple[Socket, int, int, int, int]
"""A connection under way: (socket, index, port, monotonic ns before and after the SYN was sent)."""


def _marks(place: Sockaddr) -> bool:
    """Whether a socket that was connected there isn't as good as new when it is reset.

    It stays IPv4's after an IPv4-mapped address, and bound to an interface after one with a scope.
    """
    return len(place) != IPV4_PARTS and (bool(place[-1]) or place[0].startswith("::ffff:"))


def free_descriptors() -> int:
    """How many more files this process may open."""
    try:
        import resource  # Unix only
    except ImportError:
        return 400  # Windows' select takes 512
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return WINDOW * 2
    try:
        used = len(os.listdir("/dev/fd"))
    except OSError:
        used = 64
    return max(1, limit - used)


class TcpSweep(Sweep):
    """Handshakes with all targets.

    A target with several ports gets one volley: its first echo goes to all of them at once, the
    first port that answers (accepts or refuses) serves the later echoes. If none answers, the
    later echoes are spared (LOCAL_FAULT): we don't know where they could have been answered, and
    a loss on a port that was only guessed says nothing about the target.
    """

    def __init__(
        self, targets: Sequence[Destination], pace: Pace, heard: Heard | None, system: System
    ) -> None:
        super().__init__(targets, pace, heard, system)
        self.window = min(WINDOW, max(1, int(SHARE * free_descriptors())))
        self._kernel = self.unhurried = system.kernel_clocks
        self._watch, self._watch_again = self.poller.watch_connecting, self.poller.watch_again
        self._lines: dict[int, Line] = {}  # by file descriptor
        # Sockets that served and may serve again, by whether they are IPv4's. Whom one has served
        # knows the sequence numbers that the kernel takes next (tcp_disconnect): to forge another
        # target's answer, it would only have to guess a port. One socket a target costs 25 % more.
        self._idle: dict[bool, list[Socket]] = {True: [], False: []}
        self._reset = system.reset
        self._fds: dict[int, tuple[int, ...]] = {}  # of each index that is under way
        self._ports = array("H", bytes(2 * len(targets)))  # what serves a target; 0: not known yet
        self._seeking: dict[int, int] = {}  # target -> index of its volley
        self._parked: dict[int, list[int]] = {}  # target -> indexes that wait for the volley's end
        self._troubles: dict[int, str] = {}  # index -> a local fault on one of its ports
        self._refusals: dict[int, str] = {}  # index -> what the last unreachable port said

    def close(self) -> None:
        for line in list(self._lines.values()):
            self._drop_line(line)
        while self._close_idle():
            pass
        super().close()

    def usable(self, target: int, place: Sockaddr) -> str:
        ports = self.targets[target].ports
        if not ports:
            return "no port to connect to"
        for port in ports:
            if not 0 < port < 65536:
                return f"not a port: {port}"
        if len(ports) == 1:
            self._ports[target] = ports[0]
        return ""

    def next_look_ns(self) -> int:
        return self.now_ns + LOOK_NS if self._lines else NEVER_NS

    # Sending

    def launch(self, indexes: list[int]) -> int:
        sent, targets, ports = 0, len(self.targets), self._ports
        launched = []
        for position, index in enumerate(indexes):
            target = index % targets
            port = ports[target]
            if port:
                opened = self._connect(index, target, port)
            elif target in self._seeking:
                self._parked.setdefault(target, []).append(index)
                continue
            else:
                opened = self._volley(index, target)
            if opened < 0:
                self.congested(indexes[position:], "no file descriptors or memory left")
                break
            sent += opened
            launched.append(index)
            if self._troubles and index in self._troubles:
                self._end_if_last(index)
        now_ns, sent_ns, due_ns = monotonic_ns(), self.sent_ns, self.due_ns
        for index in launched:
            sent_ns[index % targets] = now_ns
            due_ns[index] = now_ns + self.timeout_ns
        self.flight.extend(launched)
        self.in_flight = len(self._lines)
        return sent

    def _volley(self, index: int, target: int) -> int:
        """Connect to all ports at once; how many SYNs were sent, or -1 if there was no room."""
        sent = 0
        self._seeking[target] = index
        for port in self.targets[target].ports:
            if self._seeking.get(target) != index:
                break  # one answered on the spot
            opened = self._connect(index, target, port)
            if opened < 0 and not sent:
                del self._seeking[target]
                return -1
            if opened < 0:
                self._troubles[index] = "no file descriptors or memory left"
                break
            sent += opened
        return sent

    def _connect(self, index: int, target: int, port: int) -> int:
        """Send one SYN: 1; 0 if that failed; -1 if there's no room and waiting will help."""
        place = self.places[target]
        v4 = len(place) == IPV4_PARTS
        try:
            sock, watch = self._socket(v4)
        except OSError as error:
            if error.errno in FULL and self._lines:
                self.window = max(1, len(self._lines))
                return -1
            self._troubles[index] = os.strerror(error.errno or 0)
            return 0
        where = (place[0], port) if v4 else (place[0], port, *place[2:])
        before_ns = monotonic_ns()
        try:
            error_number = sock.connect_ex(where)
            after_ns = monotonic_ns()
            fd = sock.fileno()
            watch(fd)
        except OSError as error:
            sock.close()
            self._troubles[index] = os.strerror(error.errno or 0)
            return 0
        line = self._lines[fd] = (sock, index, port, before_ns, after_ns)
        self._fds[index] = (*self._fds[index], fd) if index in self._fds else (fd,)
        if error_number == IN_PROGRESS:
            return 1
        if error_number in (0, errno.ECONNREFUSED):  # a target on this machine may answer at once
            self.now_ns = after_ns
            self._hear_error(line, error_number)
            return 1
        self._drop_line(line)
        self._troubles[index] = os.strerror(error_number)
        return 0

    def _socket(self, v4: bool) -> tuple[Socket, Callable[[int], None]]:
        """An idle socket or else a new one, and how to watch it. Raises OSError."""
        if self._idle[v4]:
            return self._idle[v4].pop(), self._watch_again
        self._close_idle()  # one of the other family makes room
        sock = Socket(IPV4 if v4 else IPV6, STREAM)
        if STREAM == socket.SOCK_STREAM:
            sock.setblocking(False)
        return sock, self._watch

    def _close_idle(self) -> bool:
        """Close one idle socket; False if there was none."""
        for idle in self._idle.values():
            if idle:
                idle.pop().close()
                return True
        return False

    # Hearing

    def hear(self, events: Events) -> bool:
        lines = self._lines
        for fd, mask in events:
            line = lines.get(fd)
            if line is None:
                continue  # another port of the same volley was first
            if mask & TROUBLE:
                self._hear_error(line, line[0].getsockopt(SOL_SOCKET, SO_ERROR))
            else:
                self._accepted(line)
        self.in_flight = len(lines)
        return True

    def _hear_error(self, line: Line, error: int) -> None:
        if error in OPENED_AND_CLOSED:
            self._accepted(line)
        elif error == errno.ECONNREFUSED:
            self._refused(line)
        else:
            self._failed_remotely(line, error)

    def _accepted(self, line: Line) -> None:
        sock, index, port, _, _ = line
        if port >= EPHEMERAL_FROM and _is_ourselves(sock):
            self._drop_line(line)
            self._troubles[index] = "our own source port was hit"
            self._end_if_last(index)
            return
        rtt_us, resent = self._kernel_time(sock)
        kept = self._kept(sock, index)
        if kept < 0:
            # Reset instead of FIN: no TIME_WAIT is left that would use up the local ports.
            sock.setsockopt(SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE)
        self._close_all(index, port, kept)
        if rtt_us and resent:
            self.ledger.explain(index, "the SYN was sent again")
            self.ledger.timed(index, ANSWERED, rtt_us / 1e3, RESENT_BOUND_MS, KERNEL)
        elif rtt_us:
            # The kernel stamps the SYN early in connect(), and it has left when that returns; an
            # answer that comes meanwhile is stamped only then.
            bound_ms = (RESOLUTION_NS + line[4] - line[3]) / 1e6
            self.ledger.timed(index, ANSWERED, rtt_us / 1e3, bound_ms, KERNEL)
        else:
            self._by_user(line, ANSWERED, resent)

    def _kept(self, sock: Socket, index: int) -> int:
        """Reset the connection and keep the socket, if there's more to send; its fd, or -1.

        Closing it and opening another would cost the kernel twice as much.
        """
        if self._reset is None or not self.more_to_send:
            return -1
        place = self.places[index % len(self.targets)]
        if _marks(place):
            return -1
        fd = sock.fileno()
        if not self._reset(fd):
            return -1
        sock.getsockopt(SOL_SOCKET, SO_ERROR)  # says that it was reset, which we know
        self._idle[len(place) == IPV4_PARTS].append(sock)
        return fd

    def _kernel_time(self, sock: socket.SocketType) -> tuple[int, int]:
        """TCP_INFO: the round trip in us (0: unknown), and how often the SYN was resent."""
        if not self._kernel:
            return 0, 0
        try:
            info = sock.getsockopt(IPPROTO_TCP, TCP_INFO, HANDSHAKE_SIZE)
            return HANDSHAKE.unpack(info)
        except (OSError, struct.error):
            return 0, 0

    def _info(self, sock: socket.SocketType) -> bytes:
        """TCP_INFO as far as this kernel knows it; empty where there is none."""
        if not self._kernel:
            return b""
        try:
            return sock.getsockopt(IPPROTO_TCP, TCP_INFO, TCP_INFO_SIZE)
        except OSError:
            return b""

    def _by_user(self, line: Line, code: int, resent: int) -> None:
        """Time an echo by our own clock: its answer came after we last looked, and before now."""
        self.unhurried = False  # from now on, look as soon as something comes
        _, index, _, before_ns, after_ns = line
        waited_ns = self.now_ns - before_ns
        if resent or (not self._kernel and waited_ns > RESEND_NS):
            self.ledger.end(index, code, "the SYN was sent again, so the round trip isn't known")
            return
        rtt_ms, bound_ms = up_to(max(self.quiet_ns, before_ns) - after_ns, waited_ns)
        self.ledger.timed(index, code, rtt_ms, bound_ms, USER)

    def _refused(self, line: Line) -> None:
        info = self._info(line[0])
        if len(info) >= SEGS_IN_AT + 4 and not _u32(info, SEGS_IN_AT):
            # No TCP segment has come in: that was an ICMP port unreachable.
            self._failed_remotely(line, errno.ECONNREFUSED)
        else:
            self._close_all(line[1], line[2])
            self._by_user(line, REFUSED, _u32(info, RETRANS_AT))

    def _close_all(self, index: int, port: int, kept: int = -1) -> None:
        """That port answered; the others that were tried aren't needed any more."""
        target = index % len(self.targets)
        self.ledger.ports[target] = port
        self._forget(index, kept)
        if self._seeking and self._seeking.pop(target, None) is not None:
            self._ports[target] = port
            self._unpark(target)

    # Failing

    def _failed_remotely(self, line: Line, error: int) -> None:
        _, index, _, _, _ = line
        self._drop_line(line)
        if error in NO_WAY or error == errno.ECONNREFUSED:
            self._refusals[index] = f"an ICMP error came back: {os.strerror(error)}"
        elif error != errno.ETIMEDOUT:
            self._troubles[index] = os.strerror(error)
        self._end_if_last(index)

    def _end_if_last(self, index: int) -> None:
        """One port of an echo has failed; if no other is under way, the echo has."""
        if not self._fds.get(index) and not self.ledger.codes[index]:
            self._nobody_answered(index, index in self._refusals)

    def give_up(self, index: int) -> None:
        if index in self._fds:
            self._nobody_answered(index, False)
            self.in_flight = len(self._lines)

    def _nobody_answered(self, index: int, unreachable: bool) -> None:
        target = index % self.ledger.targets
        trouble, said = self._troubles.get(index), self._refusals.get(index, "")
        self._forget(index)
        seeking = self._seeking.get(target) == index
        if seeking:
            del self._seeking[target]
        if trouble is not None:
            self.fault(index, trouble)
            self._unpark(target)
            return
        if unreachable:
            self.ledger.end(index, UNREACHABLE, said)
        else:
            self.ledger.end(index, NO_ANSWER)
        if seeking:
            self._parked.pop(target, None)
            self.spare(target, SPARED)

    def _unpark(self, target: int) -> None:
        for index in self._parked.pop(target, ()):
            self.postpone(index)

    def _forget(self, index: int, kept: int = -1) -> None:
        """Close what is still open for that echo, but for the descriptor that is kept."""
        lines, forget = self._lines, self.poller.forget
        for fd in self._fds.pop(index, ()):
            sock = lines.pop(fd)[0]
            if fd != kept:
                forget(fd)
                sock.close()
        if self._troubles or self._refusals:
            self._troubles.pop(index, None)
            self._refusals.pop(index, None)

    def _drop_line(self, line: Line) -> None:
        sock = line[0]
        fd = sock.fileno()
        self._fds[line[1]] = tuple(one for one in self._fds[line[1]] if one != fd)
        self.poller.forget(fd)
        del self._lines[fd]
        sock.close()


def _u32(info: bytes, at: int) -> int:
    return int.from_bytes(info[at : at + 4], sys.byteorder) if len(info) >= at + 4 else 0


def _is_ourselves(sock: socket.SocketType) -> bool:
    """A connection to a free local port may meet itself (simultaneous open, RFC 9293)."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False
