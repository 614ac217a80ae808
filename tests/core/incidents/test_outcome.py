"""What comes of decisions: incidents and their timelines."""

from sqlalchemy import select

from core.checks.records import Ping, Reason
from core.incidents import announce
from core.incidents.records import How
from core.models import EVENT, INCIDENT
from core.rounds import record
from infra.database import Database
from tests.core.incidents.rounds import Told, begin, minutes, told
from tests.infra.rows import MINUTE, SLOT, add, ping


def test_it_says_why_its_first_bad_slot_was_bad(database: Database) -> None:
    server_id = add(database)
    begin(database, SLOT)
    for slot, detail in ((SLOT, "connection refused"), (SLOT + MINUTE, "no route")):
        bad = ping(server_id, None)
        with database.transaction() as session:
            pings = [
                Ping(
                    *(getattr(bad, one) for one in bad.__struct_fields__[:9]),
                    Reason.REFUSED,
                    detail,
                )
            ]
            record.record(session, slot, pings)
            announce.announce(session, slot)
    with database.reading() as session:
        row = session.execute(select(INCIDENT)).one()
    assert (row.reason, row.detail) == (Reason.REFUSED, "connection refused")
    assert (row.server_id, row.name, row.rule) == (server_id, "web", "default")


def test_soon_again_is_the_same_incident_and_a_flap(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "bbggbbgg")
    assert told(database) == [Told(0, 1, 6, How.GOOD, 1)]
    with database.reading() as session:
        kinds = session.scalars(select(EVENT.c.kind).order_by(EVENT.c.id)).all()
    assert kinds == ["opened", "resolved", "reopened", "resolved"]
