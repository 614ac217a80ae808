"""A server that turns bad is looked at each minute until the rule decides."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from core.incidents import recheck
from core.models import RECHECK
from core.rounds import log
from core.servers import change
from core.servers.records import ServerChange
from infra.database import Database
from tests.core.incidents.rounds import Told, arrive, begin, told
from tests.infra.rows import MINUTE, SLOT, add, due

HOUR = SLOT + timedelta(minutes=59)
"""An hourly server is due in it."""


def rounds(database: Database, outages: Sequence[str], first: int = 0) -> list[int]:
    """Have rounds in which whoever is looked at is as told; return in which anybody was."""
    looked = []
    for minute, letter in enumerate(outages, first):
        slot = HOUR + minute * MINUTE
        ids = due(database, slot)
        with database.transaction() as session:
            log.begin(session, slot, len(ids), slot)
        begin(database, slot)
        if ids:
            looked.append(minute)
            arrive(database, slot, [(one, letter) for one in ids])
    return looked


def test_the_outage_of_an_hourly_server_is_confirmed_within_two_minutes(
    database: Database,
) -> None:
    add(database, interval_s=3_600)
    assert rounds(database, "bbbbb") == [0, 1]
    assert told(database) == [Told(59, 60, None, None, 0)]


@pytest.mark.parametrize(
    ("letters", "looked"),
    [("ggggg", [0]), ("bgggg", [0, 1, 2]), ("bgbgg", [0, 1, 2]), ("bxxgg", [0, 1, 2, 3, 4])],
)
def test_it_is_looked_at_until_the_rule_decides(
    database: Database, letters: str, looked: list[int]
) -> None:
    add(database, interval_s=3_600)
    assert rounds(database, letters) == looked


def test_who_is_paused_is_not_looked_at(database: Database) -> None:
    server_id = add(database, interval_s=3_600)
    rounds(database, "b")
    with database.transaction() as session:
        wanted = ServerChange(enabled=False)
        change.alter(session, server_id, wanted, database.settings, HOUR + MINUTE / 2)
    assert rounds(database, "bb", first=1) == []
    assert told(database) == []


def test_a_recheck_is_waited_for(database: Database) -> None:
    add(database, "other")
    server_id = add(database, interval_s=3_600)
    rounds(database, "b")
    begin(database, HOUR + MINUTE)
    arrive(database, HOUR + MINUTE, [(server_id - 1, "g")])
    assert told(database) == []
    arrive(database, HOUR + MINUTE, [(server_id, "b")])
    assert told(database) == [Told(59, 60, None, None, 0)]


def test_what_is_due_each_minute_needs_none(database: Database) -> None:
    often, rarely = add(database), add(database, "rarely", interval_s=120)
    with database.transaction() as session:
        recheck.keep(session, [often, rarely], SLOT)
        kept = [tuple(row) for row in session.execute(RECHECK.select())]
    assert kept == [(rarely, SLOT + MINUTE)]
