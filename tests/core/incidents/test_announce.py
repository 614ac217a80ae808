"""Announcing: what is decided is what was recorded, whatever the order in which it came."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from core.incidents import announce
from core.incidents.records import How
from core.servers import change
from core.servers.records import ServerChange
from infra.database import Database
from tests.core.incidents.rounds import DOWN, UP, Told, arrive, begin, minutes, told
from tests.infra.rows import MINUTE, SLOT, add


def test_two_bad_minutes_of_three_are_an_incident_and_two_good_ones_end_it(
    database: Database,
) -> None:
    server_id = add(database)
    minutes(database, server_id, "ggbgb")
    assert told(database) == [Told(2, 4, None, None, 0)]
    minutes(database, server_id, "bgg", SLOT + 5 * MINUTE)
    assert told(database) == [Told(2, 4, 6, How.GOOD, 0)]


def test_a_slot_waits_for_everybody_who_was_due(database: Database) -> None:
    first, second = add(database), add(database, "db")
    begin(database, SLOT)
    for slot in (SLOT, SLOT + MINUTE):
        arrive(database, slot, [(first, DOWN)])
        assert told(database) == []
        arrive(database, slot, [(second, UP)])
    assert told(database) == [Told(0, 1, None, None, 0)]


def test_who_never_answers_is_waited_for_until_the_round_after_next(database: Database) -> None:
    first, _ = add(database), add(database, "db")
    for slot in (SLOT, SLOT + MINUTE):
        begin(database, slot)
        arrive(database, slot, [(first, DOWN)])
    begin(database, SLOT + 2 * MINUTE)
    assert told(database) == []
    begin(database, SLOT + 3 * MINUTE)
    assert told(database) == [Told(0, 1, None, None, 0)]


def test_nothing_of_the_past_is_told(database: Database) -> None:
    server_id = add(database)
    for slot in (SLOT - 2 * MINUTE, SLOT - MINUTE):
        arrive(database, slot, [(server_id, DOWN)])
    begin(database, SLOT)
    arrive(database, SLOT, [(server_id, DOWN)])
    assert told(database) == []


def test_what_comes_behind_the_fence_decides_nothing(database: Database) -> None:
    server_id = add(database)
    minutes(database, server_id, "b")
    begin(database, SLOT + 3 * MINUTE)
    arrive(database, SLOT + MINUTE, [(server_id, DOWN)])
    minutes(database, server_id, "gg", SLOT + 3 * MINUTE)
    assert told(database) == []


def test_a_worker_that_was_away_makes_no_incident(database: Database) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "gggb")
    minutes(database, server_id, "bgg", slot + timedelta(days=30))
    assert told(database) == []


def remove(database: Database, _server_id: int, _now: datetime) -> None:
    with database.transaction() as session:
        change.remove(session, "web")


def pause(database: Database, server_id: int, now: datetime) -> None:
    with database.transaction() as session:
        change.alter(session, server_id, ServerChange(enabled=False), database.settings, now)


@pytest.mark.parametrize(("do", "how"), [(remove, How.REMOVED), (pause, How.PAUSED)])
def test_who_is_no_longer_watched_has_no_open_incident(
    database: Database, do: Callable[[Database, int, datetime], None], how: How
) -> None:
    server_id = add(database)
    slot = minutes(database, server_id, "bbb")
    do(database, server_id, slot - timedelta(seconds=1))
    begin(database, slot)
    with database.transaction() as session:
        announce.announce(session, slot)
    assert told(database) == [Told(0, 1, 3, how, 0)]


def test_much_that_waits_is_announced_in_steps_the_oldest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "ROWS_AT_ONCE", 4)
    web, _ = add(database), add(database, "db")
    begin(database, SLOT)
    for number, letter in enumerate("bbgggbbgg"):  # db is waited for
        arrive(database, SLOT + number * MINUTE, [(web, letter)])
    assert told(database) == []
    steps = 0
    is_more = True
    while is_more:
        with database.transaction() as session:
            is_more = announce.close(session, SLOT + 10 * MINUTE)
        steps += 1
    assert steps == 5
    assert told(database) == [Told(0, 1, 7, How.GOOD, 1)]
