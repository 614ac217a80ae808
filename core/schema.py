"""What crosses a border, as frozen data: requests parsed once, targets, pings.

Behind the border nothing is checked again. Every refusal is a WrongRequest that says what is
wrong with which part.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, NoReturn, Self, TypedDict

from msgspec import Meta, Struct

from core.errors import WrongRequest

SLOT = timedelta(minutes=1)
AHEAD = timedelta(minutes=5)
"""How far ahead of ours a clock may be. What lies further in the future was told by a clock that
was wrong, and would look fresh for ever."""
NAME_LENGTH = 255
USER_NAME_LENGTH = 64
PASSWORD_LENGTH = (8, 256)
DAY_MINUTES = 1_440
INTERVALS_S = tuple(60 * minutes for minutes in range(1, 1_441) if DAY_MINUTES % minutes == 0)
"""How often a server can be pinged: whole minutes that divide a day."""
PAGE = 1_440
PAGE_LIMIT = 10_000
SERVER_SHAPE = 'expected {"server": {"name": "text", "IP": "dotted quad"}}'
NAME_SHAPE = 'expected {"server": "name"}'


class State(StrEnum):
    """What a slot says of a server. UNOBSERVED: we didn't look, or couldn't."""

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


@dataclass(frozen=True, slots=True)
class Last:
    """A server's newest ping and the schedule in force: what its state now is derived from."""

    slot: datetime | None
    sent: int | None
    received: int | None
    interval_s: int | None
    enabled: bool | None

    def state(self, now: datetime) -> State:
        """Return the state at `now`.

        A newest ping older than two intervals says nothing about now, nor does one of the future,
        recorded while the clock was wrong; of a paused server, or one whose schedule is yet to
        begin, we say nothing either: nobody looks.
        """
        if self.slot is None or not self.enabled or self.interval_s is None:
            return State.UNOBSERVED
        if not now - timedelta(seconds=2 * self.interval_s) <= self.slot <= now + AHEAD:
            return State.UNOBSERVED
        return State.of(self.sent or 0, self.received or 0)


class Probe(StrEnum):
    """How a server is to be probed."""

    AUTO = "auto"
    ICMP = "icmp"
    TCP = "tcp"


def read_json(body: bytes) -> object:
    """Parse strict JSON: UTF-8 only, no duplicate keys, no NaN, no infinity, no lone surrogates.

    The Content-Type plays no part. Source: RFC 8259, sections 4, 6, 8. Raises WrongRequest.
    """
    try:
        parsed: object = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        # What came as \ud800 can't be sent on, printed or stored.
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise WrongRequest(f"the body is not the JSON we read: {error}") from None
    return parsed


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return unique


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def plain_text(value: object, what: str, length: int) -> str:
    """Return `value` trimmed, if it is text of 1 to `length` characters, all of them printable.

    Control characters are looked for before trimming, which would hide them at the ends.
    Raises WrongRequest; `what` is the subject of its sentence.
    """
    if not isinstance(value, str):
        raise WrongRequest(f"{what} is text")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise WrongRequest(f"{what} holds no control characters and no lone surrogates")
    text = value.strip()
    if not 1 <= len(text) <= length:
        raise WrongRequest(f"{what} has 1 to {length} characters")
    return text


def server_name(value: object) -> str:
    """Return `value` as a server's name: trimmed, 1 to 255 characters. Raises WrongRequest."""
    return plain_text(value, "a server's name", NAME_LENGTH)


def server_ip(value: object) -> str:
    """Return `value` as dotted-quad IPv4, as it was written. Never trimmed, never guessed at.

    `ipaddress` refuses leading zeros, short forms and everything inet_aton would take (RFC 6943).
    """
    if not isinstance(value, str):
        raise WrongRequest("IP is text: a dotted quad")
    try:
        return str(IPv4Address(value))
    except ValueError as error:
        raise WrongRequest(f"IP is a dotted-quad IPv4 address: {error}") from None


def _probe(value: object) -> Probe:
    if not isinstance(value, str) or value not in list(Probe):
        raise WrongRequest(f"probe is one of {', '.join(Probe)}")
    return Probe(value)


def _port(value: object) -> int:
    # bool is an int in Python, but true is no port.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65_535:
        raise WrongRequest("port is a whole number from 1 to 65535")
    return value


def interval_s(value: object) -> int:
    """Return `value` as an interval: seconds that make whole minutes and divide a day."""
    if not isinstance(value, int) or value < 60 or value % 60 or 86_400 % value:
        raise WrongRequest("interval_s is seconds that make whole minutes and divide a day")
    return value


def _object(body: object, shape: str) -> Mapping[str, object]:
    if not isinstance(body, dict):
        raise WrongRequest(shape)
    return body


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """A server as somebody wants it. `probe` and `port` are None where nothing was said of them."""

    name: str
    ip: str
    probe: Probe | None = None
    port: int | None = None

    @classmethod
    def parse(cls, body: object) -> Self:
        """Read `{"server": {"name": ..., "IP": ...}}`; `probe` and `port` are optional in it."""
        outer = _object(body, SERVER_SHAPE)
        if set(outer) != {"server"}:
            raise WrongRequest(SERVER_SHAPE)
        return cls.parse_inner(outer["server"])

    @classmethod
    def parse_inner(cls, body: object) -> Self:
        """Read `{"name": ..., "IP": ...}`: the same without its wrapping, as files hold it."""
        inner = _object(body, SERVER_SHAPE)
        if not {"name", "IP"} <= set(inner) <= {"name", "IP", "probe", "port"}:
            raise WrongRequest(
                f"{SERVER_SHAPE}; probe and port may stand beside them, nothing else"
            )
        return cls(
            name=server_name(inner["name"]),
            ip=server_ip(inner["IP"]),
            probe=_probe(inner["probe"]) if "probe" in inner else None,
            port=_port(inner["port"]) if "port" in inner else None,
        )


class Changes(TypedDict, total=False):
    """What somebody says of a server; what isn't in it stays, or is the default of a new one."""

    name: str
    ip: str
    probe: Probe
    port: int | None
    interval_s: int
    enabled: bool


class Sort(StrEnum):
    """In which order servers are listed; a minus turns it around."""

    ADDED = "added"
    ADDED_LAST = "-added"
    NAME = "name"
    NAME_LAST = "-name"
    STATE = "state"  # the worst first
    STATE_LAST = "-state"
    RESPONSE = "response_ms"  # the fastest first, those without a time at the end
    RESPONSE_LAST = "-response_ms"


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """Which servers, in which order, and from where on; `after` is what the page before gave.

    `search` is looked for in names and addresses, `name` is the whole name; empty: any.
    """

    search: str = ""
    name: str = ""
    state: State | None = None
    sort: Sort = Sort.ADDED
    after: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class FleetPage:
    """A page of servers, by id, in the order wanted.

    `cursors` are their places: as `after` in a request, one asks for what follows it. `more` says
    that something follows the last. `totals` counts the states of all servers that search and name
    find, on whatever page; `last_round` is the newest slot of any server.
    """

    ids: Sequence[int]
    cursors: Sequence[str]
    more: bool
    totals: Mapping[State, int]
    last_round: datetime | None

    @property
    def after(self) -> str | None:
        """What asks for the page that follows, if one does."""
        return self.cursors[-1] if self.more else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one server of many: CREATED, UPDATED, UNCHANGED or an error's word."""

    status: str
    server_id: int | None = None
    detail: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class NameRequest:
    """A request that only names a server."""

    name: str

    @classmethod
    def parse(cls, body: object) -> Self:
        """Read `{"server": "name"}`, exactly."""
        outer = _object(body, NAME_SHAPE)
        if set(outer) != {"server"}:
            raise WrongRequest(NAME_SHAPE)
        return cls(server_name(outer["server"]))


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Which pings of which server: slots in [since, until), `limit` of them at most.

    Without `since` the newest, with it the first ones from there; oldest first either way.
    """

    name: str
    since: datetime | None = None
    until: datetime | None = None
    limit: int = PAGE

    @classmethod
    def parse(cls, body: bytes, query: Mapping[str, Sequence[str]]) -> Self | None:
        """Read a GET: the server from `body` or `query`, the rest from `query`.

        None when neither names a server, which asks for the list. Raises WrongRequest.
        """
        words = _once_each(query, {"server", "since", "until", "limit"})
        named = [server_name(words["server"])] if "server" in words else []
        if body:
            named.append(NameRequest.parse(read_json(body)).name)
        if len(set(named)) > 1:
            raise WrongRequest("body and query name different servers")
        if not named:
            if words:
                raise WrongRequest(f"{', '.join(words)}: of which server? Add server=NAME")
            return None
        return cls(
            name=named[0],
            since=moment(words["since"], "since") if "since" in words else None,
            until=moment(words["until"], "until") if "until" in words else None,
            limit=_limit(words["limit"]) if "limit" in words else PAGE,
        )


def _once_each(query: Mapping[str, Sequence[str]], known: set[str]) -> dict[str, str]:
    unknown = set(query) - known
    if unknown:
        raise WrongRequest(f"the query holds {', '.join(sorted(known))}, nothing else")
    if any(len(values) != 1 for values in query.values()):
        raise WrongRequest("a parameter stands twice in the query")
    return {key: values[0] for key, values in query.items()}


def moment(text: str, field: str) -> datetime:
    """Read ISO 8601 (RFC 3339 and its common variants) as an aware UTC time; no zone means UTC."""
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            return parsed.replace(tzinfo=UTC)
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongRequest(f"{field} is a time such as 2018-01-02T07:01:00Z") from None


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= PAGE_LIMIT:
        raise WrongRequest(f"limit is a whole number from 1 to {PAGE_LIMIT}")
    return int(text)


def iso(slot: datetime) -> str:
    """Write an aware time as the contract does: `2018-01-02T07:01:00Z`, or with its fraction."""
    return slot.astimezone(UTC).isoformat().replace("+00:00", "Z")


def quantised_ms(response_ms: float) -> float:
    """Round to what is kept: 0.01 ms up to 100 ms, then four significant digits (0.1 % or less).

    Done once, when a ping is recorded, so raw and packed history agree to the last digit.
    """
    digits = 2
    bound = 100.0
    while response_ms >= bound:
        digits, bound = digits - 1, bound * 10
    return round(response_ms, digits)


ServerId = Annotated[int, Meta(ge=1, le=2**63 - 1)]  # a signed 64-bit column holds it
Port = Annotated[int, Meta(ge=1, le=65_535)]
Ms = Annotated[float, Meta(ge=0, lt=3_600_000)]  # an hour: no time-out lets an echo take longer
Sent = Annotated[int, Meta(ge=1, le=1_000)]  # more echoes in one ping are nobody's measurement
Received = Annotated[int, Meta(ge=0, le=1_000)]


# What follows also crosses the queues, as JSON lists in the order of the fields: so a new field
# goes to the end and has a default. The bounds hold where a message is read, and nowhere else.


class Target(Struct, frozen=True, array_like=True):
    """A server as a round needs it: no name, no history."""

    server_id: ServerId
    ip: str
    probe: Probe = Probe.AUTO
    port: Port | None = None
    last_port: Port | None = None


class Ping(Struct, frozen=True, array_like=True):
    """What one server's echoes of one round add up to; the times in ms, quantised.

    `response_ms` is the mean of the answered echoes, None where none came back.
    `ip` is the address that was pinged: a ping is recorded only while the server still has it.
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

    @property
    def state(self) -> State:
        """What this ping says of its server."""
        return State.of(self.sent, self.received)


class Unobserved(Struct, frozen=True, array_like=True):
    """A target we couldn't observe, and why. Leaves no row: it says nothing about the server."""

    server_id: ServerId
    reason: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many slots of a window were in which state.

    `up + degraded + down + unobserved` is what was due; with `not_due` every slot is counted.
    """

    up: int = 0
    degraded: int = 0
    down: int = 0
    unobserved: int = 0
    not_due: int = 0

    @property
    def observed(self) -> int:
        """Slots that hold a ping."""
        return self.up + self.degraded + self.down

    @property
    def due(self) -> int:
        """Slots in which a ping was to be made, or was made."""
        return self.observed + self.unobserved

    @property
    def uptime(self) -> float | None:
        """(up + degraded) / observed, 0 to 1; None where nothing was observed."""
        return (self.up + self.degraded) / self.observed if self.observed else None

    @property
    def coverage(self) -> float | None:
        """Observed / due, 0 to 1; None where nothing was due."""
        return self.observed / self.due if self.due else None

    @property
    def worst(self) -> State | None:
        """What they add up to: down if any is, else degraded if any is, else what prevails.

        None where nothing was due.
        """
        if self.down:
            return State.DOWN
        if self.degraded:
            return State.DEGRADED
        if self.unobserved > self.up:
            return State.UNOBSERVED  # one minute seen doesn't speak for twenty unseen ones
        return State.UP if self.up else None


@dataclass(frozen=True, slots=True)
class Figures:
    """What the pings of a window add up to; every time in ms, None where no echo was timed.

    `best_ms` and `worst_ms` are single echoes; mean and percentiles are taken over the slots'
    means: each slot weighs the same. A percentile is a value that occurred (nearest rank: the
    smallest that at least so many percent of the slots don't exceed).
    """

    counts: Counts
    sent: int
    received: int
    best_ms: float | None
    worst_ms: float | None
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @property
    def lost(self) -> int:
        """Echoes that didn't come back."""
        return self.sent - self.received

    @property
    def lost_share(self) -> float | None:
        """Lost / sent, 0 to 1; None where nothing was sent."""
        return self.lost / self.sent if self.sent else None


@dataclass(frozen=True, slots=True)
class Bucket(Figures):
    """One point of a series: the slots in [since, until)."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Summary(Figures):
    """One server's window [since, until) in figures."""

    since: datetime
    until: datetime

    @property
    def uptime(self) -> float | None:
        """(up + degraded) / observed, 0 to 1; None where nothing was observed."""
        return self.counts.uptime

    @property
    def coverage(self) -> float | None:
        """Observed / due, 0 to 1; None where nothing was due."""
        return self.counts.coverage


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A line of the list: a server, its state now, and its last 24 hours.

    A paused server (`enabled` False) is unobserved: nobody looks. `interval_s` and `enabled` are
    those of the schedule in force. The `last_*` are its newest ping's, all None before the first.
    `counts` are the 24 hours up to the current slot, `strip` the same in 48 half hours, oldest
    first, and `means_ms` the mean of the slots' means in each.
    """

    server_id: int
    name: str
    ip: str
    probe: Probe
    port: int | None
    added: datetime
    interval_s: int
    enabled: bool
    state: State
    last_slot: datetime | None
    last_ms: float | None
    last_sent: int | None
    last_received: int | None
    since: datetime
    counts: Counts
    strip: Sequence[Counts]
    means_ms: Sequence[float | None]

    @property
    def uptime(self) -> float | None:
        """Of the 24 hours: (up + degraded) / observed; None where nothing was observed."""
        return self.counts.uptime

    @property
    def coverage(self) -> float | None:
        """Of the 24 hours: observed / due; None where nothing was due."""
        return self.counts.coverage
