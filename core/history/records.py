"""What a window of history adds up to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.checks.records import Probe, State

PAGE = 1_440
PAGE_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Which pings of which server: slots in [since, until), `limit` of them at most.

    Without `since` the newest, with it the first ones from there; oldest first either way.
    """

    name: str
    since: datetime | None = None
    until: datetime | None = None
    limit: int = PAGE


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
