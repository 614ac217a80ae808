"""What is due when, and what a change of it leaves as it was."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from core import models
from core.clock import utc_now
from core.servers import change as servers_change
from core.servers import find, schedule
from core.servers.records import BulkServer, ServerChange, ServerWanted
from infra.database import Database
from tests.infra.rows import (
    IP,
    MINUTE,
    SLOT,
    add,
    add_many,
    wait_for_a_blocked_one,
)

SECOND = timedelta(seconds=1)
HOUR = SLOT.replace(minute=0)
WEB = ServerWanted(name="web", ip=IP)


def due(database: Database, slot: datetime = SLOT) -> list[int]:
    with database.reading() as session:
        return [target.server_id for target in find.targets(session, slot)]


def reschedule(
    database: Database, server_id: int, since: datetime, interval_s: int = 60, enabled: bool = True
) -> None:
    with database.transaction() as session:
        row = models.Schedule(
            server_id=server_id, since=since, interval_s=interval_s, enabled=enabled
        )
        session.add(row)


def test_servers_are_due_after_2038_too(database: Database) -> None:
    server_id = add(database)
    assert due(database, SLOT.replace(year=2038, month=2)) == [server_id]


@pytest.mark.parametrize("second", [0, 1, 59.999])
def test_a_server_is_due_in_the_very_slot_in_which_it_was_added(
    database: Database, second: float
) -> None:
    with database.transaction() as session:
        moment = SLOT + second * SECOND
        servers_change.add(session, WEB, database.settings, moment)
    assert due(database, SLOT - MINUTE) == []
    assert len(due(database, SLOT)) == 1


def test_every_five_minutes_means_five_slots_apart_aligned_to_the_hour(
    database: Database,
) -> None:
    server_id = add(database)
    reschedule(database, server_id, HOUR - MINUTE, interval_s=300)
    slots = [HOUR + number * MINUTE for number in range(11)]
    assert [slot.minute for slot in slots if due(database, slot)] == [0, 5, 10]


def test_once_a_day_means_at_midnight_utc(database: Database) -> None:
    server_id = add(database)
    midnight = HOUR.replace(hour=0) + timedelta(days=1)
    reschedule(database, server_id, HOUR, interval_s=86_400)
    assert due(database, midnight) == [server_id]
    assert due(database, midnight + timedelta(hours=12)) == []


def test_a_paused_server_is_not_due_until_it_is_resumed(database: Database) -> None:
    server_id = add(database)
    reschedule(database, server_id, SLOT, enabled=False)
    reschedule(database, server_id, SLOT + 3 * MINUTE)
    slots = [SLOT + number * MINUTE for number in range(-1, 5)]
    assert [bool(due(database, slot)) for slot in slots] == [True, False, False, False, True, True]


def test_what_was_due_in_the_past_stays_what_it_was(database: Database) -> None:
    server_id = add(database)
    reschedule(database, server_id, SLOT, interval_s=3600)
    assert due(database, SLOT - MINUTE) == [server_id]


def test_the_newest_schedule_wins_whatever_the_order_of_insertion(database: Database) -> None:
    server_id = add(database)
    reschedule(database, server_id, SLOT - MINUTE, interval_s=60)
    reschedule(database, server_id, SLOT - 2 * MINUTE, interval_s=3600)
    assert due(database, SLOT) == [server_id]


def test_one_servers_schedule_is_not_anothers(database: Database) -> None:
    paused, watched = add_many(database, ["paused", "watched"])
    reschedule(database, paused, SLOT - MINUTE, enabled=False)
    assert due(database) == [watched]


def test_a_new_server_gets_the_interval_that_is_set(database: Database) -> None:
    with database.transaction() as session:
        slow = replace(database.settings, interval_s=1800)
        servers_change.add(session, WEB, slow, HOUR - SECOND)
    assert due(database, HOUR) != []
    assert due(database, HOUR + 15 * MINUTE) == []
    assert due(database, HOUR + 30 * MINUTE) != []


def test_a_pause_and_another_interval_at_once_are_both_kept(database: Database) -> None:
    server_id = add(database)

    def pause() -> None:
        with database.transaction() as session:
            wanted = ServerChange(enabled=False)
            servers_change.alter(session, server_id, wanted, database.settings, SLOT + MINUTE)

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as session:
            slower = ServerChange(interval_s=300)
            servers_change.alter(session, server_id, slower, database.settings, SLOT)
            pausing = threads.submit(pause)
            wait_for_a_blocked_one(database)
        pausing.result(30)
    with database.reading() as session:
        newest = schedule.schedules(session)[server_id][-1]
    assert newest == (SLOT + MINUTE, 300, False)


def test_a_server_of_a_clock_that_was_ahead_can_be_put_again(database: Database) -> None:
    with database.transaction() as session:
        later = utc_now() + timedelta(hours=1)
        server_id = servers_change.add(session, WEB, database.settings, later)
    paused = BulkServer(name="web", ip=IP, enabled=False)
    with database.transaction() as session:
        [done] = servers_change.put(session, [paused], database.settings, utc_now(), upsert=True)
    assert done.status == "UPDATED"
    with database.reading() as session:
        assert schedule.schedules(session) == {server_id: [(later, 60, False)]}


def test_what_is_said_already_changes_nothing(database: Database) -> None:
    server_id = add(database)
    with database.transaction() as session:
        same = ServerChange(name="web", ip=IP, interval_s=60, enabled=True)
        servers_change.alter(session, server_id, same, database.settings, SLOT)
    with database.reading() as session:
        assert len(schedule.schedules(session)[server_id]) == 1
