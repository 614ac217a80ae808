"""An outage in made-up minutes of the last half hour, of which one comes late: part of smoke.py.

    DATABASE_URL=... PYTHONPATH=.ci python -m outage

Prints what the timeline of its incident says, a kind a line. The server stays.
"""

from datetime import datetime, timedelta

from core.checks.records import Ping, Probe
from core.clock import utc_now
from core.incidents import find
from core.incidents.records import IncidentsQuery
from core.rounds.measure import Measured
from core.servers import change
from core.servers.records import ServerWanted
from core.settings import Settings
from core.slots import SLOT, slot_of
from handlers.worker import rounds
from infra.database import Database

IP = "127.0.0.3"
SEEN = "gbb.bgg"
"""What came of each minute: good or bad; the one with the dot comes when all is over."""


def record(database: Database, server_id: int, slot: datetime, letter: str) -> None:
    """Record a minute of the server."""
    echoes = (0, None, None, None) if letter == "b" else (4, 1.0, 1.0, 1.0)
    ping = Ping(server_id, IP, 4, *echoes, Probe.ICMP)
    rounds.store(database, slot, Measured([ping], []), utc_now())
    rounds.announce(database, slot)


def main() -> None:
    """Have it, and tell it."""
    database = Database(Settings.from_env())
    now = utc_now()
    first = slot_of(now) - 30 * SLOT
    with database.transaction() as session:
        wanted = ServerWanted(name="broken", ip=IP)
        before = first - timedelta(days=1)
        server_id = change.add(session, wanted, database.settings, before)
    slots = [first + minute * SLOT for minute in range(len(SEEN))]
    for slot, letter in zip(slots, SEEN, strict=True):
        rounds.close(database, slot)
        if letter != ".":
            record(database, server_id, slot, letter)
    rounds.close(database, slots[-1] + 3 * SLOT)
    record(database, server_id, slots[SEEN.index(".")], "b")
    with database.reading() as session:
        [incident] = find.page(session, IncidentsQuery(), now).incidents
        told = find.told(session, incident.id, now)
    print(*(one.kind for one in told.timeline), sep="\n")


if __name__ == "__main__":
    main()
