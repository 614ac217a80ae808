"""Incidents read back, in a number of statements that doesn't grow."""

from datetime import timedelta

import pytest

from core.errors import IncidentUnknown, WrongRequest
from core.incidents import find
from core.incidents.records import IncidentsQuery, Standing
from core.servers import change, tags
from infra.database import Database
from tests.core.incidents.rounds import arrive, begin, minutes
from tests.infra.rows import MINUTE, SLOT, add
from tests.infra.statements import counted

NOW = SLOT + timedelta(hours=1)


def ids(database: Database, **wanted: object) -> list[int]:
    with database.reading() as session:
        page = find.page(session, IncidentsQuery.of(wanted), NOW)
    return [one.id for one in page.incidents]


def test_what_was_over_before_a_time_is_left_out(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "bbgg" + "g" * 16 + "bb")
    older, newer = reversed(ids(database))
    assert ids(database, since=SLOT.isoformat()) == [newer, older]
    assert ids(database, since=(SLOT + 2 * MINUTE).isoformat()) == [newer]
    assert ids(database, state=Standing.RESOLVED) == [older]
    with pytest.raises(WrongRequest, match="since"):
        ids(database, since="yesterday")


def test_they_are_found_by_the_tags_and_the_names_of_their_servers(database: Database) -> None:
    servers = [add(database, name) for name in ("Z\u00dcRICH", "db", "gone")]
    for number in range(2):
        slot = SLOT + number * MINUTE
        begin(database, slot)
        arrive(database, slot, [(one, "b") for one in servers])
    with database.transaction() as session:
        tags.put(session, {servers[0]: ["web"], servers[1]: ["eu", "web"]})
        change.remove_id(session, servers[2])
    gone, of_db, of_zurich = ids(database)
    assert ids(database, tag="WEB") == [of_db, of_zurich]
    assert ids(database, tag="eu") == [of_db]
    assert ids(database, tag="we") == []
    assert ids(database, search="z\u00fcr") == [of_zurich]
    assert ids(database, search="g", tag="web") == []
    assert ids(database, search="gon") == [gone]
    assert ids(database, search="%") == []


def test_many_take_the_statements_of_one(database: Database) -> None:
    servers = [add(database, name) for name in ("web", "db", "mail")]
    for number in range(2):
        slot = SLOT + number * MINUTE
        begin(database, slot)
        arrive(database, slot, [(one, "b") for one in servers])
    with counted(database) as statements:
        assert len(ids(database)) == 3
    assert len(statements) <= 3
    with database.reading() as session:
        assert [one.server and one.server.id for one in find.open_ones(session, NOW)] == servers


def test_no_incident_is_told_of_an_unknown_id(database: Database) -> None:
    with database.reading() as session, pytest.raises(IncidentUnknown):
        find.told(session, 4711, NOW)
