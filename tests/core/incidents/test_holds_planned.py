"""Maintenance over an incident: it is quiet, and its timeline says from when to when."""

from datetime import datetime

import pytest
from sqlalchemy import select

from core.incidents import find
from core.incidents.records import Held, How, Incident
from core.models import EVENT
from core.slots import slot_number
from infra.database import Database
from tests.core.incidents.planned import hold
from tests.core.incidents.rounds import Told, minutes, told
from tests.infra.rows import MINUTE, SLOT, add


def timeline(database: Database) -> list[tuple[str, int]]:
    """Return what happened, and in which slot since SLOT."""
    with database.reading() as session:
        rows = session.execute(select(EVENT.c.kind, EVENT.c.at).order_by(EVENT.c.id))
        return [(kind, slot_number(at) - slot_number(SLOT)) for kind, at in rows]


def open_now(database: Database, now: datetime) -> list[Incident]:
    with database.reading() as session:
        return list(find.open_ones(session, now))


def test_over_an_open_incident_nothing_is_judged_and_good_slots_after_it_resolve(
    database: Database,
) -> None:
    server_id = add(database)
    minutes(database, server_id, "bbb")
    hold(database, SLOT + 3 * MINUTE, 5)
    minutes(database, server_id, "gggggbbgg", SLOT + 3 * MINUTE)
    assert told(database) == [Told(0, 1, 10, How.GOOD, 0)]
    assert timeline(database) == [("opened", 1), ("held", 3), ("released", 8), ("resolved", 11)]


def test_who_is_still_down_at_its_end_has_exactly_one_incident(database: Database) -> None:
    server_id = add(database)
    hold(database, SLOT + MINUTE, 10)
    slot = minutes(database, server_id, "g" + "b" * 10)
    assert told(database) == []
    minutes(database, server_id, "bbbb", slot)
    assert told(database) == [Told(11, 12, None, None, 0)]
    assert timeline(database) == [("opened", 12)]


def test_down_and_back_meanwhile_is_nothing(database: Database) -> None:
    server_id = add(database)
    hold(database, SLOT + MINUTE, 10)
    minutes(database, server_id, "g" + "bbbbxxbbbg" + "gg")
    assert told(database) == []


def test_on_a_parent_it_covers_whoever_is_behind_it(database: Database) -> None:
    add(database, "router", tags=("core",))
    add(database, "switch", parent="router")
    server_id = add(database, "web", parent="switch")
    hold(database, SLOT, 5, **{"for": {"tags": ["core"]}})
    minutes(database, server_id, "bbbbb")
    assert told(database) == []


@pytest.mark.parametrize("whom", [{"tags": ["db"]}, {"names": ["eu-*"]}])
def test_who_is_not_meant_is_judged(database: Database, whom: dict[str, list[str]]) -> None:
    server_id = add(database, tags=("web",))
    hold(database, SLOT, 5, **{"for": whom})
    minutes(database, server_id, "bb")
    assert told(database) == [Told(0, 1, None, None, 0)]


def test_an_open_incident_says_that_it_is_held_as_long_as_it_is(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "bb")
    hold(database, SLOT + 2 * MINUTE, 5)
    before, during, after = (
        open_now(database, SLOT + number * MINUTE)[0].held for number in (1, 2, 7)
    )
    assert (before, during, after) == (None, Held.MAINTENANCE, None)


def test_a_worker_that_was_away_notes_what_holds_now(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "bb")
    hold(database, SLOT + 5 * MINUTE, 5)
    minutes(database, server_id, "b", SLOT + 8 * MINUTE)
    minutes(database, server_id, "b", SLOT + 20 * MINUTE)
    assert timeline(database) == [("opened", 1), ("held", 5), ("released", 10)]
