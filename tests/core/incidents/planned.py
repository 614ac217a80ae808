"""Maintenance for tests: made for once, as somebody does shortly before."""

from datetime import datetime
from typing import Any

from core.incidents import maintenance
from core.incidents.maintenance_records import MaintenanceWanted
from core.reading import iso
from infra.database import Database
from tests.infra.rows import MINUTE


def make(
    database: Database, when: dict[str, Any], now: datetime, name: str = "patches", **more: Any
) -> int:
    """Have planned work; return its id."""
    wanted = MaintenanceWanted.of({"name": name, "when": when, **more})
    with database.transaction() as session:
        return maintenance.make(session, wanted, "ops", now)


def hold(database: Database, since: datetime, minutes: int, **more: Any) -> int:
    """Have planned work for so many minutes, made as it begins; return its id."""
    when = {"since": iso(since), "until": iso(since + minutes * MINUTE)}
    return make(database, when, since, **more)
