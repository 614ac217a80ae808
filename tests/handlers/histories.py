"""Histories for the tests of /api/v1: pings made up, recorded as a round records them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from flask.testing import FlaskClient

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.rounds import record as rounds_record
from core.slots import slot_of
from infra.database import Database

IP = "127.0.0.1"
MINUTE = timedelta(minutes=1)
Heard = tuple[int, float | None]
"""How many of four echoes came back, and their mean in ms."""


def add(client: FlaskClient, *names: str, ip: str = IP) -> list[int]:
    """Add servers; return their ids."""
    wanted = [{"name": name, "ip": ip} for name in names]
    response = client.post("/api/v1/servers/bulk", json={"servers": wanted})
    return [item["id"] for item in response.get_json()["results"]]


def this_slot() -> datetime:
    """Return the slot we are in."""
    return slot_of(utc_now())


def record(database: Database, server_ids: Sequence[int], slot: datetime, heard: Heard) -> None:
    """Record a round in which all these servers answered alike."""
    received, ms = heard
    best, worst = (None, None) if ms is None else (ms / 2, ms * 2)
    measured = [
        Ping(server_id, IP, 4, received, ms, best, worst, Probe.ICMP) for server_id in server_ids
    ]
    with database.transaction() as session:
        rounds_record.record(session, slot, measured)


def record_minutes(
    database: Database,
    server_ids: Sequence[int],
    first: datetime,
    count: int,
    heard: Callable[[int], Heard] = lambda number: (4, 1.0 + number),
) -> None:
    """Record so many rounds, one a minute."""
    for number in range(count):
        record(database, server_ids, first + number * MINUTE, heard(number))


def at(text: str) -> datetime:
    """Read a time as the replies write it."""
    return datetime.fromisoformat(text).astimezone(UTC)
