"""We can't see: the incident of our own network."""

from datetime import datetime

from core.incidents import blind, change
from core.incidents.records import How, Resolution
from infra.database import Database
from tests.core.incidents.fleets import incidents, lines, shown
from tests.infra.rows import MINUTE, SLOT


def silent(database: Database, slot: datetime) -> None:
    with database.transaction() as session:
        blind.see_nothing(session, slot, ["10.0.0.1"])


def answered(database: Database, slot: datetime) -> None:
    with database.transaction() as session:
        blind.see_again(session, slot, ["10.0.0.1"])


def test_it_opens_once_and_ends_with_an_answer(database: Database) -> None:
    for number in range(3):
        silent(database, SLOT + number * MINUTE)
    answered(database, SLOT)
    [one] = incidents(database)
    assert (one.resolved, one.servers) == (None, 0)
    answered(database, SLOT + 3 * MINUTE)
    answered(database, SLOT + 4 * MINUTE)
    [one] = incidents(database)
    assert (one.resolved, one.how) == (SLOT + 3 * MINUTE, How.GOOD)
    assert lines(shown(database, one.id)) == [
        ("opened", "no answer from 10.0.0.1"),
        ("resolved", "10.0.0.1 answered"),
    ]


def test_soon_again_is_the_same_one(database: Database) -> None:
    silent(database, SLOT)
    answered(database, SLOT + MINUTE)
    silent(database, SLOT + 16 * MINUTE)
    assert [one.flaps for one in incidents(database)] == [1]
    answered(database, SLOT + 17 * MINUTE)
    silent(database, SLOT + 33 * MINUTE)
    assert len(incidents(database)) == 2


def test_what_comes_late_opens_nothing(database: Database) -> None:
    silent(database, SLOT)
    answered(database, SLOT + 2 * MINUTE)
    silent(database, SLOT + MINUTE)
    assert [one.resolved for one in incidents(database)] == [SLOT + 2 * MINUTE]


def test_resolved_by_hand_another_one_opens(database: Database) -> None:
    silent(database, SLOT)
    [one] = incidents(database)
    with database.transaction() as session:
        change.resolve(session, one.id, Resolution(), "ada", SLOT + MINUTE)
    silent(database, SLOT + 2 * MINUTE)
    assert len(incidents(database)) == 2
