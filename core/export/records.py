"""Servers, days and pings as they go from one database to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from core.checks.records import Probe
from core.history.slices import Kept
from core.servers.schedule import Planned


class LastPing(NamedTuple):
    """A server's newest ping, as its `last_*` columns have it."""

    slot: datetime
    response_ms: float | None
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class KeptServer:
    """A server with its schedule, oldest row first. `server_id` means nothing elsewhere."""

    server_id: int
    name: str
    ip: str
    probe: Probe
    port: int | None
    last_port: int | None
    added: datetime
    last_ping: LastPing | None
    schedule: Sequence[Planned]


@dataclass(frozen=True, slots=True)
class KeptDay:
    """The pings of one server's day, by their slots' numbers, in order."""

    server_id: int
    server: str
    date: date
    pings: Sequence[Kept]


class Place(NamedTuple):
    """Where in the days to go on: those of the servers up to `last_id`, by server, by day."""

    server_id: int
    day: int  # days since 1970
    last_id: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What an import added; what was there already isn't in it."""

    servers: int
    schedules: int
    pings: int
