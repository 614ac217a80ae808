"""Whose clock times an echo, and how far off it may be."""

import socket
import struct
from collections.abc import Callable
from time import monotonic_ns, time_ns

from core.probe.signature import ClockUsed

SO_TIMESTAMPNS = 35  # linux/include/uapi/asm-generic/socket.h; Python's socket module lacks it
TIMESPEC = struct.Struct("@ll")  # seconds, nanoseconds, as the control message carries them
ANCILLARY = socket.CMSG_SPACE(TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0
RESOLUTION_NS = 1_000  # what no clock here is finer than, for stated bounds
PATIENCE = 5  # readings of a pair of clocks, until one wasn't interrupted
CALM_NS = 5_000  # a pair of readings taken within this was hardly interrupted

TimeMs = tuple[float, float, ClockUsed]


def between(earliest_ns: int, latest_ns: int, clock: ClockUsed) -> TimeMs:
    """The round trip known to lie between two times: the middle, and half the width as bound."""
    earliest_ns = max(earliest_ns, 0)
    bound_ns = (latest_ns - earliest_ns) / 2
    return (earliest_ns + bound_ns) / 1e6, (bound_ns + RESOLUTION_NS) / 1e6, clock


def up_to(earliest_ns: int, latest_ns: int, clock: ClockUsed) -> TimeMs:
    """The same, when the later end is the likely one (a waiting process is woken at once)."""
    earliest_ns = max(earliest_ns, 0)
    return latest_ns / 1e6, (latest_ns - earliest_ns + RESOLUTION_NS) / 1e6, clock


class StepWatch:
    """Notices that the wall clock was set.

    Kernel receive stamps are CLOCK_REALTIME, so the send times they are compared with must be,
    too. Slewing (NTP) moves CLOCK_REALTIME and CLOCK_MONOTONIC alike and spoils nothing; a step
    (settimeofday, a leap second, a resumed machine) moves only the former, and every echo that
    was under way then has one time from before it and one from after.
    Steps below some 10 us can't be told from the time it takes to read two clocks.
    """

    def __init__(self, wall_ns: Callable[[], int] = time_ns) -> None:
        self._wall_ns = wall_ns
        self._offset_ns, self._doubt_ns = self._read()

    def stepped(self) -> bool:
        """Whether the wall clock was set since the last call."""
        offset_ns, doubt_ns = self._read()
        moved_ns = abs(offset_ns - self._offset_ns)
        allowed_ns = doubt_ns + self._doubt_ns + RESOLUTION_NS
        self._offset_ns, self._doubt_ns = offset_ns, doubt_ns
        return moved_ns > allowed_ns

    def _read(self) -> tuple[int, int]:
        """How far the wall clock is ahead of the monotonic one, and the doubt about it, in ns."""
        best = (0, 1 << 62)
        for _ in range(PATIENCE):
            before = monotonic_ns()
            wall = self._wall_ns()
            doubt_ns = monotonic_ns() - before
            if doubt_ns < best[1]:
                best = (wall - before, doubt_ns)
            if doubt_ns < CALM_NS:
                break
        return best


def stamp_of(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The kernel's receive stamp, CLOCK_REALTIME in ns; 0 if there is none."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0


def wait_for_stamps() -> bool:
    """Return whether the kernel stamps packets when they arrive.

    Linux switches stamping on by a deferred job after the first socket asks for it; a packet
    that comes before is stamped when it is *read*, which is the very lie we want to avoid. So
    send ourselves datagrams until one is stamped before we read it. False where there is no
    loopback to try it on.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sock.settimeout(0.01)
            return any(_stamped_on_arrival(sock) for _ in range(100))
    except OSError:
        return False


def _stamped_on_arrival(sock: socket.socket) -> bool:
    sock.sendto(b"", sock.getsockname())
    before_reading_ns = time_ns()
    stamp_ns = stamp_of(sock.recvmsg(1, ANCILLARY)[1])
    return 0 < stamp_ns < before_reading_ns
