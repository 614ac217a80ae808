"""The JSON of /api/v1 as types: they validate what comes in and generate openapi.json."""

from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

from core.accounts import Kind, Role, Scope
from core.errors import WrongRequest
from core.schema import Probe, State, read_json

UserName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="No colon in it")]
Password = Annotated[str, msgspec.Meta(min_length=8, max_length=256)]
Shape = TypeVar("Shape")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What comes in: a key we don't know is refused, it may be a typing error."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out."""


class LogIn(Request, frozen=True):
    """A name and its password."""

    name: str
    password: str


class Refresh(Request, frozen=True):
    """A refresh token, to be traded."""

    refresh: str


class TokenWanted(Request, frozen=True):
    """A named token for a script."""

    name: UserName
    scope: Scope = Scope.READ
    expires_in_s: Annotated[int, msgspec.Meta(ge=60, le=5 * 365 * 86_400)] = 365 * 86_400


class UserWanted(Request, frozen=True):
    """A user to add."""

    name: UserName
    password: Password
    role: Role = Role.VIEWER


class UserChange(Request, frozen=True):
    """What to change of a user; what is left out stays."""

    password: Password | None = None
    role: Role | None = None
    enabled: bool | None = None


class PasswordChange(Request, frozen=True):
    """A user's own new password."""

    old: str
    new: Password


class TokenIssued(Reply, frozen=True):
    """A token as it is shown this once."""

    id: int
    token: str
    kind: Kind
    scope: Scope
    expires: datetime


class TokenPair(Reply, frozen=True):
    """What a log-in gets: the refresh token buys the next pair, once."""

    access: str
    refresh: str
    expires_in_s: int


class TokenListed(Reply, frozen=True):
    """A token that works, without itself."""

    id: int
    name: str
    kind: Kind
    scope: Scope
    created: datetime
    expires: datetime
    last_used: datetime | None


class UserListed(Reply, frozen=True):
    """A user."""

    id: int
    name: str
    role: Role
    enabled: bool
    created: datetime


class Me(Reply, frozen=True):
    """Who is asking, and what they may do."""

    name: str
    may: str
    open: bool


# Servers


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Ip = Annotated[str, msgspec.Meta(description="Dotted-quad IPv4", examples=["192.0.2.10"])]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Interval = Annotated[int, msgspec.Meta(ge=60, le=86_400, multiple_of=60)]


class ServerWanted(Request, frozen=True):
    """A server to add."""

    name: Name
    ip: Ip
    probe: Probe = Probe.AUTO
    port: Port | None = None
    interval_s: Interval | None = None
    enabled: bool = True


class ServerChange(Request, frozen=True):
    """What to change of a server; what is left out stays. `port` null: none is set any more."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    ip: Ip | msgspec.UnsetType = msgspec.UNSET
    probe: Probe | msgspec.UnsetType = msgspec.UNSET
    port: Port | msgspec.UnsetType | None = msgspec.UNSET
    interval_s: Interval | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class Bulk(Request, frozen=True):
    """Servers to add, or with `upsert` to add or change by name: each on its own."""

    servers: Annotated[list[dict[str, object]], msgspec.Meta(max_length=10_000)]
    upsert: bool = False


class BulkItem(Reply, frozen=True):
    """What became of one of them: CREATED, UPDATED, UNCHANGED or an error's word."""

    status: str
    id: int | None = None
    detail: str | None = None
    field: str | None = None


class BulkDone(Reply, frozen=True):
    """A result for each server of the request."""

    results: list[BulkItem]


class CountsShown(Reply, frozen=True):
    """Slots by state; the first four add up to `due`."""

    up: int
    degraded: int
    down: int
    unobserved: int
    due: int


class LastPing(Reply, frozen=True):
    """A server's newest ping."""

    slot: datetime
    response_ms: float | None
    sent: int
    received: int


class ServerShown(Reply, frozen=True):
    """A server with its state now and its last 24 hours.

    `strip` is 48 half hours, oldest first: the worst state in each, null where nothing was due;
    `means_ms` the mean round trip in each, null where no echo was timed.
    """

    id: int
    name: str
    ip: str
    probe: Probe
    port: int | None
    added: datetime
    interval_s: int
    enabled: bool
    state: State
    last_ping: LastPing | None
    uptime: float | None
    coverage: float | None
    counts: CountsShown
    strip: list[State | None]
    means_ms: list[float | None]


class ServerPage(Reply, frozen=True):
    """Servers in order of creation. `next`: the `after` of the page that follows."""

    servers: list[ServerShown]
    totals: dict[State, int]
    last_round: datetime | None
    next: str | None


# History


class PingShown(Reply, frozen=True):
    """One slot's ping."""

    slot: datetime
    state: State
    response_ms: float | None
    best_ms: float | None
    worst_ms: float | None
    sent: int
    received: int


class PingPage(Reply, frozen=True):
    """Pings, oldest first, and the links to the pages beside."""

    pings: list[PingShown]
    prev: str | None
    next: str | None


class BucketShown(Reply, frozen=True):
    """The slots in [since, until)."""

    since: datetime
    until: datetime
    counts: CountsShown
    sent: int
    received: int
    best_ms: float | None
    worst_ms: float | None
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None


class Series(Reply, frozen=True):
    """A window in buckets, oldest first."""

    since: datetime
    until: datetime
    buckets: list[BucketShown]


class SummaryShown(Reply, frozen=True):
    """A window in figures. Never read `uptime` without `coverage`."""

    since: datetime
    until: datetime
    counts: CountsShown
    uptime: float | None
    coverage: float | None
    sent: int
    received: int
    lost_share: float | None
    best_ms: float | None
    worst_ms: float | None
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class EchoShown(Reply, frozen=True):
    """One echo of a ping that was asked for."""

    verdict: str
    rtt_ms: float | None
    clock: str | None
    bound_ms: float | None
    reason: str


class PingNow(Reply, frozen=True):
    """The echoes of a ping that was asked for; nothing is stored."""

    state: State
    response_ms: float | None
    port: int | None
    echoes: list[EchoShown]
    reason: str | None


class Health(Reply, frozen=True):
    """Whether this instance works: its database, and how old the newest round is."""

    status: str
    database: bool
    last_round_age_s: float | None


def parse(shape: type[Shape], body: bytes) -> Shape:
    """Read strict JSON into `shape`. Raises WrongRequest with the field that is wrong."""
    return convert(shape, read_json(body))


def convert(shape: type[Shape], value: object) -> Shape:
    """Make `value`, as JSON gave it, a `shape`. Raises WrongRequest with the field."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str` - at `$.port`"
        sentence, _, path = str(error).partition(" - at `$")
        raise WrongRequest(sentence, path.strip(".`") or None) from None
