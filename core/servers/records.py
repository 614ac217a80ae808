"""Servers as people want them, and as lists answer: requests parsed once.

Every refusal is a WrongRequest that says what is wrong with which part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Self, TypedDict

import msgspec

from core.checks.records import Probe, State
from core.errors import WrongRequest
from core.reading import NAME_LENGTH, NAME_PATTERN, plain_text

DAY_MINUTES = 1_440
INTERVALS_S = tuple(60 * minutes for minutes in range(1, 1_441) if DAY_MINUTES % minutes == 0)
"""How often a server can be pinged: whole minutes that divide a day."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH, pattern=NAME_PATTERN)]
Ip = Annotated[
    str,
    msgspec.Meta(
        description="Dotted-quad IPv4, one that this deployment may probe",
        examples=["192.0.2.10"],
        extra_json_schema={"format": "ipv4"},
    ),
]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Interval = Annotated[
    int,
    msgspec.Meta(
        description="Seconds that make whole minutes and divide a day",
        extra_json_schema={"enum": list(INTERVALS_S)},
    ),
]
SERVER_SHAPE = 'expected {"server": {"name": "text", "IP": "dotted quad"}}'
NAME_SHAPE = 'expected {"server": "name"}'


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


def probe_of(value: object) -> Probe:
    if not isinstance(value, str) or value not in list(Probe):
        raise WrongRequest(f"probe is one of {', '.join(Probe)}")
    return Probe(value)


def port_of(value: object) -> int:
    # bool is an int in Python, but true is no port.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65_535:
        raise WrongRequest("port is a whole number from 1 to 65535")
    return value


def interval_s(value: object) -> int:
    """Return `value` as an interval: seconds that make whole minutes and divide a day."""
    if not isinstance(value, int) or value < 60 or value % 60 or 86_400 % value:
        raise WrongRequest("interval_s is seconds that make whole minutes and divide a day")
    return value


def json_object(body: object, shape: str) -> Mapping[str, object]:
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
        outer = json_object(body, SERVER_SHAPE)
        if set(outer) != {"server"}:
            raise WrongRequest(SERVER_SHAPE)
        return cls.parse_inner(outer["server"])

    @classmethod
    def parse_inner(cls, body: object) -> Self:
        """Read `{"name": ..., "IP": ...}`: the same without its wrapping, as files hold it."""
        inner = json_object(body, SERVER_SHAPE)
        if not {"name", "IP"} <= set(inner) <= {"name", "IP", "probe", "port"}:
            raise WrongRequest(
                f"{SERVER_SHAPE}; probe and port may stand beside them, nothing else"
            )
        return cls(
            name=server_name(inner["name"]),
            ip=server_ip(inner["IP"]),
            probe=probe_of(inner["probe"]) if "probe" in inner else None,
            port=port_of(inner["port"]) if "port" in inner else None,
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
        outer = json_object(body, NAME_SHAPE)
        if set(outer) != {"server"}:
            raise WrongRequest(NAME_SHAPE)
        return cls(server_name(outer["server"]))
