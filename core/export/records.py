"""Servers, days and pings as they go from one database to another: as they are in JSON."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Literal, NamedTuple

import msgspec

from core.checks.records import Port, Probe
from core.reading import Record, Request, Words
from core.servers.records import Interval, Ip, Name, Tags

Form = Literal["json", "csv"]
Ms = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)] | None
Echoes = Annotated[int, msgspec.Meta(ge=0, le=1_000)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Minute = Annotated[int, msgspec.Meta(ge=0, le=1_439)]


class ExportQuery(Request, frozen=True):
    """`after` is the `next` of the previous page; without `format` Accept decides."""

    format: Form | msgspec.UnsetType = msgspec.UNSET
    after: Words = ""


class ImportQuery(Request, frozen=True):
    """Without `format` the Content-Type decides."""

    format: Form | msgspec.UnsetType = msgspec.UNSET


class LastPingKept(Request, frozen=True):
    """A server's newest ping."""

    slot: Time
    response_ms: Ms
    sent: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    received: Echoes


class PlannedKept(Request, frozen=True):
    """From `since` on the server was due every `interval_s`, or paused."""

    since: Time
    interval_s: Interval
    enabled: bool


class ServerKept(Request, frozen=True):
    """A server with its schedule."""

    name: Name
    ip: Ip
    added: Time
    probe: Probe = Probe.AUTO
    port: Port | None = None
    last_port: Port | None = None
    tags: Tags = ()
    last_ping: LastPingKept | None = None
    schedule: list[PlannedKept] = []


APART = ("tags", "last_ping", "schedule")
PLAIN = [name for name in ServerKept.__struct_fields__ if name not in APART]
"""The fields of a server that are kept as its table has them."""


class ParentKept(Request, frozen=True):
    """Behind which server one stands: apart, as the parent may be on a later page than it."""

    server: Name
    parent: Name


class DayKept(Request, frozen=True):
    """The pings of one server's UTC day.

    A row is: minute of the day, mean, best, worst (ms, null: no time), echoes sent, received.
    """

    server: Name
    date: date
    pings: Sequence[tuple[Minute, Ms, Ms, Ms, Echoes, Echoes]]


class Exported(Request, frozen=True):
    """A page of everything: servers first, then their parents, then their days.

    `next`: the `after` that follows.
    """

    servers: list[ServerKept] = []
    parents: list[ParentKept] = []
    days: list[DayKept] = []
    next: str | None = None


class Imported(Record, frozen=True):
    """How many servers, schedule rows and pings weren't here before."""

    servers: int
    schedules: int
    pings: int

    def __add__(self, other: "Imported") -> "Imported":
        return Imported(
            servers=self.servers + other.servers,
            schedules=self.schedules + other.schedules,
            pings=self.pings + other.pings,
        )


class ParentCursor(NamedTuple):
    """Where in the parents to go on: those of the servers up to `last_id`, by server."""

    server_id: int
    last_id: int


class Cursor(NamedTuple):
    """Where in the days to go on: those of the servers up to `last_id`, by server, by day."""

    server_id: int
    day: int  # days since 1970
    last_id: int
