"""Maintenance as people want it and as lists answer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType, field

from core.reading import NAME_LENGTH, Moment, Record, Request
from core.servers.criteria import Criteria

MOST_M = 7 * 24 * 60


class Weekday(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


TimeOfDay = Annotated[
    str,
    Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)",
        extra={"right": "a time of day such as 02:30"},
    ),
]
Cron = Annotated[
    str,
    Meta(
        description="Minute, hour, day, month, weekday",
        min_length=1,
        max_length=100,
        examples=["0 2 * * 6#1"],
    ),
]
Zone = Annotated[
    str,
    Meta(
        description="A time zone's name as the IANA has it; UTC where none is given",
        max_length=64,
        examples=["Europe/Berlin"],
    ),
]


class MaintenanceWhen(Request, frozen=True):
    """Once (`since`, `until`), or for `duration_m`: on `days` or by `cron`, in a `zone`."""

    since: Moment | None = None
    until: Moment | None = None
    days: Annotated[tuple[Weekday, ...], Meta(max_length=7)] = ()
    at: TimeOfDay | None = None
    cron: Cron | None = None
    duration_m: Annotated[int, Meta(ge=1, le=MOST_M)] | None = None
    zone: Zone | None = None


MaintenanceName = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]


class MaintenanceWanted(Request, frozen=True, kw_only=True):
    """Planned work: what it is, for which servers, when, and whether its slots count as uptime."""

    name: MaintenanceName
    whom: Criteria = field(name="for", default=Criteria())
    when: MaintenanceWhen
    counts: bool = False


class MaintenanceChange(Request, frozen=True):
    """What is to be otherwise from now on; `when` and `for` are replaced as a whole."""

    name: MaintenanceName | UnsetType = UNSET
    whom: Criteria | UnsetType = field(name="for", default=UNSET)
    when: MaintenanceWhen | UnsetType = UNSET
    counts: bool | UnsetType = UNSET


class Between(Record, frozen=True):
    """The slots in [since, until)."""

    since: datetime
    until: datetime


class Maintenance(Record, frozen=True):
    """Planned work. `next` are the slots that it holds now, or next; null where none are left.

    With `counts` its slots are part of uptime and coverage, else they are left out.
    """

    id: int
    name: str
    whom: Criteria = field(name="for")
    when: MaintenanceWhen
    counts: bool
    made: datetime
    made_by: str | None
    next: Between | None


class MaintenancePage(Record, frozen=True):
    """Maintenance, the newest first; pass `next` as `before` to get the next page."""

    maintenance: list[Maintenance]
    next: int | None


class MaintenanceQuery(Request, frozen=True):
    """Whether what is to come, or what is over."""

    over: bool = False
    before: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class HeldRange(Between, frozen=True):
    """From when to when a maintenance held or will hold; `id` is null where it was removed."""

    id: int | None
    name: str
    counts: bool


class HeldRanges(Record, frozen=True):
    """What held a server in a window, or one that it is behind, in order; `left_off` older ones."""

    since: datetime
    until: datetime
    ranges: list[HeldRange]
    left_off: int
