"""What the judge is asked, and what it remembers."""

from datetime import timedelta

from sqlalchemy import select

from core.incidents import announce
from core.incidents.records import How
from core.models import JUDGED
from core.rounds import record
from core.servers import change
from core.servers.records import ServerChange
from core.slots import slot_number
from infra.database import Database
from tests.core.incidents.rounds import Told, minutes, told
from tests.infra.rows import MINUTE, SLOT, add, ping


def test_blindness_resolves_nothing(database: Database) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "bb" + "x" * 5)
    minutes(database, server_id, "gg", slot + timedelta(days=1))
    begun = slot_number(slot + timedelta(days=1)) - slot_number(SLOT)
    assert told(database) == [Told(0, 1, begun, How.GOOD, 0)]


def test_a_quiet_server_is_forgotten(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "b" + "g" * 31)
    with database.reading() as session:
        assert session.execute(select(JUDGED)).all() != []
    minutes(database, server_id, "g", SLOT + 32 * MINUTE)
    with database.reading() as session:
        assert session.execute(select(JUDGED)).all() == []


def test_who_is_looked_at_otherwise_begins_anew_and_what_is_open_stays_open(
    database: Database,
) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "bbg")
    with database.transaction() as session:
        change.alter(session, server_id, ServerChange(port=80), database.settings, slot)
    for number, ms in enumerate([1.0, None, 1.0, 1.0]):
        with database.transaction() as session:
            now = slot + number * MINUTE
            record.record(session, now, [ping(server_id, ms, revision=1)])
            announce.announce(session, now)
    assert told(database) == [Told(0, 1, 5, How.GOOD, 0)]
