"""What is asked of history and what it answers: the records that are encoded as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from msgspec import UNSET, Meta, UnsetType

from core.checks.records import State
from core.errors import WrongRequest
from core.history.sums import Totals
from core.reading import Moment, Record, Request, moment
from core.servers.records import Standing
from core.slots import SLOT, current_slot, slot_time

PAGE = 1_440
PAGE_LIMIT = 10_000
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
UNITS_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


# What is asked


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Which pings of which server: slots in [since, until), `limit` of them at most.

    Without `since` the newest, with it the first ones from there; oldest first either way.
    """

    name: str
    since: datetime | None = None
    until: datetime | None = None
    limit: int = PAGE


class PingsQuery(Request, frozen=True):
    """Slots in [since, until): with `since` the first ones from there, else the newest."""

    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=PAGE_LIMIT)] = PAGE

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """Return `since` and `until`, None where nothing was said. Raises WrongRequest."""
        return _read(self.since, "since"), _read(self.until, "until")


class WindowQuery(Request, frozen=True):
    """A window, by default the last 24 hours."""

    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET

    def between(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the window that is meant at `now`. Raises WrongRequest."""
        return _between(self.since, self.until, "24h", now)


class SeriesQuery(WindowQuery, frozen=True):
    """A window, by default the last 24 hours, and into how many buckets at most."""

    points: Annotated[int, Meta(ge=1, le=2_000)] = 300


class SpellsQuery(WindowQuery, frozen=True):
    """A window, by default the last 24 hours, and how many of its spells at most: the longest."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1_000


class SummaryQuery(Request, frozen=True):
    """A window that ends now (`30d`: a number of m, h, d, w or y), or one between two times."""

    window: Annotated[
        str,
        Meta(
            pattern=r"^[1-9][0-9]{0,5}[mhdwy]$(?!\n)",
            extra={"right": "a number of m, h, d, w or y, such as 30d"},
        ),
    ] = "24h"
    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET

    def between(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the window that is meant at `now`. Raises WrongRequest."""
        return _between(self.since, self.until, self.window, now)


def length(window: str) -> timedelta:
    """Return how long `30d` is, at most as long as all the time there is."""
    longest_s = int((LATEST - EARLIEST).total_seconds())
    return timedelta(seconds=min(int(window[:-1]) * UNITS_S[window[-1]], longest_s))


def _between(
    since: str | UnsetType, until: str | UnsetType, default: str, now: datetime
) -> tuple[datetime, datetime]:
    """The window wanted, else the last `default`, which ends with the slot we are in."""
    end = _read(until, "until") or slot_time(current_slot(now)) + SLOT
    return _read(since, "since") or end - min(length(default), end - EARLIEST), end


def _read(text: str | UnsetType, field: str) -> datetime | None:
    if isinstance(text, UnsetType):
        return None
    try:
        found = moment(text, field)
    except WrongRequest as error:
        raise error.at(field) from None
    if not EARLIEST <= found < LATEST:
        raise WrongRequest(f"{field} must be a time from 1970 to 8999", field, got=text)
    return found


# What is answered


class Counts(Record, frozen=True):
    """Slots by state; the first four add up to `due`."""

    up: int
    degraded: int
    down: int
    unobserved: int
    due: int

    @classmethod
    def of(cls, up: int = 0, degraded: int = 0, down: int = 0, unobserved: int = 0) -> Self:
        """Add up what was due: slots in which a ping was to be made, or was made."""
        due = up + degraded + down + unobserved
        return cls(up=up, degraded=degraded, down=down, unobserved=unobserved, due=due)

    @property
    def observed(self) -> int:
        """Slots that hold a ping."""
        return self.up + self.degraded + self.down

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


class ServerStatus(Standing, frozen=True, kw_only=True):
    """A server with its state now and its last 24 hours.

    `reason` and `detail` say why it isn't up, a code for programs and a text for people; null where
    it is, or where nobody knows. `strip` is 48 half hours, oldest first: the worst state in each,
    null where nothing was due; `strip_counts` how many slots of each were up, degraded, down and
    unobserved; `means_ms` the mean round trip in each, null where no echo was timed. Slots in
    maintenance are counted nowhere here, unless it says that they do; `exempt` says whether one
    holds the server now.
    """

    exempt: bool
    reason: str | None
    detail: str | None
    uptime: float | None
    coverage: float | None
    counts: Counts
    strip: list[State | None]
    strip_counts: list[tuple[int, int, int, int] | None]
    means_ms: list[float | None]


class ServerPage(Record, frozen=True):
    """Servers in order of creation. `next`: the `after` of the page that follows.

    `totals` counts the states of all servers that search, name and tag find, on whatever page; of
    the unobserved ones, `paused` are not to be looked at, and `new` were not to be yet.
    """

    servers: list[ServerStatus]
    totals: dict[State, int]
    paused: int
    new: int
    last_round: datetime | None
    next: str | None


class PingRecord(Record, frozen=True):
    """One slot's ping. `reason` and `detail` say why it isn't up, as long as that is kept."""

    slot: datetime
    state: State
    response_ms: float | None
    best_ms: float | None
    worst_ms: float | None
    sent: int
    received: int
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class PingsPage:
    """Pings, oldest first.

    `before` and `after` say where there are more, or where nobody looked: the slot up to which the
    page before reaches (exclusive), and the first one of the page that follows.
    """

    pings: Sequence[PingRecord]
    before: datetime | None
    after: datetime | None


class Bucket(Record, frozen=True):
    """The slots in [since, until)."""

    since: datetime
    until: datetime
    counts: Counts
    sent: int
    received: int
    best_ms: float | None
    worst_ms: float | None
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None

    @classmethod
    def of(cls, sums: Totals, since: datetime, until: datetime) -> Self:
        """Show what the slots of [since, until) add up to."""
        return cls(
            since=since,
            until=until,
            counts=Counts.of(*sums[:4]),
            sent=sums.sent,
            received=sums.received,
            best_ms=sums.best_ms,
            worst_ms=sums.worst_ms,
            mean_ms=_mean_ms(sums),
            p50_ms=sums.p50_ms,
            p95_ms=sums.p95_ms,
        )


class Series(Record, frozen=True):
    """A window in buckets, oldest first."""

    since: datetime
    until: datetime
    buckets: list[Bucket]


class Spell(Record, frozen=True):
    """Slots in a row in which a server was down, unobserved, or paused (`state` is null).

    `until` is when it was over, null where it lasts; `slots` are those of it that count. `reason`
    is the code that most of them have, null where none is kept; `detail` says it to people.
    """

    state: State | None
    since: datetime
    until: datetime | None
    slots: int
    reason: str | None
    detail: str


class Spells(Record, frozen=True):
    """The spells of a window, which cuts them off, oldest first; `left_off` shorter ones aren't."""

    since: datetime
    until: datetime
    spells: list[Spell]
    left_off: int


class Summary(Record, frozen=True):
    """A window in figures. Never read `uptime` without `coverage`.

    `maintenance` counts slots that are left out of all other figures: due, but in planned work.
    """

    since: datetime
    until: datetime
    counts: Counts
    maintenance: int
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

    @classmethod
    def of(cls, sums: Totals, since: datetime, until: datetime, maintenance: int = 0) -> Self:
        """Show what the slots of [since, until) add up to."""
        counts = Counts.of(*sums[:4])
        return cls(
            since=since,
            until=until,
            counts=counts,
            maintenance=maintenance,
            uptime=counts.uptime,
            coverage=counts.coverage,
            sent=sums.sent,
            received=sums.received,
            lost_share=(sums.sent - sums.received) / sums.sent if sums.sent else None,
            best_ms=sums.best_ms,
            worst_ms=sums.worst_ms,
            mean_ms=_mean_ms(sums),
            p50_ms=sums.p50_ms,
            p95_ms=sums.p95_ms,
            p99_ms=sums.p99_ms,
        )


def _mean_ms(sums: Totals) -> float | None:
    # Over the slots' means: each slot weighs the same.
    return sums.hundredths / sums.timed / 100 if sums.timed else None
