"""/api/v1/maintenance: planned work. Loaded at first use: what reads crons and zones is, too.

The routes stand in handlers/http/app.py.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from core.clock import utc_now
from core.errors import IdUnknown
from core.history.records import WindowQuery
from core.incidents import maintenance
from core.incidents.maintenance_records import (
    HeldRanges,
    Maintenance,
    MaintenanceChange,
    MaintenancePage,
    MaintenanceQuery,
    MaintenanceWanted,
)
from core.servers import find
from handlers.http.gate import whoami
from handlers.http.routes import Done
from handlers.instance import Instance


def listed(here: Instance, wanted: MaintenanceQuery) -> MaintenancePage:
    """List planned work that is to come, or what is over, the newest first."""
    with here.database.reading() as session:
        return maintenance.page(session, wanted, utc_now())


def show(here: Instance, maintenance_id: int) -> Maintenance:
    """Show planned work."""
    with here.database.reading() as session:
        return maintenance.told(session, maintenance_id, utc_now())


def make(here: Instance, wanted: MaintenanceWanted) -> Maintenance:
    """Plan work: servers are exempt meanwhile."""
    now, who = utc_now(), whoami().name

    def write(session: Session) -> Maintenance:
        return maintenance.told(session, maintenance.make(session, wanted, who, now), now)

    return here.database.write(write)


def alter(here: Instance, wanted: MaintenanceChange, maintenance_id: int) -> Maintenance:
    """Have planned work otherwise from the next minute on; the past stays."""
    now = utc_now()

    def write(session: Session) -> Maintenance:
        maintenance.change(session, maintenance_id, wanted, now)
        return maintenance.told(session, maintenance_id, now)

    return here.database.write(write)


def remove(here: Instance, maintenance_id: int) -> Done:
    """Remove planned work; what is under way ends with this minute, the past stays."""
    now = utc_now()
    here.database.write(lambda session: maintenance.remove(session, maintenance_id, now))
    return Done(status="DELETED")


def held(here: Instance, wanted: WindowQuery, server_id: int) -> HeldRanges:
    """Tell from when to when a server was or will be in maintenance."""
    found = all_held(here, wanted, [server_id])
    if server_id not in found:
        raise IdUnknown(server_id)
    return found[server_id]


def all_held(here: Instance, wanted: WindowQuery, ids: Sequence[int]) -> dict[int, HeldRanges]:
    """Tell it of many servers. Raises WrongRequest."""
    window = wanted.between(utc_now())
    with here.database.reading() as session:
        return maintenance.held_in(session, find.existing(session, ids), window)
