"""What the tables themselves refuse."""

import pytest
from sqlalchemy import func, select, text

from core import models
from core.checks.records import Unobserved
from core.history import aside, upkeep
from core.rounds import record as rounds_record
from core.servers import change, parents, tags
from infra.database import Database
from tests.infra.rows import (
    MINUTE,
    SLOT,
    add,
    add_many,
    ping,
    record,
)

pytestmark = pytest.mark.driver


def test_a_ping_of_no_server_is_refused_by_the_database_itself(database: Database) -> None:
    orphan = text(
        "INSERT INTO data (server_id, datetime, sent, received, probe) "
        "VALUES (7, '2026-01-02 07:01:00', 4, 4, 'tcp')"
    )
    with pytest.raises(Exception, match=r"(?i)foreign key"), database.transaction() as session:
        session.execute(orphan)


def test_ids_never_come_back(database: Database) -> None:
    first = add(database)
    with database.transaction() as session:
        change.remove(session, "web")
    assert add(database) > first


def test_a_removed_server_leaves_no_row_in_any_table_that_names_it(database: Database) -> None:
    gone, kept, _root = add_many(database, ["gone", "kept", "root"])
    record(database, SLOT, [ping(gone), ping(kept)])
    with database.transaction() as session:
        tags.put(session, {gone: ["web"], kept: ["web"]})
        parents.put(session, {gone: "root", kept: "root"})
    with database.transaction() as session:
        lost = [Unobserved(one, "no route") for one in (gone, kept)]
        rounds_record.record(session, SLOT, [], unobserved=lost)
        upkeep.pack(session, SLOT.date(), [gone, kept])
        remembered = {"rule_id": 0, "revision": 0, "terms": "", "memory": "[]"}
        judged = [{"server_id": one} | remembered for one in (gone, kept)]
        session.execute(models.JUDGED.insert(), judged)
        rechecks = [{"server_id": one, "since": SLOT} for one in (gone, kept)]
        session.execute(models.RECHECK.insert(), rechecks)
    record(database, SLOT + 1_440 * MINUTE, [ping(gone), ping(kept)])
    with database.transaction() as session:
        aside.set_aside(session, SLOT)
    with database.transaction() as session:
        change.remove(session, "gone")
    # An incident stays readable.
    stays = {models.INCIDENT, models.MEMBER}
    tables = {t for t in models.Base.metadata.sorted_tables if "server_id" in t.columns} - stays
    assert {table.name for table in tables} >= {"aside", "data", "day", "schedule", "tag", "why"}
    with database.reading() as session:
        for table in tables:
            rows = (
                select(func.count()).select_from(table).where(table.c.server_id.in_([gone, kept]))
            )
            assert session.scalar(rows) == 1, table.name
            assert session.scalar(rows.where(table.c.server_id == kept)) == 1, table.name
