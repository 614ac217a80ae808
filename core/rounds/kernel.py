"""What the kernel says of its clocks, beside the time."""

import ctypes
from pathlib import Path
from typing import NamedTuple

from core.clock import uptime_s

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIME_ERROR = 5
"""What ntp_adjtime returns while the clock isn't synchronised. Source: adjtimex(2)."""
ROOM = 512  # octets, for a struct timex of 208


class Kernel(NamedTuple):
    """`boot_id` names this start of the machine, "" where nobody knows it."""

    boot_id: str
    uptime_s: float
    synchronised: bool  # False also where the kernel doesn't know


SILENT = Kernel("", 0.0, False)
"""Where a start of the machine lasts for one call, as on AWS Lambda."""


def look() -> Kernel:
    """Return what the kernel says now; it needs no privilege."""
    try:
        boot_id = BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot_id = ""
    return Kernel(boot_id, uptime_s(), _synchronised())


def _synchronised() -> bool:
    # A request of zeros changes nothing. A clock that was set by hand counts as unsynchronised
    # until NTP has seen to it.
    try:
        library = ctypes.CDLL(None)
        ask = getattr(library, "ntp_adjtime", None) or library.adjtimex  # musl has only that
        told = ask(ctypes.create_string_buffer(ROOM))
    except (OSError, AttributeError):
        return False
    return 0 <= int(told) < TIME_ERROR
