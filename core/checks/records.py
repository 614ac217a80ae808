"""What a check asks and finds: targets, pings, states."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Self, TypedDict

from msgspec import Meta, Struct


class State(StrEnum):
    """What a slot says about a server. UNOBSERVED: we didn't look, or couldn't."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNOBSERVED = "unobserved"

    @classmethod
    def of(cls, sent: int, received: int) -> Self:
        """Return the state that so many echoes sent and received add up to; `sent` is 1 or more."""
        if received == 0:
            return cls.DOWN
        return cls.UP if received == sent else cls.DEGRADED


class Probe(StrEnum):
    """How a server is probed."""

    AUTO = "auto"
    ICMP = "icmp"
    TCP = "tcp"


class Reason(StrEnum):
    """Why a ping isn't up, or why there is none: a code for programs; `detail` is for people."""

    # What the server, or the way to it, did.
    TIMEOUT = "timeout"  # nothing came back in time
    UNREACHABLE = "unreachable"  # an ICMP error came back
    REFUSED = "refused"  # the host is there, the service that was asked for is not
    # What we did or couldn't do: nobody looked.
    LOCAL = "local"  # an echo couldn't be sent or heard from here
    NOT_ALLOWED = "not_allowed"  # the address may not be probed from here
    NO_ICMP = "no_icmp"  # ICMP can't be used from here
    NO_PORT = "no_port"  # nothing answered on any port that was tried, and none is set
    OUR_NETWORK = "our_network"  # no witness answered: we can't see
    OUT_OF_TIME = "out_of_time"  # the round was over before this could be measured


def quantised_ms(response_ms: float) -> float:
    """Round to what is kept: 0.01 ms up to 100 ms, then four significant digits (0.1 % or less).

    Done once, when a ping is recorded, so raw and packed history agree to the last digit.
    """
    digits = 2
    bound = 100.0
    while response_ms >= bound:
        digits, bound = digits - 1, bound * 10
    return round(response_ms, digits)


class FiguresMs(TypedDict):
    """What a ping says of times: their mean, the best and the worst of them; None without any."""

    response_ms: float | None
    best_ms: float | None
    worst_ms: float | None


def figures_ms(times: Sequence[float]) -> FiguresMs:
    """Return what the times that came back add up to, in ms, quantised."""
    if not times:
        return FiguresMs(response_ms=None, best_ms=None, worst_ms=None)
    return FiguresMs(
        response_ms=quantised_ms(sum(times) / len(times)),
        best_ms=quantised_ms(min(times)),
        worst_ms=quantised_ms(max(times)),
    )


ServerId = Annotated[int, Meta(ge=1, le=2**63 - 1)]  # a signed 64-bit column holds it
Port = Annotated[int, Meta(ge=1, le=65_535)]
Ms = Annotated[float, Meta(ge=0, lt=3_600_000)]  # an hour: no time-out lets an echo take longer
Sent = Annotated[int, Meta(ge=1, le=1_000)]  # more echoes in one ping are nobody's measurement
Received = Annotated[int, Meta(ge=0, le=1_000)]
Revision = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""Of a server: it rises when what is looked at, or how, is changed."""
ReasonCode = Annotated[str, Meta(pattern="^[a-z_]{1,16}$")]
"""One of Reason, or of a later release's: messages of both meet during a deploy."""


class Target(Struct, frozen=True, array_like=True):
    """A server as a round needs it: no name, no history."""

    server_id: ServerId
    ip: str
    probe: Probe = Probe.AUTO
    port: Port | None = None
    last_port: Port | None = None
    revision: Revision = 0

    @property
    def is_service(self) -> bool:
        """Whether a service was asked for, not a host: a TCP port that somebody set."""
        return self.probe is Probe.TCP and self.port is not None


class Ping(Struct, frozen=True, array_like=True):
    """What one server's echoes of one round add up to; the times in ms, quantised.

    `response_ms` is the mean of the answered echoes, None where none came back.
    `ip` is the address that was pinged, `revision` the target's: a ping is recorded only while the
    server still has both.
    `reason` says why it isn't up, `detail` the same for people; None and nothing where it is.
    """

    server_id: ServerId
    ip: str
    sent: Sent
    received: Received
    response_ms: Ms | None
    best_ms: Ms | None
    worst_ms: Ms | None
    probe: Probe
    port: Port | None = None
    reason: ReasonCode | None = None
    detail: str = ""
    revision: Revision = 0

    @property
    def state(self) -> State:
        """What this ping says of its server."""
        return State.of(self.sent, self.received)


class Unobserved(Struct, frozen=True, array_like=True):
    """A target we couldn't observe, and why. Leaves no row: it says nothing about the server.

    `revision` is the target's: it is recorded only while the server still has it.
    """

    server_id: ServerId
    detail: str
    reason: ReasonCode = Reason.LOCAL
    revision: Revision = 0


class EchoShown(Struct, frozen=True, kw_only=True):
    """One echo of a ping on demand."""

    verdict: str
    rtt_ms: float | None
    clock: str | None
    bound_ms: float | None
    reason: str


class PingNow(Struct, frozen=True, kw_only=True):
    """The echoes of a ping on demand; nothing is stored.

    `reason` and `detail` say why it isn't up, or why we couldn't observe it.
    """

    state: State
    probe: Probe | None
    response_ms: float | None
    port: int | None
    echoes: list[EchoShown]
    reason: ReasonCode | None
    detail: str | None
