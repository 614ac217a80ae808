"""Something to look at on the first evening: a few servers with made-up history."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from core.checks.records import Ping, Probe, figures_ms
from core.rounds import record as rounds_record
from core.servers import change
from core.servers.records import ServerWanted
from core.settings import Settings
from core.slots import SLOT, slot_of

SERVERS = {
    "demo web": ("127.0.0.10", 12.0),
    "demo database": ("127.0.0.11", 0.8),
    "demo far away": ("127.0.0.12", 180.0),
    "demo bad line": ("127.0.0.13", 45.0),
    "demo office": ("127.0.0.14", 25.0),
}
ECHOES = 4
CHUNK = 100  # rounds in one transaction
Chunk = Sequence[tuple[datetime, list[Ping]]]


def create_servers(
    session: Session, settings: Settings, now: datetime, days: int
) -> dict[str, int]:
    """Add the servers as if `days` ago; return their ids. Raises NameTaken where they exist."""
    change.claim_names(session)
    first = slot_of(now) - timedelta(days=days)
    return {
        name: change.add(session, ServerWanted(name=name, ip=ip), settings, first)
        for name, (ip, _base_ms) in SERVERS.items()
    }


def made_up_rounds(ids: dict[str, int], now: datetime, days: int) -> list[Chunk]:
    """Return the rounds to record, an hour or two to a chunk."""
    made_up = list(_made_up_rounds(ids, slot_of(now) - timedelta(days=days), slot_of(now)))
    return [made_up[start : start + CHUNK] for start in range(0, len(made_up), CHUNK)]


def record(session: Session, chunk: Chunk) -> None:
    """Record some of the made-up rounds."""
    for slot, measured in chunk:
        rounds_record.record(session, slot, measured)


def _made_up_rounds(
    ids: dict[str, int], first: datetime, end: datetime
) -> Iterator[tuple[datetime, list[Ping]]]:
    chance = random.Random(7)  # noqa: S311 (always the same history)
    drift = dict.fromkeys(ids, 1.0)
    slot = first
    while slot < end:
        for name in ids:
            drift[name] = min(2.0, max(0.7, drift[name] + chance.gauss(0, 0.02)))
        # At four in the morning nobody watched for twenty minutes: unobserved, not down.
        if not (slot.hour == 4 and slot.minute < 20):
            yield slot, [_made_up_ping(chance, name, ids[name], drift[name], slot) for name in ids]
        slot += SLOT


def _made_up_ping(
    chance: random.Random, name: str, server_id: int, drift: float, slot: datetime
) -> Ping:
    ip, base_ms = SERVERS[name]
    lost_share = 0.15 if name == "demo bad line" else 0.001
    if name == "demo office" and slot.hour == 13 and slot.minute < 35:
        lost_share = 1.0  # the lunch-time outage
    times = [
        base_ms * drift * chance.uniform(0.97, 1.1)
        for _ in range(ECHOES)
        if chance.random() >= lost_share
    ]
    return Ping(
        server_id=server_id,
        ip=ip,
        sent=ECHOES,
        received=len(times),
        **figures_ms(times),
        probe=Probe.ICMP,
    )
