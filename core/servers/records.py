"""Servers as people want them and as lists answer: each record, and how each field is read.

Every refusal is a WrongRequest that says what is wrong with which part.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from msgspec import UNSET, Meta, UnsetType

from core.checks.records import Port, Probe, State
from core.errors import CoreError, WrongRequest
from core.reading import (
    NAME_LENGTH,
    NAME_PATTERN,
    TAG_LENGTH,
    Record,
    Request,
    Words,
    kept_name,
    plain_text,
)
from core.settings import INTERVAL_S, INTERVALS_S, TRUTHS

PROBES = frozenset(Probe)
RIGHT_IP = "an IPv4 address such as 192.0.2.10"
LIMIT = 10_000
"""Servers at once."""
MOST_TAGS = 20
RIGHT_TAG = f"1 to {TAG_LENGTH} of a-z, 0-9, . _ and -"


# How a field is read: a value as JSON has it


def server_name(value: object) -> str:
    """Return `value` as a server may be called, also one from before: trimmed, 1 to 255 characters.

    Raises WrongRequest.
    """
    return plain_text(value, "name", NAME_LENGTH)


def new_name(name: str) -> str:
    """Return the name under which a new server is kept. Raises WrongRequest with the field."""
    try:
        return kept_name(name, "name", NAME_LENGTH)
    except WrongRequest as error:
        raise error.at("name") from None


def is_ip(text: str) -> bool:
    """Whether `text` is dotted-quad IPv4.

    `ipaddress` refuses leading zeros, short forms and everything inet_aton would take (RFC 6943).
    """
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def server_ip(value: object) -> str:
    """Return `value`, which is dotted-quad IPv4, as it is: never trimmed, never guessed at."""
    # IPv4Address would take a number.
    if not isinstance(value, str) or not is_ip(value):
        raise WrongRequest(f"ip must be {RIGHT_IP}", got=value)
    return value


def _probe(value: object) -> Probe:
    if not isinstance(value, str) or value not in PROBES:
        raise WrongRequest("probe must be auto, icmp or tcp", got=value)
    return Probe(value)


def _whole(value: object) -> int | None:
    # In JSON 443.0 is the integer 443 (JSON Schema 2020-12, 4.2.3), and true is none.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def server_port(value: object) -> int | None:
    """Return `value` as a port; null says that none is set. Raises WrongRequest."""
    number = _whole(value)
    if value is not None and (number is None or not 1 <= number <= 65_535):
        raise WrongRequest("port must be 1 to 65535", got=value)
    return number


def server_interval_s(value: object) -> int:
    """Return `value` as an interval: seconds that make whole minutes and divide a day."""
    number = _whole(value)
    if number not in INTERVALS_S:
        raise WrongRequest(f"interval_s must be {INTERVAL_S.right}", got=value)
    return number


def _enabled(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongRequest("enabled must be yes or no (true or false)", got=value)
    return value


def server_tags(value: object) -> tuple[str, ...]:
    """Return the tags that `value` lists: in lower case, each once, sorted. Raises WrongRequest."""
    if not isinstance(value, list | tuple):
        raise WrongRequest("tags must be a list of texts", got=value)
    if len(value) > MOST_TAGS:
        raise WrongRequest(f"tags must be at most {MOST_TAGS}, got {len(value):,}")
    return tuple(sorted({_tag(one) for one in value}))


def _tag(value: object) -> str:
    # Looked at before it is lower-cased: the sign for Kelvin would become a k.
    if not isinstance(value, str) or not re.fullmatch(TAG_CHARACTERS, value):
        raise WrongRequest(f"tags must each be {RIGHT_TAG}", got=value)
    return value.lower()


TAG_CHARACTERS = f"[A-Za-z0-9._-]{{1,{TAG_LENGTH}}}"


def server_parent(value: object) -> str | None:
    """Return `value` as a parent's name; null says that there is none. Raises WrongRequest."""
    return None if value is None else plain_text(value, "parent", NAME_LENGTH)


def _number_in(cell: str) -> int | str:
    return int(cell) if re.fullmatch("[0-9]{1,9}", cell) else cell


def _truth_in(cell: str) -> bool | str:
    return TRUTHS.get(cell.lower(), cell)


class Field(NamedTuple):
    """A field of a server as wanted: a column of its `table`, or rows of it.

    `read` takes a value as JSON has it and raises WrongRequest; `in_cell` makes such a value of a
    cell of CSV, or leaves it to `read` to refuse. Lists may call it by other `names`, too.
    `default` is that of a new server; the interval's is a setting.
    """

    name: str
    read: Callable[[object], object]
    in_cell: Callable[[str], object] = str
    names: Sequence[str] = ()
    default: object = None
    table: Literal["server", "schedule", "tag", "parent"] = "server"

    def checked(self, value: object) -> object:
        """Return what `value` says. Raises WrongRequest with the field."""
        try:
            return self.read(value)
        except WrongRequest as error:
            raise error.at(self.name) from None


FIELDS = (
    Field("name", server_name, names=["server"]),
    Field("ip", server_ip, names=["address", "host"]),
    Field("probe", _probe, str.lower, default=Probe.AUTO),
    Field("port", server_port, _number_in),
    Field("interval_s", server_interval_s, _number_in, table="schedule"),
    Field("enabled", _enabled, _truth_in, default=True, table="schedule"),
    Field("tags", server_tags, str.split, default=(), table="tag"),
    Field("parent", server_parent, table="parent"),
)
"""What can be said of a server. A new one is a line here, and one in ServerChange."""
BY_NAME = {field.name: field for field in FIELDS}
KNOWN = ", ".join(BY_NAME)


# What comes in


Name = Annotated[
    str,
    Meta(
        description="Kept in NFC. A new one must not hold what nobody sees (U+202E, U+200B, ...)",
        min_length=1,
        max_length=NAME_LENGTH,
        pattern=NAME_PATTERN,
    ),
]
Ip = Annotated[
    str,
    Meta(
        description="A dotted-quad IPv4 address that this deployment may probe",
        examples=["192.0.2.10"],
        extra_json_schema={"format": "ipv4"},
        extra={"right": RIGHT_IP},
    ),
]
Interval = Annotated[
    int,
    Meta(
        description="Whole minutes that divide a day, in seconds",
        extra_json_schema={"enum": list(INTERVALS_S)},
        extra={"right": INTERVAL_S.right},
    ),
]
Tag = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=TAG_LENGTH,
        pattern=rf"^{TAG_CHARACTERS}$(?!\n)",
        extra={"right": RIGHT_TAG},
    ),
]
Tags = Annotated[
    tuple[Tag, ...],
    Meta(description="Words that group servers, kept in lower case", max_length=MOST_TAGS),
]
ParentName = Annotated[
    Name, Meta(description="The server behind which this one stands, such as its switch")
]


class ServerChange(Request, frozen=True):
    """What to change of a server; what is left out stays.

    `tags` are all that it has from then on. A `port` or a `parent` of null removes it.
    """

    needed: ClassVar[Sequence[str]] = ()

    name: Name | UnsetType = UNSET
    ip: Ip | UnsetType = UNSET
    probe: Probe | UnsetType = UNSET
    port: Port | UnsetType | None = UNSET
    interval_s: Interval | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    parent: ParentName | UnsetType | None = UNSET

    @classmethod
    def of(cls, value: object) -> Self:
        """Read an object as JSON gave it. Raises WrongRequest with the field."""
        if not isinstance(value, dict):
            raise WrongRequest("a server must be an object with name and ip", got=value)
        for key in value:
            if key not in BY_NAME:
                raise WrongRequest(f"unknown field {{}}; known fields: {KNOWN}", key, got=key)
        return cls.saying(value)

    @classmethod
    def saying(cls, words: Mapping[str, object]) -> Self:
        """Read what is said of a server, by its fields' names. Raises WrongRequest with one."""
        for name in cls.needed:
            if name not in words:
                raise WrongRequest(f"{name} is missing", name)
        read: dict[str, Any] = {name: BY_NAME[name].checked(value) for name, value in words.items()}
        return cls(**read)

    def said(self) -> dict[str, Any]:
        """Return what is said, by the fields' names."""
        return {name: value for name in BY_NAME if (value := getattr(self, name)) is not UNSET}


class BulkServer(ServerChange, frozen=True):
    """A server of many: what is left out is the default, or stays where the server exists."""

    needed: ClassVar[Sequence[str]] = ("name", "ip")

    name: Name
    ip: Ip


class ServerWanted(BulkServer, frozen=True):
    """A server to add."""

    probe: Probe = Probe.AUTO
    port: Port | None = None
    enabled: bool = True
    tags: Tags = ()
    parent: ParentName | None = None


class Bulk(Request, frozen=True):
    """Servers to add, or with `upsert` to add or change by name: each on its own.

    Each is `{"name": ..., "ip": ...}`, with `probe`, `port`, `interval_s`, `enabled`, `tags` and
    `parent` if wanted; a parent may come later in the list.
    """

    servers: Annotated[list[dict[str, Any]], Meta(max_length=LIMIT)]
    upsert: bool = False


class BulkQuery(Request, frozen=True):
    """With `upsert`, servers of a name that exists are changed. JSON says it in its body."""

    upsert: bool = False


class Sort(StrEnum):
    """In which order servers are listed; a minus reverses it."""

    ADDED = "added"
    ADDED_LAST = "-added"
    NAME = "name"
    NAME_LAST = "-name"
    STATE = "state"  # the worst first
    STATE_LAST = "-state"
    RESPONSE = "response_ms"  # the fastest first, those without a time at the end
    RESPONSE_LAST = "-response_ms"


class FleetQuery(Request, frozen=True):
    """Which servers: `search` looks into names and addresses, `name` is exact, so is `tag`.

    `sort=state` begins with the worst; a `-` before it turns an order around. `enabled` and `new`
    tell apart why servers are unobserved.
    """

    search: Words = ""
    name: Words = ""
    tag: Words = ""
    state: State | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    new: bool | UnsetType = UNSET
    sort: Sort = Sort.ADDED
    after: Words = ""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


# What goes out


class BulkItem(Record, frozen=True, omit_defaults=True):
    """What became of each, in their order: CREATED, UPDATED, UNCHANGED or an error's word."""

    status: str
    id: int | None = None
    detail: str | None = None
    field: str | None = None

    @classmethod
    def refused(cls, error: CoreError, field: str | None = None) -> Self:
        """Return what became of one that is refused for `error`, which may know the field."""
        at = field or getattr(error, "field", None)
        return cls(status=error.status, detail=str(error), field=at)


class BulkDone(Record, frozen=True):
    """A result for each server of the request."""

    results: list[BulkItem]


class ListItem(BulkItem, frozen=True, omit_defaults=True):
    """What became of a server of a list; where it wasn't saved also where it stands and how.

    `place` is `line 3` of CSV, `server 3` of JSON; `text` is what stands there.
    """

    place: str | None = None
    text: str | None = None


class ListDone(Record, frozen=True):
    """A result for each server of a list."""

    results: list[ListItem]


class Removed(Record, frozen=True):
    """A server is deleted; `children` are those whose parent it was, which have none now."""

    status: str
    children: int


class LastPing(Record, frozen=True):
    """A server's newest ping."""

    slot: datetime
    response_ms: float | None
    sent: int
    received: int


class Standing(Record, frozen=True):
    """A server and how it stands: a line of the list with state.

    `interval_s` and `enabled` are those of the schedule in force, or of the first one where a clock
    that was ahead has it begin later. `new` says that nobody had to look yet: it was never pinged,
    and its schedule is younger than two intervals.
    """

    id: int
    name: str
    ip: str
    probe: Probe
    port: int | None
    added: datetime
    interval_s: int
    enabled: bool
    tags: Sequence[str]
    parent: str | None
    state: State
    new: bool
    last_ping: LastPing | None


@dataclass(frozen=True, slots=True)
class FleetPage:
    """A page of servers in the order wanted.

    `cursors` are their places: as `after` in a request, one asks for what follows it. `more` says
    that something follows the last. `totals` counts the states of all servers that search, name
    and tag find, on whatever page; of the unobserved ones, `paused` are not to be looked at, and
    `new` were not to be yet. `last_round` is the newest slot of any server.
    """

    servers: Sequence[Standing]
    cursors: Sequence[str]
    more: bool
    totals: Mapping[State, int]
    paused: int
    new: int
    last_round: datetime | None

    @property
    def next(self) -> str | None:
        """The `after` that asks for the page that follows, if one does."""
        return self.cursors[-1] if self.more else None
