"""Tallies: how the rounds themselves fare, in whatever order their parts are recorded."""

from datetime import datetime, timedelta
from itertools import permutations

from core.rounds import log as round_log
from core.rounds.log import Tally
from infra.database import Database
from tests.infra.rows import MINUTE, SLOT

SECOND = timedelta(seconds=1)


def noted(database: Database) -> list[Tally]:
    with database.reading() as session:
        return list(round_log.between(session, SLOT - MINUTE, SLOT + 9 * MINUTE))


def test_a_round_without_a_ping_was_due_and_never_ended(database: Database) -> None:
    with database.transaction() as session:
        round_log.begin(session, SLOT, 5, SLOT + 3 * SECOND)
    [tally] = noted(database)
    assert (tally.due, tally.observed, tally.unobserved) == (5, 0, 5)
    assert (tally.lag, tally.duration) == (3 * SECOND, None)


def test_parts_add_up_in_any_order_and_the_last_one_ends_the_round(database: Database) -> None:
    parts = [(2, 4 * SECOND), (1, 9 * SECOND), (0, 30 * SECOND)]
    for number, order in enumerate(permutations(parts)):
        slot = SLOT + number * MINUTE
        with database.transaction() as session:
            round_log.begin(session, slot, 5, slot + SECOND)
            for observed, after in order:
                round_log.add(session, slot, observed, slot + after)
    assert {(one.observed, one.unobserved, one.duration) for one in noted(database)} == {
        (3, 2, 8 * SECOND)
    }


def test_a_round_that_begins_twice_began_the_first_time(database: Database) -> None:
    with database.transaction() as session:
        round_log.begin(session, SLOT, 5, SLOT)
        round_log.add(session, SLOT, 4, SLOT + SECOND)
        round_log.begin(session, SLOT, 7, SLOT + 30 * SECOND)
    assert noted(database) == [Tally(SLOT, 5, 4, SLOT, SLOT + SECOND)]


def test_pings_of_a_round_that_nobody_began_are_not_counted(database: Database) -> None:
    with database.transaction() as session:
        round_log.add(session, SLOT, 4, SLOT)
    assert noted(database) == []


def test_old_rounds_go(database: Database) -> None:
    with database.transaction() as session:
        for number in range(4):
            round_log.begin(session, SLOT + number * MINUTE, 1, SLOT)
        round_log.forget(session, SLOT + 2 * MINUTE)
    assert [one.slot for one in noted(database)] == [SLOT + 2 * MINUTE, SLOT + 3 * MINUTE]


def test_no_round_takes_less_than_no_time() -> None:
    """Two machines tell when it began and ended: their clocks may be apart."""
    assert Tally(SLOT, 5, 4, SLOT + 3 * SECOND, SLOT).duration == timedelta(0)


def fails(database: Database, after: timedelta) -> bool:
    with database.reading() as session:
        return round_log.fails(session, SLOT + after)


def ceased(database: Database, after: timedelta) -> bool:
    with database.reading() as session:
        return round_log.ceased(session, SLOT + after)


def note(database: Database, slot: datetime, due: int, observed: int) -> None:
    with database.transaction() as session:
        round_log.begin(session, slot, due, slot)
        round_log.add(session, slot, observed, slot + SECOND)


def test_rounds_fail_where_nothing_of_the_newest_that_is_over_was_recorded(
    database: Database,
) -> None:
    assert not fails(database, 3 * MINUTE)  # there is none yet
    note(database, SLOT, 5, 5)
    note(database, SLOT + MINUTE, 5, 0)
    assert not fails(database, 4 * MINUTE - SECOND)  # it may still wait for the database
    assert fails(database, 4 * MINUTE)
    note(database, SLOT + 2 * MINUTE, 0, 0)  # nothing was due in it: it says nothing
    assert fails(database, 5 * MINUTE)
    note(database, SLOT + 3 * MINUTE, 5, 1)
    assert not fails(database, 6 * MINUTE)


def test_a_round_of_yesterday_is_no_longer_told(database: Database) -> None:
    note(database, SLOT, 5, 0)
    assert fails(database, timedelta(days=1) - SECOND)
    assert not fails(database, timedelta(days=1))


def test_rounds_cease_five_minutes_after_the_last_one_began(database: Database) -> None:
    assert not ceased(database, 9 * MINUTE)  # there were none
    note(database, SLOT, 0, 0)
    note(database, SLOT + timedelta(days=2), 0, 0)  # by a clock that was ahead: not yet
    assert not ceased(database, 5 * MINUTE)
    assert ceased(database, 5 * MINUTE + SECOND)
