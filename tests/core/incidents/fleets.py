"""Fleets for tests of incidents: many servers, each at an address of its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from core.checks.records import Reason, Unobserved
from core.incidents import announce, find
from core.incidents.records import Incident, IncidentsQuery, IncidentTold
from core.models import SERVER
from core.rounds import record
from infra.database import Database
from tests.core.incidents.rounds import LOST, UP, begin
from tests.infra.rows import MINUTE, SLOT, add, ping

NOW = SLOT + timedelta(hours=1)


LATE = "-"
"""Instead of a letter: nothing arrives yet."""


def fleet(
    database: Database, number: int, net: str = "10.0", name: str = "s", **more: Any
) -> list[int]:
    """Add servers in networks of their own."""
    return [add(database, f"{name}{one}", f"{net}.{one}.1", **more) for one in range(number)]


def good(database: Database, number: int = 5) -> dict[int, str]:
    """Add servers that are always up, so that others aren't most of the fleet."""
    return dict.fromkeys(fleet(database, number, "10.1", "up"), 99 * UP)


def together(database: Database, letters: Mapping[int, str], first: datetime = SLOT) -> datetime:
    """Have servers looked at each minute, in order, as long as all have; return the slot after."""
    with database.reading() as session:
        addresses = dict(session.execute(select(SERVER.c.id, SERVER.c.ip)).all())
    slot = first
    for column in zip(*letters.values(), strict=False):
        seen = dict(zip(letters, column, strict=True))
        lost = [Unobserved(one, "", Reason.LOCAL) for one in seen if seen[one] == LOST]
        pings = [
            ping(one, 1.0 if said == UP else None, ip=addresses[one])
            for one, said in seen.items()
            if said not in (LOST, LATE)
        ]
        begin(database, slot)
        with database.transaction() as session:
            record.record(session, slot, pings, unobserved=lost)
        with database.transaction() as session:
            announce.announce(session, slot)
        slot += MINUTE
    return slot


def incidents(database: Database) -> Sequence[Incident]:
    """Return every incident, the oldest first."""
    with database.reading() as session:
        return find.page(session, IncidentsQuery(), NOW).incidents[::-1]


def shown(database: Database, incident_id: int) -> IncidentTold:
    with database.reading() as session:
        return find.told(session, incident_id, NOW)


def members(told: IncidentTold) -> list[int | None]:
    return [one.server.id for one in told.members]


def lines(told: IncidentTold) -> list[tuple[str, str | None]]:
    return [(one.kind, one.note) for one in told.timeline]
