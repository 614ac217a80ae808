"""Incidents as lists and pages answer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from core.reading import Moment, Record, Request, Words


class Standing(StrEnum):
    """Whether an incident is over."""

    OPEN = "open"
    RESOLVED = "resolved"


class How(StrEnum):
    """How an incident was resolved."""

    GOOD = "good"  # by as many good slots as its rule asks for
    HAND = "hand"
    PAUSED = "paused"
    REMOVED = "removed"  # with its server
    RULE = "rule"  # which was removed, or no longer holds for the server


class Kind(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    REOPENED = "reopened"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    COMMENT = "comment"


class Deed(StrEnum):
    """What somebody did to rules."""

    RULE_MADE = "rule made"
    RULE_CHANGED = "rule changed"
    RULE_REMOVED = "rule removed"


class Watched(Record, frozen=True):
    """The server of an incident, by the name it has now; without an id it is removed."""

    id: int | None
    name: str


class Incident(Record, frozen=True):
    """From the first bad slot, `opened`, to the first good one, `resolved`.

    `kind` is what its rule looked at: `down`, `loss_pct`, `p95_ms` or `coverage_pct`.
    `confirmed` is the slot that decided it, `how` is what resolved it: good slots, somebody's hand,
    a pause, the server's removal, or that its rule no longer holds for it. `duration_s` goes on
    while it is open. `reason` and `detail` are those of its first bad slot.
    """

    id: int
    rule: str
    severity: str
    kind: str
    state: Standing
    flapping: bool
    flaps: int
    server: Watched
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


class IncidentTold(Record, frozen=True):
    """An incident with its timeline, oldest first."""

    incident: Incident
    timeline: list[Happened]


class IncidentPage(Record, frozen=True):
    """Incidents, the newest first; pass `next` as `before` to get the next page."""

    incidents: list[Incident]
    open: int
    next: int | None


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


Note = Annotated[str, Meta(min_length=1, max_length=1_000)]


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
