"""What a clock that was ahead decided is no hindrance once the clock is right again."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from core.incidents import ahead
from core.incidents.records import How
from core.models import EVENT, JUDGED
from core.rounds import stretches
from infra.database import Database
from tests.core.incidents.rounds import Told, minutes, told
from tests.infra.rows import MINUTE, SLOT, add

A_DAY = timedelta(days=1)


def put_right(database: Database) -> None:
    """Have the clock show the minute after SLOT."""
    with database.transaction() as session:
        stretches.put_right(session, SLOT + MINUTE)


def test_what_was_opened_by_a_clock_that_was_ahead_was_opened_now_and_ends(
    database: Database,
) -> None:
    server_id = add(database)
    minutes(database, server_id, "bb", SLOT + A_DAY)
    put_right(database)
    assert told(database) == [Told(1, 1, None, None, 0)]
    minutes(database, server_id, "gg", SLOT + MINUTE)
    assert told(database) == [Told(1, 1, 1, How.GOOD, 0)]
    with database.reading() as session:
        assert {*session.scalars(select(EVENT.c.at))} == {SLOT + MINUTE, SLOT + 2 * MINUTE}


@pytest.mark.parametrize("history", ["b", "bbgg", "bbggbbgg"])
def test_bad_slots_to_come_are_forgotten(database: Database, history: str) -> None:
    server_id = add(database)
    minutes(database, server_id, history, SLOT + A_DAY)
    before = len(told(database))
    put_right(database)
    minutes(database, server_id, "bgg", SLOT + MINUTE)
    assert len(told(database)) == before
    minutes(database, server_id, "bb", SLOT + 40 * MINUTE)
    assert told(database)[-1] == Told(40, 41, None, None, 0)


def test_a_clock_that_is_ahead_by_minutes_is_no_wrong_one(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "bb", SLOT + 3 * MINUTE)
    with database.transaction() as session:
        ahead.bring_back(session, SLOT)
        assert len(session.execute(select(JUDGED)).all()) == 1
    assert told(database) == [Told(3, 4, None, None, 0)]
