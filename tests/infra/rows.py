"""Rows for the tests: servers added, pings made up, tables read back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace
from sqlalchemy import func, select, text

from core.checks.records import Ping, Probe
from core.models import Day, Schedule, Server, StoredPing
from core.rounds import record as rounds_record
from core.servers import change, find
from core.servers.records import ServerWanted
from infra.database import Database

SLOT = datetime(2026, 1, 2, 7, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
IP = "192.0.2.1"


def add(database: Database, name: str = "web", ip: str = IP, **more: Any) -> int:
    """Add a server as a user does, some time before SLOT; return its id."""
    early = SLOT - timedelta(days=1)
    with database.transaction() as session:
        wanted = ServerWanted(name=name, ip=ip, **more)
        return change.add(session, wanted, database.settings, early)


def add_many(database: Database, names: Sequence[str], ip: str = IP, **more: Any) -> list[int]:
    """Add several servers with one address, a thousand as fast as one."""
    early = SLOT - timedelta(days=1)
    given = {"ip": ip, "added": early, "probe": Probe.AUTO} | more
    with database.transaction() as session:
        new = [Server(name=name, **given) for name in names]
        session.add_all(new)
        session.flush()
        ids = [server.id for server in new]
        due = {"since": early, "interval_s": database.settings.interval_s, "enabled": True}
        session.add_all(Schedule(server_id=server_id, **due) for server_id in ids)
    return ids


def ping(
    server_id: int,
    ms: float | None = 1.5,
    ip: str = IP,
    port: int | None = None,
    revision: int = 0,
) -> Ping:
    """Make up what one server's four echoes added up to."""
    received = 0 if ms is None else 4
    heard = Ping(server_id, ip, 4, received, ms, ms, ms, Probe.TCP, port)
    return replace(heard, revision=revision)


def record(
    database: Database,
    slot: datetime,
    measured: Sequence[Ping],
    now: datetime = rounds_record.NO_FUTURE,
) -> int:
    """Record a round in a transaction of its own; return how many rows are new."""
    with database.transaction() as session:
        return rounds_record.record(session, slot, measured, now)


def stored(database: Database) -> list[tuple[int, datetime, float | None]]:
    """Return every ping kept: (server's id, slot, mean ms), sorted."""
    columns = StoredPing.server_id, StoredPing.slot, StoredPing.response_ms
    with database.reading() as session:
        rows = session.execute(select(*columns).order_by(*columns[:2]))
        return [(server_id, slot, ms) for server_id, slot, ms in rows]


def rows_in(database: Database, slot: datetime) -> int:
    """Return how many pings a slot has."""
    with database.reading() as session:
        query = select(func.count()).where(StoredPing.slot == slot)
        return session.scalar(query) or 0


def due(database: Database, slot: datetime = SLOT) -> list[int]:
    """Return the ids of the servers that are due in a slot."""
    with database.reading() as session:
        return [target.server_id for target in find.targets(session, slot)]


def server(database: Database, name: str = "web") -> Server:
    """Return a server as it stands, detached."""
    with database.reading() as session:
        found = find.by_name(session, name)
        session.expunge(found)
        return found


def wait_for_a_blocked_one(database: Database) -> None:
    """Return when some transaction waits for another's lock.

    SQLite can't tell; there whoever comes second waits anyway, before its first statement.
    """
    if database.engine.dialect.name == "sqlite":
        return
    blocked = text("SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted")
    with database.reading() as session:
        for _attempt in range(1000):
            if session.scalar(blocked):
                return
    raise TimeoutError("nobody ever waited")


def counts(database: Database) -> tuple[int, int]:
    """Return how many raw rows and how many packed days there are."""
    with database.reading() as session:
        raw, packed = (
            session.scalar(select(func.count()).select_from(table)) for table in (StoredPing, Day)
        )
        return raw or 0, packed or 0
