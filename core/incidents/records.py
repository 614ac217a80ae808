"""Incidents as lists and pages answer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from msgspec import UNSET, Meta, UnsetType

from core.errors import WrongRequest
from core.incidents.rules import Rule
from core.reading import Moment, Record, Request, Words


class Standing(StrEnum):
    """Whether an incident is over."""

    OPEN = "open"
    RESOLVED = "resolved"


class Extent(StrEnum):
    """Of what an incident is: a server, or many at once.

    Of several groups that a server is in, it goes with the first of these.
    """

    SERVER = "server"
    PARENT = "parent"  # its children
    TAG = "tag"
    NETWORK = "network"
    ALL = "all"
    US = "us"  # our own network: we can't see


class Held(StrEnum):
    """Why nobody is told of an incident."""

    MAINTENANCE = "maintenance"  # of its server, or of one that it is behind
    PARENT = "parent"  # the server before it is down, too


class How(StrEnum):
    """How an incident was resolved."""

    GOOD = "good"  # by as many good slots as its rule asks for
    HAND = "hand"
    PAUSED = "paused"
    REMOVED = "removed"  # with its server
    GROUP = "group"  # its server went into the incident of a group
    RULE = "rule"  # which was removed, or no longer holds for the server


class Kind(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    REOPENED = "reopened"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    COMMENT = "comment"
    JOINED = "joined"  # servers came into the incident of a group
    LEFT = "left"  # some of them are good again, or nobody watches them any more
    HELD = "held"
    RELEASED = "released"
    LATE = "late"  # a ping came of a slot that was announced: it decides nothing


class Deed(StrEnum):
    """What somebody did to rules."""

    RULE_MADE = "rule made"
    RULE_CHANGED = "rule changed"
    RULE_REMOVED = "rule removed"


class Watched(Record, frozen=True):
    """A server, by the name it has now; without an id it is removed."""

    id: int | None
    name: str


class Incident(Record, frozen=True):
    """From the first bad slot, `opened`, to the first good one, `resolved`.

    `kind` is what its rule looked at: `down`, `loss_pct`, `p95_ms` or `coverage_pct`.
    `extent` says of what it is, and so which of `server`, `parent`, `tag` and `network` isn't null;
    `servers` is of how many. `confirmed` is the slot that decided it, `how` is what resolved it:
    good slots, somebody's hand, a pause, the server's removal, the incident of a group, or that its
    rule no longer holds. `duration_s` goes on while it is open. `reason` and `detail` are those of
    its first bad slot. While it is `held` nobody is told of it.
    """

    id: int
    rule: str
    severity: str
    kind: str
    state: Standing
    flapping: bool
    flaps: int
    extent: Extent
    server: Watched | None
    parent: Watched | None
    tag: str | None
    network: str | None
    servers: int
    held: Held | None
    opened: datetime
    confirmed: datetime
    resolved: datetime | None
    how: How | None
    duration_s: int
    acked_by: str | None
    acked_until: datetime | None
    reason: str | None
    detail: str | None


class Happened(Record, frozen=True):
    """A line of a timeline; `who` is a user's name, or null where Pinglet itself did it."""

    at: datetime
    kind: Kind
    who: str | None
    note: str | None


class MemberTold(Record, frozen=True):
    """A server in the incident of a group, from its first bad slot to its first good one."""

    server: Watched
    since: datetime
    until: datetime | None


class IncidentTold(Record, frozen=True):
    """An incident with its timeline, oldest first.

    Of a group also its members: first those that are still bad, 1,000 at most.
    """

    incident: Incident
    timeline: list[Happened]
    members: list[MemberTold]


class IncidentPage(Record, frozen=True):
    """Incidents, the newest first; pass `next` as `before` to get the next page."""

    incidents: list[Incident]
    open: int
    next: int | None


class Outage(Record, frozen=True):
    """From when to when a server was down, or its incident open; without an end it still is."""

    server: Watched
    since: datetime
    until: datetime | None
    duration_s: int


class ServerCount(Record, frozen=True):
    """How many incidents a server would have had, and how long they were open together."""

    server: Watched
    incidents: int
    duration_s: int


class Effect(Record, frozen=True):
    """What rules would have made of the past.

    `hours` counts incidents by the hour of the day in which they would have been told. `servers`
    are those with most of them. `missed` counts outages of ten minutes or more that no incident
    would have told of; `outages` are the longest of these. A delay is from an incident's first bad
    slot to the one that confirms it. `nights` are those, from 22 to 6, in which somebody would have
    been woken. Lists have at most 20 lines.
    """

    rules: list[str]
    incidents: int
    flaps: int
    hours: list[int]
    servers: list[ServerCount]
    longest: Outage | None
    missed: int
    outages: list[Outage]
    delay_median_s: int | None
    delay_worst_s: int | None
    nights: int


class Backtest(Record, frozen=True):
    """What a draft of a rule, and the rules in force, would have made of the past.

    Of the `servers` for which the draft would hold, by the slots of [since, until); `outages` are
    those of ten minutes or more. `in_force` are the rules of the draft's kind.
    """

    since: datetime
    until: datetime
    zone: str
    servers: int
    outages: int
    draft: Effect
    in_force: Effect


class Event(Record, frozen=True):
    """Somebody changed what Pinglet does by itself; `note` is what it was changed to, as JSON."""

    id: int
    at: datetime
    kind: Deed
    who: str
    note: str


class EventPage(Record, frozen=True):
    """Events, the newest first; pass `next` as `before` to get the next page."""

    events: list[Event]
    next: int | None


Note = Annotated[
    str,
    # No control characters but tabs and line breaks: Postgres keeps no NUL.
    Meta(
        min_length=1, max_length=1_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$(?!\n)"
    ),
]


MOST_DAYS = 400


class BacktestWanted(Request, frozen=True):
    """A draft of a rule, over how many days it is tried, and by whose clock hours are told."""

    rule: Rule
    days: Annotated[int, Meta(ge=1, le=MOST_DAYS)] = 30
    zone: Annotated[
        str,
        Meta(
            description="A time zone's name as the IANA has it",
            min_length=1,
            max_length=64,
            examples=["Europe/Prague"],
        ),
    ] = "UTC"

    @classmethod
    def of(cls, value: object) -> Self:
        """Read `value`, as JSON gave it. Raises WrongRequest with the field that is wrong."""
        try:
            return super().of(value)
        except WrongRequest as error:
            # Of what doesn't go together a rule names its own field.
            if (error.field or "").partition(".")[0] in Rule.__struct_encode_fields__:
                raise error.at(f"rule.{error.field}") from None
            raise


class IncidentsQuery(Request, frozen=True):
    """Which incidents: in what state, of which server, and not over before `since`.

    `search` looks into the names of servers; `tag` is one that the server has now.
    """

    state: Standing | UnsetType = UNSET
    server: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    search: Words = ""
    tag: Words = ""
    since: Moment | UnsetType = UNSET
    before: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class EventsQuery(Request, frozen=True):
    """Which events: the newest before that id."""

    before: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class Acknowledgement(Request, frozen=True):
    """Somebody looks after it, until then where a time is given."""

    until: Moment | None = None
    note: Note | None = None


class Comment(Request, frozen=True):
    """What somebody has to say of it."""

    note: Note


class Resolution(Request, frozen=True):
    """Why somebody resolves it by hand."""

    note: Note | None = None
