"""Messages and events, good and bad, for the functions on either side of a queue."""

from datetime import UTC, datetime, timedelta
from typing import Any

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.rounds.messages import Results
from core.servers import change
from core.servers.records import ServerWanted
from core.settings import Settings
from infra.database import Database

SLOT = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FAST = Settings(echo_timeout_s=3.0, echo_gap_s=0.0)
SOON = timedelta(seconds=25)
POISON = [
    "",
    "null",
    "[]",
    "{}",
    "not JSON",
    '{"version": 1}',
    '{"version": 2, "slot": "2026-01-02T07:01:00Z", "pings": [], "unobserved": []}',
    '{"version": 1, "slot": "never", "pings": [], "unobserved": []}',
    '{"version": 1, "slot": "9999-01-02T07:01:00Z", "pings": [], "unobserved": []}',
    '{"version": 1, "slot": "2026-01-02T07:01:00Z", "pings": 7, "unobserved": []}',
    '{"version": 1, "slot": "2026-01-02T07:01:00Z", "deadline": "x", "targets": []}',
    "[" * 10_000,
    '"a\ud800"',
]


def results_of(slot: datetime, *ids: int, ms: float = 1.5) -> str:
    """Return a message with a ping for each of these servers."""
    found = [Ping(server_id, "192.0.2.1", 4, 4, ms, ms, ms, Probe.TCP, 443) for server_id in ids]
    return next(iter(Results(slot, found, []).texts()))


def names(number: int) -> list[str]:
    """Return names for so many servers."""
    return [f"server {n}" for n in range(number)]


NO_EVENTS = [None, 7, "text", [], {}, {"Records": None}, {"Records": {}}, {"time": "2026-01-02"}]


def every_minute(slot: datetime) -> dict[str, Any]:
    """Return the event of the one-minute rule; it may fire at any second of the minute."""
    late = slot + timedelta(seconds=17)
    return {"source": "aws.events", "time": late.isoformat(), "detail-type": "Scheduled Event"}


def add_five(database: Database) -> None:
    """Add servers on loopback, some of which refuse."""
    with database.transaction() as session:
        for n in range(1, 6):
            wanted = ServerWanted(name=f"server {n}", ip=f"127.0.0.{n}", probe=Probe.TCP, port=9)
            change.add(session, wanted, database.settings, utc_now() - MINUTE)
