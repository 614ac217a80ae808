"""What goes into the engine and what comes out: the words both halves, ICMP and TCP, share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What an echo is: one ICMP echo request and its reply, or one TCP handshake."""

    ICMP = "icmp"
    TCP = "tcp"


class Verdict(StrEnum):
    """How one echo ended. Only LOCAL_FAULT says nothing about the target."""

    ANSWERED = "answered"  # an echo reply, or a SYN-ACK
    REFUSED = "refused"  # a RST: the host is up, the port is closed
    UNREACHABLE = "unreachable"  # an ICMP error came back, from the target or a router
    NO_ANSWER = "no answer"  # the time-out passed in silence
    LOCAL_FAULT = "local fault"  # we couldn't send or couldn't hear: our failure, not the target's

    @property
    def came_back(self) -> bool:
        """Whether the target itself answered."""
        return self in (Verdict.ANSWERED, Verdict.REFUSED)


class ClockUsed(StrEnum):
    """Who timed an echo."""

    KERNEL = "kernel"  # SO_TIMESTAMPNS or TCP_INFO: right however busy this process is
    USER = "user"  # this process's own monotonic clock: as good as the stated bound


class Echo(NamedTuple):
    """One packet out and back.

    `rtt_ms` is None unless the echo came back with a known time; the true round trip then lies
    within `bound_ms` of it. `reason` is for people: empty, or why the verdict is what it is.
    """

    verdict: Verdict
    rtt_ms: float | None = None
    clock: ClockUsed | None = None
    bound_ms: float | None = None
    reason: str = ""


class Destination(NamedTuple):
    """Where echoes go.

    `address` is an IPv4 or IPv6 literal, never a name. `ports` is for TCP: one port, or several of
    which the first to answer (accept or refuse) serves all later echoes. ICMP ignores it.
    """

    address: str
    ports: tuple[int, ...] = ()


class Result(NamedTuple):
    """One target's echoes in the order they were sent.

    `port` is the TCP port that answered, None if none did (or for ICMP).
    """

    echoes: Sequence[Echo]
    port: int | None = None


def anywhere(_address: str) -> bool:
    """The rule that allows every address."""
    return True


@dataclass(frozen=True, slots=True)
class Pace:
    """How a sweep goes about it. Raises ValueError for what no sweep could keep."""

    echoes: int = 4  # for each target; echo k goes to all targets before echo k+1
    timeout_s: float = 1.0  # how long to wait for one echo
    gap_s: float = 0.1  # two echoes of one target are never sent closer together
    rate_pps: float = 0.0  # packets a second at most, all targets together; 0: no limit
    budget_s: float | None = None  # the sweep ends by then; the rest becomes LOCAL_FAULT
    allowed: Callable[[str], bool] = anywhere  # asked again when a socket is about to be used

    def __post_init__(self) -> None:
        if self.echoes < 1:
            raise ValueError(f"echoes must be at least 1, got {self.echoes}")
        if not 0 < self.timeout_s < 3600:
            raise ValueError(f"timeout_s must be above 0 and below an hour, got {self.timeout_s}")
        if not 0 <= self.gap_s < 3600:
            raise ValueError(f"gap_s must be 0 to an hour, got {self.gap_s}")
        if not 0 <= self.rate_pps < float("inf"):
            raise ValueError(f"rate_pps must be 0 (no limit) or more, got {self.rate_pps}")
        if self.budget_s is not None and not 0 <= self.budget_s < 86400:
            raise ValueError(f"budget_s must be 0 to a day, got {self.budget_s}")


Heard = Callable[[int, int, Echo], None]
"""Called with (position of the target, number of the echo from 0, the echo) as each echo ends."""
