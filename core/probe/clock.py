"""Whose clock times an echo, and how far off it may be."""

import socket
import struct
from collections.abc import Callable
from time import monotonic_ns, sleep, time_ns

SO_TIMESTAMPNS = 35  # linux/include/uapi/asm-generic/socket.h; Python's socket module lacks it
TIMESPEC = struct.Struct("@ll")  # seconds, nanoseconds, as the control message carries them
ANCILLARY = socket.CMSG_SPACE(TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0
RESOLUTION_NS = 1_000  # what no clock here is finer than, for stated bounds
PATIENCE = 5  # readings of a pair of clocks, until one wasn't interrupted
CALM_NS = 5_000  # a pair of readings taken within this was hardly interrupted


def up_to(earliest_ns: int, latest_ns: int) -> tuple[float, float]:
    """Round trip and bound in ms, known to lie between two times.

    The later end is the likely one: a waiting process is woken at once.
    """
    earliest_ns = max(earliest_ns, 0)
    return latest_ns / 1e6, (latest_ns - earliest_ns + RESOLUTION_NS) / 1e6


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
            sock.settimeout(0.05)
            return any(_stamped_on_arrival(sock) for _ in range(50))
    except (OSError, IndexError):
        return False


def _stamped_on_arrival(sock: socket.socket) -> bool:
    sock.sendto(b"", sock.getsockname())
    before_reading_ns = time_ns()
    seconds, nanoseconds = TIMESPEC.unpack(sock.recvmsg(1, ANCILLARY)[1][0][2])
    if int(seconds * 1_000_000_000 + nanoseconds) < before_reading_ns:
        return True
    sleep(0.001)  # the job is waiting for a processor
    return False
